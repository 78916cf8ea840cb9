"""What shard and merge stations share: the journal, and how alerts are told.

Stands between the engine and the pure state. The order of a flush is what makes every number exact after
a crash: dead letters, then the journal epoch, each confirmed by the broker; only then what it says to the world. See
docs/decisions/0002-journal.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import uuid4

import msgspec
from aiokafka import TopicPartition

from stream_app.alerts.lifecycle import FIRING, AlertChange
from stream_app.alerts.message import alert_json, alert_record
from stream_app.alerts.rules import Rules
from stream_app.failure import Failure
from stream_app.ingest.topics import alert_topic
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert
from stream_app.sinks.tail import read_tail
from stream_app.state.journal import Entry, Expired, Journal, JournalRecord

logger = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode


class View(Protocol):
    """Where the newest values are shown."""

    def show(self, item: Snapshot | FiringAlert | CustomerRisk) -> None:
        """Show a newer value."""

    def tell(self, data: bytes) -> None:
        """Tell a change of an alert."""


class Surroundings(NamedTuple):
    """What every station of a worker is given."""

    settings: Settings
    rules: Rules
    publisher: Publisher
    view: View


class Header(msgspec.Struct, array_like=True):
    """The journal's header: the state's own, and the changes of alerts that this epoch sends, which are
    sent again after a crash."""

    state: bytes
    outbox: list[AlertChange]


class Station:
    """One partition's state with its journal. ``number`` is the partition's."""

    def __init__(self, number: int, journal: Journal, changelog: str, surroundings: Surroundings) -> None:
        self.number = number
        self.journal = journal
        self.settings, self.rules, self.publisher, self.view = surroundings
        self._changelog = changelog
        self._flushing = asyncio.Lock()
        self._is_over = False

    async def claim_journal(self) -> Header | None:
        """Shut stale owners out, and make sure that nobody wrote since the journal was read.

        Raises:
            Failure: somebody did.
        """
        await self._append(self.journal.claim(uuid4().hex[:12]), claiming=True)
        header = self.journal.header
        return None if header is None else msgspec.msgpack.decode(header, type=Header)

    async def flush(self) -> None:
        """Journal and publish what has changed since the last flush. A station whose flush has failed, or
        that was closed, does nothing any more: what it took out of the state is lost to it, and is read again
        by the next owner."""
        async with self._flushing:
            if not self._is_over:
                self._is_over = True
                await self.flush_changes()
                self._is_over = False

    async def close(self) -> None:
        """Flush for the last time."""
        await self.flush()
        self._is_over = True

    async def flush_changes(self) -> None:
        """What a flush of this kind of station does."""
        raise NotImplementedError

    async def write_epoch(
        self, changes: list[Entry], state: object, outbox: list[AlertChange], expired: Expired
    ) -> None:
        """Journal an epoch; returns when the broker has confirmed all of it."""
        await self._append(self.journal.write(changes, _encode(Header(_encode(state), outbox)), expired))
        dead = self.journal.dead_records()
        if dead:
            await self._bury(dead)

    async def tell_alerts(self, changes: Sequence[AlertChange], state: object) -> None:
        """Tell changes of alerts that an epoch has in its outbox, and note in another epoch that they are told."""
        if changes:
            await self.publisher.write(self.alert_records(changes))
            self.show_alerts(changes)
            await self.write_epoch([], state, [], lambda key, value: False)

    def alert_records(self, changes: Sequence[AlertChange]) -> list[OutRecord]:
        """The records that tell changes of alerts."""
        source = f"/{self.settings.group_id}"
        records = [alert_record(change, source) for change in changes]
        return [
            OutRecord(self.settings.topic(alert_topic(r.kind)), r.key, r.value, None, r.headers)
            for r in records
        ]

    def show_alerts(self, changes: Sequence[AlertChange]) -> None:
        """Show changes of alerts in the view."""
        for change in changes:
            firing = firing_alert(change)
            self.view.tell(firing.data or b"")
            self.view.show(firing if change.state == FIRING else firing._replace(data=None))

    async def _append(self, records: Sequence[JournalRecord], claiming: bool = False) -> None:
        """Append records of ours to the journal.

        Raises:
            Failure: the partition is another worker's.
        """
        first = self.journal.end_offset
        last = await self.publisher.write_in_order(self._changelog, self.number, records)
        await self._appended(first, last + 1, records, claiming)

    async def _bury(self, dead: Sequence[JournalRecord]) -> None:
        first = self.journal.end_offset
        ends = await self.publisher.write(
            [OutRecord(self._changelog, *record, self.number) for record in dead]
        )
        await self._appended(first, max(ends.values()), dead, claiming=False)

    async def _appended(self, first: int, end: int, records: Sequence[JournalRecord], claiming: bool) -> None:
        """Where records did not land right behind ours, look at what else stands there: a record whose
        confirmation was lost stands there twice, and a stale owner may have written."""
        if end != first + len(records):
            tail = await read_tail(self.settings, {TopicPartition(self._changelog, self.number): first})
            found = [JournalRecord(r.key, r.value) for batch in tail.values() for r in batch]
            if self.journal.strangers(found, {record.key for record in records}, claiming):
                raise Failure(
                    f"{self._changelog}, partition {self.number}: another worker has written to it; "
                    "this worker lets go: restart it"
                )
            logger.warning("%s, partition %d: a stale owner wrote; ignored", self._changelog, self.number)
        self.journal.end_offset = end


def firing_alert(change: AlertChange) -> FiringAlert:
    """An alert as the view shows it."""
    return FiringAlert(change.fingerprint, msgspec.json.encode(alert_json(change)))
