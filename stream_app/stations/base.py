"""What shard and merge stations share: the journal, and how alerts are told.

Stands between the engine and the pure state. The order of a flush is what makes every number exact after
a crash: first the journal epoch, confirmed by the broker; only then what it says to the world. See
docs/decisions/0002-journal.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

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

    async def claim_journal(self) -> Header | None:
        """Shut stale owners out, and make sure that nobody wrote since the journal was read.

        Raises:
            Failure: somebody did.
        """
        await self._append(self.journal.claim())
        header = self.journal.header
        return None if header is None else msgspec.msgpack.decode(header, type=Header)

    async def write_epoch(
        self, changes: list[Entry], state: object, outbox: list[AlertChange], expired: Expired
    ) -> None:
        """Journal an epoch; returns when the broker has confirmed all of it."""
        await self._append(self.journal.write(changes, _encode(Header(_encode(state), outbox)), expired))
        dead = self.journal.dead_records()
        if dead:
            await self._bury(dead)

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

    async def _append(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Append records of ours to the journal.

        Raises:
            Failure: somebody else has written to it since we read or wrote it last.
        """
        first = self.journal.end_offset
        last = await self.publisher.write_in_order(self._changelog, self.number, records)
        if last != first + len(records) - 1:
            await self._refuse_strangers(first, {key for key, _ in records})
        self.journal.end_offset = last + 1

    async def _bury(self, dead: Sequence[JournalRecord]) -> None:
        """Write tombstones; that nobody else has written is checked as for any other record."""
        first = self.journal.end_offset
        ends = await self.publisher.write(
            [OutRecord(self._changelog, *record, self.number) for record in dead]
        )
        end = max(ends.values())
        if end != first + len(dead):
            await self._refuse_strangers(first, {record.key for record in dead})
        self.journal.end_offset = end

    async def _refuse_strangers(self, first: int, ours: set[bytes]) -> None:
        """A record whose confirmation was lost stands there twice, and that is all that may be there."""
        place = TopicPartition(self._changelog, self.number)
        tail = await read_tail(self.settings, {place: first})
        if any(record.key not in ours for record in tail[place]):
            raise Failure(
                f"{self._changelog}, partition {self.number}: another worker has written to it; "
                "this worker lets go: restart it"
            )


def firing_alert(change: AlertChange) -> FiringAlert:
    """An alert as the view shows it."""
    return FiringAlert(change.fingerprint, msgspec.json.encode(alert_json(change)))
