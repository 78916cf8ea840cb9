"""Stations: one shard or one merger with its journal, and how a flush of it goes.

Stands between the engine and the pure state. The order of a flush is what makes every number exact after a
crash; see ``engine.py`` and docs/decisions/0002-journal.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
from aiokafka.errors import MessageSizeTooLargeError

from stream_app.alerts.churn import ChurnFacts, assess
from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import FIRING, AlertChange
from stream_app.alerts.message import alert_json, alert_record
from stream_app.alerts.rules import Rules
from stream_app.clock import SECOND_MS, now_ms
from stream_app.failure import Failure
from stream_app.ingest.topics import DEAD_LETTERS, METRICS, PARTIALS, alert_topic
from stream_app.ingest.watermark import NO_TIME
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import KeyPartial, pack
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert
from stream_app.state.customers import Customer
from stream_app.state.journal import Entry, Expired, Journal
from stream_app.state.shard import DeadLetter, Shard
from stream_app.state.tallies import KeyChange

logger = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode


class View(Protocol):
    """Where the newest values are shown."""

    def show(self, item: Snapshot | FiringAlert | CustomerRisk) -> None:
        """Show a newer value."""

    def tell(self, data: bytes) -> None:
        """Tell a change of an alert."""


class Header(msgspec.Struct, array_like=True):
    """The journal's header: the state's own, and the changes of alerts that this epoch sends, which are
    sent again after a crash."""

    state: bytes
    outbox: list[AlertChange]


class Station:
    """What shard and merger stations share: the journal and the alerts."""

    def __init__(
        self,
        number: int,
        journal: Journal,
        settings: Settings,
        rules: Rules,
        publisher: Publisher,
        view: View,
    ) -> None:
        self.number = number
        self.journal = journal
        self.settings = settings
        self.rules = rules
        self.publisher = publisher
        self.view = view
        self._changelog = ""
        self._flushing = asyncio.Lock()

    async def claim_journal(self, changelog: str) -> Header | None:
        """Shut stale owners out, and make sure that nobody wrote since the journal was read.

        Raises:
            Failure: somebody did.
        """
        self._changelog = changelog
        await self._append(self.journal.claim())
        header = self.journal.header
        return None if header is None else msgspec.msgpack.decode(header, type=Header)

    async def write_epoch(
        self, changes: list[Entry], state: object, outbox: list[AlertChange], expired: Expired
    ) -> None:
        """Journal an epoch; returns when the broker has confirmed all of it."""
        await self._append(self.journal.write(changes, _encode(Header(_encode(state), outbox)), expired))
        dead = self.journal.dead_records()
        await self.publisher.write([OutRecord(self._changelog, *record, self.number) for record in dead])
        self.journal.end_offset += len(dead)

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
            data = msgspec.json.encode(alert_json(change))
            self.view.tell(data)
            self.view.show(FiringAlert(change.fingerprint, data if change.state == FIRING else None))

    async def _append(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        written = await self.publisher.write_in_order(self._changelog, self.number, records)
        expected = self.journal.end_offset + len(records) - 1
        if written.offset != expected and not written.retried:
            raise Failure(
                f"{self._changelog}, partition {self.number}: another worker wrote to it (offset {written.offset}, "
                f"expected {expected}); this worker gives up its partitions: restart it"
            )
        self.journal.end_offset = written.offset + 1


class ShardStation(Station):
    """One shard."""

    shard: Shard
    desk: AlertDesk

    async def claim(self, changelog: str) -> None:
        """Take the shard over from its journal, and publish again what the last epoch changed."""
        header = await self.claim_journal(changelog)
        self.shard = Shard(self.journal.shelf, header.state if header else None, self.settings, now_ms())
        self.desk = AlertDesk(self.journal.shelf, self.rules)
        self._told_watermark_ms = 0
        self._told_at_ms = 0
        self._in_band: set[str] = set()
        outbox = header.outbox if header else []
        await self._publish(self.shard.key_changes(self.journal.last_changes), outbox)

    async def flush(self) -> None:
        """Journal and publish what has changed since the last flush."""
        async with self._flushing:
            if self.shard.has_changes():
                await self._flush_changes()
            elif self._owes_watermark():
                await self._publish([], [])

    def applied(self, topic: str) -> int:
        """Up to before which offset a topic is in the journal, and may be committed."""
        return self._applied.get(topic, 0)

    def everything(self) -> Iterator[CustomerRisk | FiringAlert]:
        """Every customer in a band and every firing alert, for a view that has to be filled again."""
        for change in self.desk.firing():
            yield FiringAlert(change.fingerprint, msgspec.json.encode(alert_json(change)))
        for customer_id, customer in list(self.shard.customers.items()):
            risk = self._risk(customer_id, customer)
            if risk.band is not None:
                self._in_band.add(customer_id)
                yield risk

    async def _flush_changes(self) -> None:
        shard = self.shard
        out = shard.flush()
        changes, risks = self._assess(out.customers)
        entries = self.journal.shelf.write_down()
        await self._publish_dead_letters(out.dead_letters)
        await self.write_epoch(entries, out.header, changes, shard.expired)
        self._applied = {topic: progress[1] for topic, progress in out.header.progress.items()}
        await self._publish(out.keys, changes)
        self.show_alerts(changes)
        for risk in risks:
            self.view.show(risk)

    _applied: dict[str, int] = {}  # noqa: RUF012 - replaced, never changed

    def _assess(self, customer_ids: set[str]) -> tuple[list[AlertChange], list[CustomerRisk]]:
        """Hold the customers that events or time have touched against the churn rule."""
        changes: list[AlertChange] = []
        risks = []
        for customer_id in sorted(customer_ids):
            customer = self.shard.customers.get(customer_id)
            if customer is None:
                continue
            signs = customer.signs
            as_of_ms = max(customer.last_seen_ms, self.shard.watermark.current_ms)
            changes += self.desk.judge_customer(customer_id, _facts(customer), signs.opted_out, as_of_ms)
            risk = self._risk(customer_id, customer)
            if risk.band is not None:
                self._in_band.add(customer_id)
                risks.append(risk)
            elif customer_id in self._in_band:
                self._in_band.discard(customer_id)
                risks.append(risk)
        return changes, risks

    def _risk(self, customer_id: str, customer: Customer) -> CustomerRisk:
        score, reasons = assess(_facts(customer))
        rule = self.rules.churn
        band = None if rule is None or customer.signs.opted_out else rule.band_of(score)
        return CustomerRisk(customer_id, score, band, tuple(reasons), customer.last_seen_ms)

    async def _publish(self, keys: Sequence[KeyChange], changes: Sequence[AlertChange]) -> None:
        """Tell the mergers the absolute numbers of what changed, and the world the alerts."""
        watermark = self.shard.watermark
        if all(progress.newest_ms == NO_TIME for progress in watermark.partitions.values()):
            return  # a shard without events holds nothing back
        self._told_watermark_ms, self._told_at_ms = watermark.current_ms, now_ms()
        partials = [KeyPartial(c.key, c.tally.newest_ms, c.tally.total, c.panes) for c in keys]
        journal = self.journal
        packed = pack(
            self.number,
            journal.generation,
            journal.epoch,
            watermark.current_ms,
            partials,
            self.settings.partitions,
        )
        topic = self.settings.topic(PARTIALS)
        records = [OutRecord(topic, None, value, partition) for partition, value in packed]
        await self.publisher.write([*records, *self.alert_records(changes)])

    def _owes_watermark(self) -> bool:
        moved = self.shard.watermark.current_ms > self._told_watermark_ms
        return moved and now_ms() - self._told_at_ms >= SECOND_MS

    async def _publish_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        records = [self._dead_letter_record(letter) for letter in letters]
        try:
            await self.publisher.write(records)
        except MessageSizeTooLargeError:
            for record in records:
                await self._publish_in_spite_of_size(record)

    async def _publish_in_spite_of_size(self, record: OutRecord) -> None:
        try:
            await self.publisher.write([record])
        except MessageSizeTooLargeError:
            logger.warning(
                "a record is too large for the dead letters; its value stays in its own topic only"
            )
            note = (
                "truncated",
                b"the value is too large for this topic; read it at topic, partition and offset",
            )
            await self.publisher.write([record._replace(value=b"", headers=[*record.headers[:5], note])])

    def _dead_letter_record(self, letter: DeadLetter) -> OutRecord:
        ours = {
            "reason": letter.reason.value,
            "detail": letter.detail,
            "topic": self.settings.topic(letter.topic),
            "partition": str(self.number),
            "offset": str(letter.record.offset),
        }
        headers = [(name, text.encode("utf-8", "replace")) for name, text in ours.items()]
        theirs = [(name, value or b"") for name, value in letter.record.headers if name not in ours]
        topic = self.settings.topic(DEAD_LETTERS)
        return OutRecord(topic, letter.record.key, letter.record.value, self.number, [*headers, *theirs])


class MergeStation(Station):
    """One merger."""

    merger: Merger
    applied = 0

    async def claim(self, changelog: str) -> None:
        """Take the merger over from its journal, and send again the alerts of the last epoch."""
        header = await self.claim_journal(changelog)
        self.merger = Merger(self.journal.shelf, header.state if header else None, self.rules, self.settings)
        await self.publisher.write(self.alert_records(header.outbox if header else []))

    async def flush(self) -> None:
        """Journal what has changed since the last flush, then publish snapshots and alerts."""
        async with self._flushing:
            out = self.merger.flush(now_ms())
            if out is None:
                return
            entries = self.journal.shelf.write_down()
            await self.write_epoch(entries, out.header, out.changes, self.merger.expired)
            self.applied = out.header.next_offset
            topic = self.settings.topic(METRICS)
            snapshots = [
                OutRecord(topic, f"{s.dimension}:{s.key}".encode(), s.to_json()) for s in out.snapshots
            ]
            await self.publisher.write([*snapshots, *self.alert_records(out.changes)])
            self.show_alerts(out.changes)
            for snapshot in out.snapshots:
                self.view.show(snapshot)

    def everything(self) -> Iterator[Snapshot | FiringAlert]:
        """Every key and every firing alert, for a view that has to be filled again."""
        for change in self.merger.desk.firing():
            yield FiringAlert(change.fingerprint, msgspec.json.encode(alert_json(change)))
        yield from list(self.merger.all_snapshots())


def _facts(customer: Customer) -> ChurnFacts:
    signs = customer.signs
    return ChurnFacts(
        unanswered=len(signs.unanswered),
        answered_before=signs.engaged_ms >= 0,
        tickets_open=signs.tickets_open,
        tickets_reopened=signs.tickets_reopened,
        carts_abandoned=signs.carts_abandoned,
        chats_missed=signs.chats_missed,
        rating_low=signs.ratings_low,
    )
