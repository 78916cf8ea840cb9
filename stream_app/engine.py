"""The engine: drives shards and mergers, and orders what must happen in which order.

Stands between Faust and the pure state. Records and partials come in through ``ingest`` and ``merge``;
loops move time on and flush. A flush goes: dead letters, then the journal epoch, each
confirmed by the broker; only then partials, snapshots and alerts; only then may offsets be committed. What
an epoch was about to send when a crash came is sent from the journal by the next owner, alerts only if they are not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka import TopicPartition

from stream_app.alerts.lifecycle import CUSTOMER
from stream_app.alerts.rules import Rules
from stream_app.clock import monotonic_seconds, now_ms
from stream_app.handover import Handover, all_of
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.ends import place_of
from stream_app.ingest.holes import Holes
from stream_app.ingest.topics import DEAD_LETTERS, INPUT_TOPICS, METRICS, PARTIALS
from stream_app.lease import Lease
from stream_app.lookout import EndsFrom, Lookout
from stream_app.metrics.partials import Partial, decode_partial, merger_of
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.dead_letters import read_back
from stream_app.sinks.publisher import Publisher
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert, RedisView
from stream_app.sinks.tail import stands_between
from stream_app.sinks.topic_watch import TopicWatch
from stream_app.sinks.worker_report import Reporter, WorkerReport, worker_name
from stream_app.state.journal import Journal
from stream_app.stations.base import Surroundings, read_journals
from stream_app.stations.merge import MergeStation
from stream_app.stations.shard import ShardStation
from stream_app.vitals import Vitals

logger = logging.getLogger(__name__)

ReadAgain = Callable[[TopicPartition, int], Awaitable[None]]
"""Reads a partition from an offset."""

RECORDS_AT_ONCE = 250
PARTIALS_AT_ONCE_BYTES = 100_000
MOST_UNFLUSHED = 5_000
TICK_SECONDS = 0.25
LONGEST_REST_SECONDS = 1.0
CATCHING_UP_RECORDS = 50_000
CATCHING_UP_UNFLUSHED = 20_000
CATCHING_UP_REST_SECONDS = 10.0
CATCHING_UP_SLOWER = 10
SHARDS, MERGERS = "shards", "mergers"
_END = object()


class Engine:
    """All shards and mergers of one worker."""

    def __init__(self, settings: Settings, rules: Rules, changelogs: tuple[str, str], lease: Lease) -> None:
        self.settings = settings
        self.lease = lease
        self.vitals = Vitals()
        self._name = worker_name()
        self._started_ms = now_ms()
        self.publisher = Publisher(settings, lease)
        reporter = Reporter(self.report, settings.redis_prefix)
        self.view = RedisView(settings, lease, self._everything, self._owns, reporter.commands)
        self.topics = TopicWatch(settings)
        self._surroundings = Surroundings(
            settings, rules, self.publisher, self.view, self.topics, self.vitals
        )
        self.shards: dict[int, ShardStation] = {}
        self.mergers: dict[int, MergeStation] = {}
        self.committable: dict[TopicPartition, int] = {}
        self.flushes = Counter({SHARDS: 0, MERGERS: 0})
        """How many flushes have ended; where that stands still, nothing is written any more."""
        self._shard_changelog, self._merge_changelog = changelogs
        self.written_by = {
            SHARDS: (self._shard_changelog, settings.topic(DEAD_LETTERS), settings.topic(PARTIALS)),
            MERGERS: (self._merge_changelog, settings.topic(METRICS)),
        }
        """The topics that show that a long flush goes on."""
        self._read_again: ReadAgain | None = None
        self._holes = Holes()
        self.lag = 0
        """How many records wait unread, as of the watchdog's last look."""
        self._lookout = Lookout(settings, lambda: self.shards)
        self._flushed = {whose: asyncio.Event() for whose in self.flushes}
        self._is_full = {whose: asyncio.Event() for whose in self.flushes}
        """Where one of them is set, some shard or merger waits for its flush."""
        self.handover = Handover()

    async def start(self, ends_from: EndsFrom, read_again: ReadAgain) -> None:
        """Connect to Kafka for writing; ``ends_from`` is asked before time moves on past silent topics, and
        ``read_again`` told where records are missing."""
        self._lookout.ends_from = ends_from
        self._read_again = read_again
        await self.publisher.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self.publisher.stop()

    async def open_shards(self, journals: Mapping[int, Journal], lost: asyncio.Event) -> None:
        """Read the journals of these partitions and take their shards over; nothing happens if they are lost
        meanwhile, which ``lost`` says (``handover.py``)."""

        async def take_all() -> None:
            await read_journals(journals, self._shard_changelog, self._surroundings, lost)
            stations = {
                number: ShardStation(number, journal, self._shard_changelog, self._surroundings)
                for number, journal in journals.items()
            }
            ends = await all_of(station.claim(lost) for station in stations.values())
            written = await read_back(self.settings, dict(zip(stations, ends, strict=True)))
            await all_of(station.open(written[number]) for number, station in stations.items())
            self.shards = stations

        await self.topics.look()
        if await self.handover.take(lost, take_all):
            await self._lookout.look()
            self.view.refill_soon()
            logger.info("serving shards %s", sorted(self.shards))

    async def open_mergers(self, journals: Mapping[int, Journal], lost: asyncio.Event) -> None:
        """As ``open_shards``, for mergers."""

        async def take_all() -> None:
            await read_journals(journals, self._merge_changelog, self._surroundings, lost)
            stations = {
                number: MergeStation(number, journal, self._merge_changelog, self._surroundings)
                for number, journal in journals.items()
            }
            await all_of(station.open(lost) for station in stations.values())
            self.mergers = stations

        await self.topics.look()
        if await self.handover.take(lost, take_all):
            self.view.refill_soon()

    async def close(self) -> None:
        """Let go of all partitions, and flush them for the last time; their next owner recovers them."""
        async with self.handover.letting_go():
            shards, mergers = self._let_go()
            await asyncio.gather(*(station.close() for station in shards))
            await asyncio.gather(*(station.close() for station in mergers))
            self._allow_commits(shards, mergers)

    def give_up(self) -> None:
        """Let go of all partitions without a flush, because something has failed."""
        self.handover.lost.set()
        self._let_go()

    def _let_go(self) -> tuple[list[ShardStation], list[MergeStation]]:
        held = list(self.shards.values()), list(self.mergers.values())
        self.shards, self.mergers = {}, {}
        return held

    def position_of(self, place: TopicPartition) -> int | None:
        """From which offset a partition is to be read on; None if it is not ours."""
        topic = place.topic.removeprefix(self.settings.prefix)
        if topic == PARTIALS:
            merger = self.mergers.get(place.partition)
            return merger.merger.next_offset if merger else None
        shard = self.shards.get(place.partition)
        return shard.shard.watermark.partitions[topic].next_offset if shard else None

    async def ingest(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Apply a batch of an input topic (named without the prefix)."""
        station = self.shards.get(partition)
        if station is None or not records:
            return
        watermark = station.shard.watermark
        if not await self._follows(topic, partition, watermark.partitions[topic].next_offset, records):
            return
        self.vitals.batches.observe(len(records))
        watermark.arrived(topic, records[-1].offset + 1, now_ms())
        if watermark.relies_on_ends(now_ms()):
            await self._lookout.look_soon()
        for start in range(0, len(records), RECORDS_AT_ONCE):
            if self.shards.get(partition) is not station:
                return  # the partition went elsewhere while we waited
            chunk = records[start : start + RECORDS_AT_ONCE]
            station.shard.process(topic, chunk, now_ms())
            self.vitals.events[topic] += len(chunk)
            await self._breathe(SHARDS, station.shard.unflushed)

    async def merge(self, partition: int, records: Sequence[Record]) -> None:
        """Apply a batch of partials."""
        station = self.mergers.get(partition)
        if station is None:
            return
        if not await self._follows(PARTIALS, partition, station.merger.next_offset, records):
            return
        waiting: list[tuple[int, Partial]] = []
        size = 0
        for record in records:
            value = record.value or b""
            waiting.append((record.offset, decode_partial(value)))
            size += len(value)
            if size < PARTIALS_AT_ONCE_BYTES and record is not records[-1]:
                continue
            if self.mergers.get(partition) is not station:
                return
            station.merger.process(waiting)
            waiting, size = [], 0
            await self._breathe(MERGERS, station.merger.unflushed)

    async def flush_shards(self) -> None:
        """Flush the shards again and again, until cancelled. An error here ends the worker."""
        while True:
            began = monotonic_seconds()
            shards = list(self.shards.values())
            await asyncio.gather(*(_in_turn(turn, shard.flush()) for turn, shard in enumerate(shards)))
            self._allow_commits(list(self.shards.values()), [])
            await self._rest(SHARDS, began)

    async def flush_mergers(self) -> None:
        """As ``flush_shards``, for the mergers: by themselves, so that what a shard has told is shown soon."""
        while True:
            began = monotonic_seconds()
            mergers = list(self.mergers.values())
            for merger in mergers:
                slower = CATCHING_UP_SLOWER if self._catches_up else 1
                merger.merger.snapshot_interval_ms = self.settings.snapshot_interval * slower
            await asyncio.gather(*(_in_turn(turn, merger.flush()) for turn, merger in enumerate(mergers)))
            self._allow_commits([], list(self.mergers.values()))
            await self._rest(MERGERS, began)

    async def _rest(self, whose: str, began: float) -> None:
        """Pause between two flushes, for as long as the last one took: what a flush costs by itself is then shared by
        the more events the busier the worker is, and by the most while it catches up. It ends when there is as much
        as may wait, because a flush takes that out in one piece."""
        self.flushes[whose] += 1
        self._is_full[whose].clear()
        self._flushed[whose].set()
        took = monotonic_seconds() - began
        self.vitals.took_flush(whose, took)
        longest = max(self.settings.flush_interval / 1000, min(took, LONGEST_REST_SECONDS))
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCHING_UP_REST_SECONDS if self._catches_up else longest):
                await self._is_full[whose].wait()

    def report(self) -> WorkerReport:
        """How this worker is now."""
        vitals = self.vitals
        times = [station.shard.watermark.current_ms for station in self.shards.values()]
        return WorkerReport(
            self._name,
            self._started_ms,
            now_ms(),
            sorted(self.shards),
            sorted(self.mergers),
            self.lag,
            min((time_ms for time_ms in times if time_ms > 0), default=None),
            vitals.events,
            vitals.dead_letters,
            vitals.batches.count,
            int(vitals.batches.sum),
            {whose: (took.count, took.sum) for whose, took in vitals.flushes.items()},
            self.view.errors,
            self.churn_held_back,
        )

    @property
    def churn_held_back(self) -> int:
        """How many churn alerts wait for a later hour, in all shards."""
        return sum(station.desk.held_back for station in self.shards.values())

    @property
    def _catches_up(self) -> bool:
        """Whether what is shown is old in any case, so that catching up soon is worth more than showing each step."""
        return self.lag > CATCHING_UP_RECORDS

    async def pass_time(self) -> None:
        """Move time on, until cancelled. An error here ends the worker."""
        while True:
            clock_ms = now_ms()
            stations = list(self.shards.values())
            if any(station.shard.watermark.relies_on_ends(clock_ms) for station in stations):
                await self._lookout.look_soon()
            for station in self.shards.values():
                station.shard.tick(clock_ms)
            await asyncio.sleep(TICK_SECONDS)

    def _allow_commits(self, shards: Sequence[ShardStation], mergers: Sequence[MergeStation]) -> None:
        """What is in the journals may be committed."""
        for shard in shards:
            for topic in INPUT_TOPICS:
                self.committable[place_of(self.settings, topic, shard.number)] = shard.applied(topic)
        for merger in mergers:
            self.committable[place_of(self.settings, PARTIALS, merger.number)] = merger.applied

    async def _follows(self, topic: str, partition: int, expected: int, records: Sequence[Record]) -> bool:
        """Whether a batch goes on where its partition was left; if not, it is read again from there."""
        place = place_of(self.settings, topic, partition)
        came = records[0].offset
        if self._holes.accepts(place, expected, came):
            # Around a rebalance Faust can hand over the same twice; later on, asking Kafka each time would be dear.
            doubtful = came > expected and self.handover.is_recent
            if not (doubtful and await stands_between(self.settings, place, expected, came)):
                return True
        logger.info("%s, partition %d: reading again from offset %d", place.topic, partition, expected)
        if self._read_again is not None:
            await self._read_again(place, expected)
        return False

    async def _breathe(self, whose: str, unflushed: int) -> None:
        """Let others run; where the broker is slow to confirm, wait for the next flush."""
        await asyncio.sleep(0)
        if unflushed > (CATCHING_UP_UNFLUSHED if self._catches_up else MOST_UNFLUSHED):
            self._is_full[whose].set()
            self._flushed[whose].clear()
            await self._flushed[whose].wait()

    async def _everything(self) -> AsyncIterator[Snapshot | FiringAlert | CustomerRisk | None]:
        """What the view has to show; of a partition that goes elsewhere meanwhile, no more."""
        for number, merger in list(self.mergers.items()):
            snapshots = merger.everything()
            while self.mergers.get(number) is merger and (item := next(snapshots, None)) is not None:
                yield item
                await asyncio.sleep(0)
        for number, shard in list(self.shards.items()):
            risks = shard.everything()
            while self.shards.get(number) is shard and (risk := next(risks, _END)) is not _END:
                if risk is None or isinstance(risk, CustomerRisk | FiringAlert):
                    yield risk
                await asyncio.sleep(0)

    def _owns(self, dimension: str, key: str) -> bool:
        """Whether this worker is responsible for a dimension key, or for a customer."""
        if dimension == CUSTOMER:  # producers may use any partitioner, so only the shelf knows
            return any(station.shard.customers.get(key) is not None for station in self.shards.values())
        return merger_of(f"{dimension}:{key}", self.settings.partitions) in self.mergers


async def _in_turn(turn: int, work: Awaitable[None]) -> None:
    """Do work so many turns of the event loop from now, so that others can run in between."""
    for _ in range(turn):
        await asyncio.sleep(0)
    await work
