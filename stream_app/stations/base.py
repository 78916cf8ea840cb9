"""What shard and merge stations share: the journal, which topics it is about, and how alerts are told.

Stands between the engine and the pure state. The order of a flush is what makes every number exact after
a crash: dead letters, then the journal epoch, each confirmed by the broker; only then what it says to the world. See
docs/decisions/0002-journal.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from contextlib import aclosing, suppress
from typing import NamedTuple
from uuid import uuid4

import msgspec
from aiokafka import TopicPartition

from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import Rules
from stream_app.handover import Lost
from stream_app.settings import Settings
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.redis_view import View
from stream_app.sinks.tail import read_tail
from stream_app.sinks.topic_watch import TopicWatch
from stream_app.state.journal import Entry, Forgetting, Journal, JournalRecord, nothing
from stream_app.stations.alert_teller import AlertTeller
from stream_app.vitals import Vitals

logger = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_MOST_CLAIMS = 5
_SESSIONS_UNTIL_HEARD = 0.5  # two heartbeats, see topology.py


class Surroundings(NamedTuple):
    """What every station of a worker is given."""

    settings: Settings
    rules: Rules
    publisher: Publisher
    view: View
    topics: TopicWatch
    vitals: Vitals


async def read_journals(
    journals: Mapping[int, Journal], changelog: str, surroundings: Surroundings, lost: asyncio.Event
) -> None:
    """Read the journals of partitions, all at once. ``lost`` is set once they are not this worker's any more.

    Raises:
        Lost: they are not.
    """
    places = {TopicPartition(changelog, number): 0 for number in journals}

    async def replay() -> None:
        async with aclosing(read_tail(surroundings.settings, places)) as records:
            async for record in records:
                journals[record.partition].replay(
                    JournalRecord(record.key or b"", record.value), record.offset
                )
                surroundings.vitals.replayed += 1

    # Whoever lets the partitions go waits for this, and a partition without a leader is read for ever.
    reading, losing = asyncio.create_task(replay()), asyncio.create_task(lost.wait())
    try:
        await asyncio.wait((reading, losing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
        losing.cancel()
        await asyncio.gather(reading, losing, return_exceptions=True)
    if lost.is_set():
        raise Lost(f"{changelog}: the partitions went elsewhere while their journals were read")
    reading.result()


class Header(msgspec.Struct, array_like=True):
    """The journal's header: the state's own; the changes of alerts that this epoch tells, and how far the alert
    topics were told before; and the identities of the topics whose offsets are in the state."""

    state: bytes
    outbox: list[AlertChange]
    told: dict[str, int] = {}
    topics: dict[str, str] = {}


class Station:
    """One partition's state with its journal. ``number`` is the partition's; ``reads`` names its topics."""

    reads: tuple[str, ...]
    teller: AlertTeller

    def __init__(self, number: int, journal: Journal, changelog: str, surroundings: Surroundings) -> None:
        self.number = number
        self.journal = journal
        self.settings, self.rules, self.publisher, self.view, self._topic_watch, self.vitals = surroundings
        self._changelog = changelog
        self._flushing = asyncio.Lock()
        self._is_over = False

    async def claim_journal(self, lost: asyncio.Event) -> Header | None:
        """Shut stale owners out of a journal that has been read, and read what they wrote since. ``lost`` is set once the
        partition is not this worker's any more.

        Raises:
            Lost: another worker has claimed it.
            Failure: a topic is not the one that the journal is about.
        """
        for _ in range(_MOST_CLAIMS):
            if await self._claim(lost):
                break
        else:
            raise self._not_ours()
        data = self.journal.header
        header = None if data is None else msgspec.msgpack.decode(data, type=Header)
        self._topics = self._topic_watch.identities(header.topics if header else {}, self.reads)
        told = header.told if header else {}
        self.teller = AlertTeller(self.settings, self.publisher, self.view, told)
        return header

    async def flush(self) -> None:
        """Journal and publish what has changed since the last flush. A station whose flush has failed, or
        that was closed, does nothing any more: what it took out of the state is lost to it, and is read again
        by the next owner."""
        async with self._flushing:
            if not self._is_over:
                self._is_over = True
                await self.flush_changes()
                await self._bury_dead_records()  # last, as nobody waits for it
                self._is_over = False

    async def close(self) -> None:
        """Flush for the last time."""
        await self.flush()
        self._is_over = True

    async def flush_changes(self) -> None:
        """What a flush of this kind of station does."""
        raise NotImplementedError

    async def write_epoch(
        self, changes: list[Entry], state: object, outbox: list[AlertChange], forgetting: Forgetting
    ) -> None:
        """Journal an epoch; returns when the broker has confirmed all of it."""
        await asyncio.sleep(0)  # what comes is long, and what came before was: others run in between
        header = Header(_encode(state), outbox, self.teller.told, self._topics)
        await self._append(self.journal.write(changes, _encode(header), forgetting))

    async def tell_alerts(self, changes: Sequence[AlertChange], state: object) -> None:
        """Tell changes of alerts that an epoch has in its outbox, and note in another epoch that they are told."""
        if changes:
            await self.teller.tell(changes)
            await self._note_told(state)

    async def tell_the_rest(self, header: Header | None, state: object) -> None:
        """Tell what the last owner's last epoch had in its outbox and did not come to tell."""
        if header is not None and header.outbox:
            await self.teller.tell_the_rest(header.outbox)
            await self._note_told(state)

    async def _note_told(self, state: object) -> None:
        await self.write_epoch([], state, [], nothing)

    async def _claim(self, lost: asyncio.Event) -> bool:
        """Claim the journal; whether that holds. It does not where another worker wrote to it since it was read: what
        stands there is read then.

        Raises:
            Lost: the partition is another worker's.
        """
        owner = uuid4().hex[:12]
        records, first = self.journal.claim(owner), self.journal.end_offset
        end = 1 + await self.publisher.write_in_order(self._changelog, self.number, records)
        if end != first + len(records):
            found, ours = await self._found_behind(first), {record.key for record in records}
            if self.journal.read_on(found, ours):
                await self._wait_to_claim_again(owner, lost)
                return False
            self._look_for_strangers(found, ours)
        self.journal.end_offset = end
        return True

    async def _wait_to_claim_again(self, owner: str, lost: asyncio.Event) -> None:
        """Wait until the journal may be claimed again under a new name, as the claim under this one is void.

        The last owner may have written until just now: it shut down late, or has not heard yet that it lost the
        partition. Or another worker has claimed it, as both were given it one soon after the other: then whichever of the
        two has lost it hears of that within a heartbeat or two.

        Raises:
            Lost: this worker has.
        """
        has_rival = self.journal.owner != owner
        words = "another worker claims it" if has_rival else "its last owner wrote until now"
        logger.info("%s, partition %d: %s; claiming it again", self._changelog, self.number, words)
        if has_rival:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.session_timeout / 1000 * _SESSIONS_UNTIL_HEARD):
                    await lost.wait()
        if lost.is_set():
            raise self._not_ours()

    async def _append(self, records: Sequence[JournalRecord]) -> None:
        """Append records of ours to the journal.

        Raises:
            Lost: the partition is another worker's.
        """
        first = self.journal.end_offset
        last = await self.publisher.write_in_order(self._changelog, self.number, records)
        await self._appended(first, last + 1, records)

    async def _bury_dead_records(self) -> None:
        """Delete what no reader of the journal needs any more."""
        dead = self.journal.dead_records()
        if not dead:
            return
        first = self.journal.end_offset
        ends = await self.publisher.write(
            [OutRecord(self._changelog, *record, self.number) for record in dead]
        )
        await self._appended(first, max(ends.values()), dead)

    async def _appended(self, first: int, end: int, records: Sequence[JournalRecord]) -> None:
        """Where records did not land right behind ours, look at what else stands there: a record whose
        confirmation was lost stands there twice, and a stale owner may have written."""
        if end != first + len(records):
            self._look_for_strangers(await self._found_behind(first), {record.key for record in records})
            logger.warning("%s, partition %d: a stale owner wrote; ignored", self._changelog, self.number)
        self.journal.end_offset = end

    async def _found_behind(self, first: int) -> list[tuple[JournalRecord, int]]:
        """The records that stand at an offset and behind it, with their offsets."""
        behind = read_tail(self.settings, {TopicPartition(self._changelog, self.number): first})
        return [(JournalRecord(record.key, record.value), record.offset) async for record in behind]

    def _look_for_strangers(self, found: Sequence[tuple[JournalRecord, int]], ours: Set[bytes]) -> None:
        """Look at records that stand beside ours.

        Raises:
            Lost: they say that the partition is another worker's.
        """
        if self.journal.strangers((record for record, _ in found), ours):
            raise self._not_ours()

    def _not_ours(self) -> Lost:
        return Lost(
            f"{self._changelog}, partition {self.number}: another worker has written to it; "
            "this worker lets go: restart it"
        )
