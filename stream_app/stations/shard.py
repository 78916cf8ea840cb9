"""The shard station: one shard, the churn rule over its customers, and how it is flushed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from stream_app.alerts.churn import ChurnFacts, assess, fewest_unanswered
from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.clock import SECOND_MS, now_ms
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from stream_app.ingest.watermark import NO_TIME
from stream_app.metrics.partials import KeyPartial, pack
from stream_app.sinks.dead_letters import DeadLetters, Source
from stream_app.sinks.publisher import OutRecord
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert
from stream_app.state.customers import Customer
from stream_app.state.shard import Shard
from stream_app.state.tallies import KeyChange
from stream_app.stations.alert_teller import firing_alert
from stream_app.stations.base import Station

logger = logging.getLogger(__name__)

_CUSTOMERS_AT_ONCE = 500
_NEVER = 2.0
"""Above every score."""


class StationHeader(msgspec.Struct, array_like=True):
    """The shard's header, and where its dead letters end."""

    shard: bytes | None
    dead_letters_end: int = 0


class ShardStation(Station):
    """One shard."""

    reads = INPUT_TOPICS
    shard: Shard
    desk: AlertDesk

    async def claim(self) -> int:
        """Shut stale owners out; returns from where the dead letters must be read back."""
        self._header = await self.claim_journal()
        self._held = StationHeader(None)
        if self._header is not None:
            self._held = msgspec.msgpack.decode(self._header.state, type=StationHeader)
        return self._held.dead_letters_end

    async def open(self, written: Set[Source]) -> None:
        """Take the shard up from its journal, and publish again what the last epoch changed. ``written``
        are the records whose dead letters were read back."""
        held = self._held
        self._dead_letters = DeadLetters(self.number, self.settings, self.publisher, held.dead_letters_end)
        self.shard = Shard(self.journal.shelf, held.shard, self.settings, now_ms(), written)
        self.desk = AlertDesk(self.journal.shelf, self.rules)
        self._applied: dict[str, int] = {}
        self._told_watermark_ms = 0
        self._told_at_ms = 0
        self._in_band: set[str] = set()
        self._lowest_band = self.rules.churn.bands[0][1] if self.rules.churn else _NEVER
        self._fewest_unanswered = fewest_unanswered(self._lowest_band)
        await self._publish(self.shard.key_changes(self.journal.last_changes))
        await self.tell_the_rest(self._header, held)
        retired = self.desk.retire_unwatched(self.shard.watermark.current_ms)
        if retired:
            await self._flush(retired)

    async def flush_changes(self) -> None:
        """Journal and publish what has changed since the last flush."""
        if self.shard.has_changes():
            await self._flush([])
        elif self._owes_watermark():
            await self._publish([])

    def applied(self, topic: str) -> int:
        """Up to before which offset a topic is in the journal, and may be committed."""
        return self._applied.get(topic, 0)

    def everything(self) -> Iterator[CustomerRisk | FiringAlert | None]:
        """Every customer in a band and every firing alert, for a view that has to be filled again; now and then
        None, so that others can run."""
        yield from (firing_alert(change) for change in self.desk.firing())
        for number, (customer_id, customer) in enumerate(self.shard.customers.items()):
            if number % _CUSTOMERS_AT_ONCE == 0:
                yield None
            risk = self._risk(customer_id, customer)
            if risk.band is not None:
                self._in_band.add(customer_id)
                yield risk

    async def _flush(self, changes: list[AlertChange]) -> None:
        out = self.shard.flush()
        if self.shard.skipped:
            logger.warning(
                "shard %d: %d offsets never came: markers of transactions, or records removed before they were read",
                self.number,
                self.shard.skipped,
            )
            self.shard.skipped = 0
        risks = self._assess(out.customers, changes)
        for customer_id in self._take_forgotten():
            changes += self.desk.forget_customer(customer_id, self.shard.watermark.current_ms)
            if customer_id in self._in_band:
                self._in_band.discard(customer_id)
                risks.append(CustomerRisk(customer_id, 0.0, None, (), 0))
        entries = self.journal.shelf.write_down()
        await self._dead_letters.write(out.dead_letters)
        header = StationHeader(msgspec.msgpack.encode(out.header), self._dead_letters.end_offset)
        await self.write_epoch(entries, header, changes, self.shard.forgetting)
        self._applied = {topic: progress[1] for topic, progress in out.header.progress.items()}
        await self._publish(out.keys)
        for risk in risks:
            self.view.show(risk)
        await self.tell_alerts(changes, header)

    def _assess(self, customers: Mapping[str, Customer], changes: list[AlertChange]) -> list[CustomerRisk]:
        """Hold the customers that events or time have touched against the churn rule; adds to the changes
        of alerts, and returns the risks that the view must show."""
        risks = []
        told, in_band, unremarkable = self.desk.customers, self._in_band, self._unremarkable
        for customer_id in sorted(
            name
            for name, customer in customers.items()
            if name in told or name in in_band or not unremarkable(customer)
        ):
            customer = customers[customer_id]
            as_of_ms = max(customer.last_seen_ms, self.shard.watermark.current_ms)
            changes += self.desk.judge_customer(customer_id, _facts(customer), customer.opted_out, as_of_ms)
            risk = self._risk(customer_id, customer)
            if risk.band is not None:
                in_band.add(customer_id)
                risks.append(risk)
            elif customer_id in in_band:
                in_band.discard(customer_id)
                risks.append(risk)
        return risks

    def _unremarkable(self, customer: Customer) -> bool:
        """Whether a customer's score is below every band, by a look that spares nearly all of them the whole sum."""
        if customer.signs is None and len(customer.mail.times) < self._fewest_unanswered:
            return True
        return assess(_facts(customer)).score < self._lowest_band

    def _risk(self, customer_id: str, customer: Customer) -> CustomerRisk:
        score, reasons = assess(_facts(customer))
        rule = self.rules.churn
        band = None if rule is None or customer.opted_out else rule.band_of(score)
        return CustomerRisk(customer_id, score, band, tuple(reasons), customer.last_seen_ms)

    def _take_forgotten(self) -> list[str]:
        """The customers that the last epochs forgot, because they were silent for the retention."""
        forgotten, self.shard.forgotten_customers = self.shard.forgotten_customers, []
        return forgotten

    async def _publish(self, keys: Sequence[KeyChange]) -> None:
        """Tell the mergers the absolute numbers of what changed."""
        watermark, journal = self.shard.watermark, self.journal
        if all(progress.newest_ms == NO_TIME for progress in watermark.partitions.values()):
            return  # a shard without events holds nothing back
        self._told_watermark_ms, self._told_at_ms = watermark.current_ms, now_ms()
        partials = [KeyPartial(c.key, c.tally.newest_ms, c.tally.total, c.panes) for c in keys]
        place = (self.number, journal.generation, journal.epoch, watermark.current_ms)
        packed = pack(*place, partials, self.settings.partitions)
        topic = self.settings.topic(PARTIALS)
        records = [OutRecord(topic, None, value, partition) for partition, value in packed]
        await self.publisher.write(records)

    def _owes_watermark(self) -> bool:
        moved = self.shard.watermark.current_ms > self._told_watermark_ms
        return moved and now_ms() - self._told_at_ms >= SECOND_MS


def _facts(customer: Customer) -> ChurnFacts:
    mail, signs = customer.mail, customer.signs
    unanswered, answered_before = len(mail.times), mail.made_good_ms >= 0
    if signs is None:
        return ChurnFacts(unanswered, answered_before)
    return ChurnFacts(
        unanswered=unanswered,
        answered_before=answered_before,
        tickets_open=signs.tickets_open,
        tickets_reopened=signs.tickets_reopened,
        carts_abandoned=len(signs.carts.times),
        chats_missed=len(signs.chats.times),
        rating_low=len(signs.ratings.times),
    )
