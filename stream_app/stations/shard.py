"""The shard station: one shard, the churn rule over its customers, and how it is flushed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.churn.learning import begin_learning
from stream_app.clock import SECOND_MS, now_ms
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from stream_app.ingest.watermark import NO_TIME
from stream_app.metrics.partials import Partial, key_partials, pack
from stream_app.sinks.dead_letters import DeadLetters, Source
from stream_app.sinks.publisher import OutRecord
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert
from stream_app.state.customers import Customer
from stream_app.state.shard import Shard
from stream_app.state.standings import Standing, campaigns_among
from stream_app.state.tallies import KeyChange
from stream_app.stations.alert_teller import firing_alert
from stream_app.stations.base import Station
from stream_app.stations.customer_watch import CustomerWatch

logger = logging.getLogger(__name__)

_CUSTOMERS_AT_ONCE = 500
STANDINGS_EVERY_MS = 2 * SECOND_MS


class StationHeader(msgspec.Struct, array_like=True):
    """The shard's header, and where its dead letters end."""

    shard: bytes | None
    dead_letters_end: int = 0


class ShardStation(Station):
    """One shard."""

    reads = INPUT_TOPICS
    shard: Shard
    desk: AlertDesk

    async def claim(self, lost: asyncio.Event) -> int:
        """Shut stale owners out; returns from where the dead letters must be read back."""
        self._header = await self.claim_journal(lost)
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
        self.desk = AlertDesk(self.journal.shelf, self.rules, self.settings.partitions)
        self._applied: dict[str, int] = {}
        self._told_watermark_ms = 0
        self._told_at_ms = 0
        self._untold_campaigns = set(self.shard.standings.campaigns())
        self._standings_told_at_ms = 0
        churn = self.rules.churn
        self._learning = begin_learning(
            self.journal.shelf,
            churn.model if churn is not None and churn.learns else None,
            self.settings.retention,
            self.shard.watermark.current_ms,
        )
        if self._learning is not None:
            logger.info("shard %d: churn scores learn from outcomes: %s", self.number, self._learning.words())
        self._watch = CustomerWatch(self.rules, self.desk, self.settings, self._learning)
        self._held_back = False
        await self._publish(self.shard.key_changes(self.journal.last_changes), is_repeat=True)
        await self.tell_the_rest(self._header, held)
        retired = self.desk.retire_unwatched(self.shard.watermark.current_ms)
        if retired:
            await self._flush(retired)

    async def flush_changes(self) -> None:
        """Journal and publish what has changed since the last flush."""
        if self.shard.has_changes():
            await self._flush([])
        elif self._owes_word():
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
            risk = self._watch.look_again(customer_id, customer, self.shard.watermark.current_ms)
            if risk is not None:
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
        watermark_ms = self.shard.watermark.current_ms
        reviewed = self.shard.take_reviewed()
        self._learn(reviewed, out.customers, watermark_ms)
        assessed = self._watch.assess({**reviewed, **out.customers}, watermark_ms)
        forgotten = self._watch.forget(self._take_forgotten(), watermark_ms)
        changes += [*assessed.changes, *forgotten.changes]
        self._say_held_back()
        entries = self.journal.shelf.write_down()
        await self._dead_letters.write(out.dead_letters)
        self.vitals.dead_letters.update(letter.reason.value for letter in out.dead_letters)
        # The next owner reads the letters back from here: those too whose records are still to be read again.
        letters_end = self._held.dead_letters_end if out.awaits_the_dead else self._dead_letters.end_offset
        header = StationHeader(msgspec.msgpack.encode(out.header), letters_end)
        await self.write_epoch(entries, header, changes, self.shard.forgetting)
        self._applied = {topic: progress[1] for topic, progress in out.header.progress.items()}
        await self._publish(out.keys)
        for risk in (*assessed.risks, *forgotten.risks):
            self.view.show(risk)
        await self.tell_alerts(changes, header)

    def _learn(
        self, reviewed: Mapping[str, Customer], touched: Mapping[str, Customer], watermark_ms: int
    ) -> None:
        """Hold what was foretold of customers against what came of them, where the rule asks for it."""
        if self._learning is not None:
            self._learning.note(touched.values())
            for customer_id in self._learning.review(reviewed, watermark_ms):
                self.shard.customers.put(customer_id, reviewed[customer_id])

    def _say_held_back(self) -> None:
        """Say it when churn alerts begin to be held back, and when none is any more."""
        held_back = self.desk.held_back
        if bool(held_back) != self._held_back:
            self._held_back = bool(held_back)
            word = (
                f"{held_back} are held back until the next hours"
                if held_back
                else "none is held back any more"
            )
            logger.warning("shard %d: churn alerts: %s; see most_per_hour in the rules", self.number, word)

    def _take_forgotten(self) -> list[str]:
        """The customers that the last epochs forgot, because they were silent for the retention."""
        forgotten, self.shard.forgotten_customers = self.shard.forgotten_customers, []
        return forgotten

    async def _publish(self, keys: Sequence[KeyChange], *, is_repeat: bool = False) -> None:
        """Tell the mergers the absolute numbers of what changed; ``is_repeat``: the last owner may have done so."""
        watermark, journal = self.shard.watermark, self.journal
        if all(progress.newest_ms == NO_TIME for progress in watermark.partitions.values()):
            return  # a shard without events holds nothing back
        self._told_watermark_ms, self._told_at_ms = watermark.current_ms, now_ms()
        self._untold_campaigns.update(campaigns_among(c.key for c in keys))
        place = (self.number, journal.generation, journal.epoch, watermark.current_ms)
        word = Partial(*place, key_partials(keys), self._standings_to_tell(), is_repeat)
        packed = pack(word, self.settings.partitions)
        topic = self.settings.topic(PARTIALS)
        records = [OutRecord(topic, None, value, partition) for partition, value in packed]
        await self.publisher.write(records)

    def _standings_to_tell(self) -> list[Standing]:
        """Where the campaigns stand that have changed; now and then, as nobody needs each step of it."""
        if now_ms() - self._standings_told_at_ms < STANDINGS_EVERY_MS:
            return []
        self._standings_told_at_ms = now_ms()
        campaigns, self._untold_campaigns = self._untold_campaigns, set()
        return self.shard.standings.of(sorted(campaigns))

    def _owes_word(self) -> bool:
        """Whether the mergers must hear of time or of campaigns, though nothing was counted."""
        moved = self.shard.watermark.current_ms > self._told_watermark_ms
        if moved and now_ms() - self._told_at_ms >= SECOND_MS:
            return True
        return bool(self._untold_campaigns) and now_ms() - self._standings_told_at_ms >= STANDINGS_EVERY_MS
