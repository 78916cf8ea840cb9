"""The engine: drives shards and mergers, and orders what must happen in which order.

Stands between Faust and the pure state. Records and partials come in through ``ingest`` and ``merge``;
a loop (``run``) moves time on and flushes. A flush goes: dead letters, then the journal epoch, each
confirmed by the broker; only then partials, snapshots and alerts; only then may offsets be committed. What
an epoch was about to send when a crash came is sent from the journal by the next owner, alerts only if they are not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream_app.alerts.lifecycle import CUSTOMER
from stream_app.alerts.rules import Rules
from stream_app.clock import monotonic_seconds, now_ms
from stream_app.garbage import state_is_loaded
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.ends import End
from stream_app.ingest.holes import Holes
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from stream_app.lease import Lease
from stream_app.metrics.partials import Partial, decode_partial, merger_of
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.dead_letters import read_back
from stream_app.sinks.publisher import Publisher
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert, RedisView
from stream_app.sinks.topic_watch import TopicWatch, created_again
from stream_app.state.journal import Journal
from stream_app.stations.base import Surroundings
from stream_app.stations.merge import MergeStation
from stream_app.stations.shard import ShardStation

logger = logging.getLogger(__name__)

EndsFrom = Callable[[Mapping[TopicPartition, int]], Awaitable[Mapping[TopicPartition, End]]]
"""Asks the broker for the end of partitions, given the offsets up to which they were read."""

ReadAgain = Callable[[TopicPartition, int], Awaitable[None]]
"""Reads a partition from an offset."""

RECORDS_AT_ONCE = 250
PARTIALS_AT_ONCE_BYTES = 100_000
MOST_UNFLUSHED = 20_000
TICK_SECONDS = 0.25
SHORTENED_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_END = object()


class Engine:
    """All shards and mergers of one worker."""

    def __init__(self, settings: Settings, rules: Rules, changelogs: tuple[str, str], lease: Lease) -> None:
        self.settings = settings
        self.lease = lease
        self.publisher = Publisher(settings, lease)
        self.view = RedisView(settings, lease, self._everything, self._owns)
        self.topics = TopicWatch(settings)
        self._surroundings = Surroundings(settings, rules, self.publisher, self.view, self.topics)
        self.shards: dict[int, ShardStation] = {}
        self.mergers: dict[int, MergeStation] = {}
        self.committable: dict[TopicPartition, int] = {}
        self.flushes = 0
        """How many flushes have ended; where that stands still, nothing is written any more."""
        self._shard_changelog, self._merge_changelog = changelogs
        self._ends_from: EndsFrom | None = None
        self._read_again: ReadAgain | None = None
        self._holes = Holes()
        self._looking: asyncio.Task[None] | None = None
        self._next_look: asyncio.Task[None] | None = None
        self._flushed = asyncio.Event()
        self._handover = asyncio.Lock()
        self._rebalances = 0
        self._shortened_since: dict[TopicPartition, float] = {}

    async def start(self, ends_from: EndsFrom, read_again: ReadAgain) -> None:
        """Connect to Kafka for writing; ``ends_from`` is asked before time moves on past silent topics, and
        ``read_again`` told where records are missing."""
        self._ends_from = ends_from
        self._read_again = read_again
        await self.publisher.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self.publisher.stop()

    async def open_shards(self, journals: Mapping[int, Journal]) -> None:
        """Take over the shards of these partitions, whose journals have been read; nothing happens if the group
        is shared out anew meanwhile."""
        async with self._taking_over() as is_current:
            if not is_current:
                return
            stations = {
                number: ShardStation(number, journal, self._shard_changelog, self._surroundings)
                for number, journal in journals.items()
            }
            ends = await asyncio.gather(*(station.claim() for station in stations.values()))
            written = await read_back(self.settings, dict(zip(stations, ends, strict=True)))
            await asyncio.gather(*(station.open(written[number]) for number, station in stations.items()))
            self.shards = stations
        state_is_loaded()
        await self._look()
        self.view.refill_soon()
        logger.info("serving shards %s", sorted(self.shards))

    async def open_mergers(self, journals: Mapping[int, Journal]) -> None:
        """As ``open_shards``, for mergers."""
        async with self._taking_over() as is_current:
            if not is_current:
                return
            stations = {
                number: MergeStation(number, journal, self._merge_changelog, self._surroundings)
                for number, journal in journals.items()
            }
            await asyncio.gather(*(station.open() for station in stations.values()))
            self.mergers = stations
        state_is_loaded()
        self.view.refill_soon()

    @asynccontextmanager
    async def _taking_over(self) -> AsyncIterator[bool]:
        """Look at the topics, then keep others from handing over; tells whether the group was not shared out anew
        meanwhile, so that what was recovered is still ours."""
        rebalances = self._rebalances
        await self.topics.look()
        async with self._handover:
            yield rebalances == self._rebalances

    async def close(self) -> None:
        """Let go of all partitions, and flush them for the last time; their next owner recovers them."""
        self._rebalances += 1
        async with self._handover:
            shards, mergers = self._let_go()
            await asyncio.gather(*(station.close() for station in shards))
            await asyncio.gather(*(station.close() for station in mergers))
            self._allow_commits(shards, mergers)

    def give_up(self) -> None:
        """Let go of all partitions without a flush, because something has failed."""
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
            return None if merger is None else merger.merger.next_offset
        shard = self.shards.get(place.partition)
        return None if shard is None else shard.shard.watermark.partitions[topic].next_offset

    async def ingest(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Apply a batch of an input topic (named without the prefix)."""
        station = self.shards.get(partition)
        if station is None or not records:
            return
        watermark = station.shard.watermark
        if not await self._follows(topic, partition, watermark.partitions[topic].next_offset, records):
            return
        watermark.arrived(topic, records[-1].offset + 1, now_ms())
        if watermark.relies_on_ends(now_ms()):
            await self._look_at_ends()
        for start in range(0, len(records), RECORDS_AT_ONCE):
            if self.shards.get(partition) is not station:
                return  # the partition went elsewhere while we waited
            chunk = records[start : start + RECORDS_AT_ONCE]
            station.shard.process(topic, chunk, now_ms())
            await self._breathe(station.shard.unflushed)

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
            await self._breathe(station.merger.unflushed)

    async def run(self) -> None:
        """Flush again and again, until cancelled. An error here ends the worker."""
        while True:
            await self.flush()
            await asyncio.sleep(self.settings.flush_interval / 1000)

    async def pass_time(self) -> None:
        """Move time on, until cancelled. An error here ends the worker."""
        while True:
            clock_ms = now_ms()
            stations = list(self.shards.values())
            if any(station.shard.watermark.relies_on_ends(clock_ms) for station in stations):
                await self._look_at_ends()
            for station in self.shards.values():
                station.shard.tick(clock_ms)
            await asyncio.sleep(TICK_SECONDS)

    async def flush(self) -> None:
        """Journal and publish what has changed, in all shards and mergers."""
        shards, mergers = list(self.shards.values()), list(self.mergers.values())
        await asyncio.gather(*(_in_turn(turn, shard.flush()) for turn, shard in enumerate(shards)))
        await asyncio.gather(*(_in_turn(turn, merger.flush()) for turn, merger in enumerate(mergers)))
        self._allow_commits(list(self.shards.values()), list(self.mergers.values()))
        self.flushes += 1
        self._flushed.set()

    def _allow_commits(self, shards: Sequence[ShardStation], mergers: Sequence[MergeStation]) -> None:
        """What is in the journals may be committed."""
        for shard in shards:
            for topic in INPUT_TOPICS:
                self.committable[self._place(topic, shard.number)] = shard.applied(topic)
        for merger in mergers:
            self.committable[self._place(PARTIALS, merger.number)] = merger.applied

    def _place(self, topic: str, number: int) -> TopicPartition:
        place: TopicPartition = TopicPartition(self.settings.topic(topic), number)
        return place

    async def _follows(self, topic: str, partition: int, expected: int, records: Sequence[Record]) -> bool:
        """Whether a batch goes on where its partition was left; if not, it is read again from there."""
        place = self._place(topic, partition)
        if self._holes.accepts(place, expected, records[0].offset):
            return True
        logger.info("%s, partition %d: reading again from offset %d", place.topic, partition, expected)
        if self._read_again is not None:
            await self._read_again(place, expected)
        return False

    async def _breathe(self, unflushed: int) -> None:
        """Let others run; where the broker is slow to confirm, wait for the next flush."""
        await asyncio.sleep(0)
        if unflushed > MOST_UNFLUSHED:
            self._flushed.clear()
            await self._flushed.wait()

    async def _look_at_ends(self) -> None:
        """Look at the ends of all topics, at this time or later; those who ask meanwhile share one look."""
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after(self._looking))
        await asyncio.shield(self._next_look)

    async def _look_after(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._looking, self._next_look = self._next_look, None
        await self._look()

    async def _look(self) -> None:
        clock_ms = now_ms()
        stations = dict(self.shards)
        offsets = {
            self._place(topic, number): progress.next_offset
            for number, station in stations.items()
            for topic, progress in station.shard.watermark.partitions.items()
        }
        ends = await self._ends_of(offsets)
        self._refuse_shortened(offsets, ends)
        for number, station in stations.items():
            places = {topic: self._place(topic, number) for topic in INPUT_TOPICS}
            known = {topic: ends[place] for topic, place in places.items() if place in ends}
            for topic, end in known.items():
                if end.is_read:
                    station.shard.skipped += station.shard.watermark.pass_over(topic, end.readable)
            station.shard.watermark.confirm({topic: end.offset for topic, end in known.items()}, clock_ms)

    async def _ends_of(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, End]:
        """The ends of the partitions that the broker answers for; the others are waited for."""
        if self._ends_from is None:
            raise RuntimeError("the engine was not started")
        try:
            return await self._ends_from(offsets)
        except (KafkaError, OSError) as problem:
            logger.warning("cannot see the ends of the topics (%s); time waits", problem)
            await asyncio.sleep(_PAUSE_SECONDS)
            return {}

    def _refuse_shortened(
        self, offsets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, End]
    ) -> None:
        """A topic that ends before what was already applied is another topic of the same name: its records
        would be taken for applied ones, and silently not be counted. After a change of leader a broker may for
        a moment not know its end, so it must stay like this.

        Raises:
            Failure: there is one.
        """
        shortened = {place for place, end in ends.items() if end.offset < offsets[place]}
        self._shortened_since = {
            place: self._shortened_since.get(place, monotonic_seconds()) for place in shortened
        }
        for place, since in self._shortened_since.items():
            if monotonic_seconds() - since > SHORTENED_SECONDS:
                sign = f"partition {place.partition} ends at offset {ends[place].offset}"
                raise created_again(
                    place.topic, f"{sign}, but {offsets[place]} of its records have been counted"
                )

    async def _everything(self) -> AsyncIterator[Snapshot | FiringAlert | CustomerRisk]:
        """What the view has to show; of a partition that goes elsewhere meanwhile, no more."""
        for number, merger in list(self.mergers.items()):
            snapshots = merger.everything()
            while self.mergers.get(number) is merger and (item := next(snapshots, None)) is not None:
                yield item
                await asyncio.sleep(0)
        for number, shard in list(self.shards.items()):
            risks = shard.everything()
            while self.shards.get(number) is shard and (risk := next(risks, _END)) is not _END:
                if isinstance(risk, CustomerRisk | FiringAlert):
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
