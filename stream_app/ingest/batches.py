"""Batches: a Faust consumer that hands over what was fetched as one message per partition.

One of the three modules that know Faust, at the start of the flow. Faust hands records over one at a
time; here one message stands for all records of a partition in a fetch. Changelogs are not read here (``state/tables.py``).
Commits are ours as well: Faust walks every offset of a batch, and what may be committed is decided by the
journal, not by acknowledgements; and the journal says where to read on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream_app.clock import monotonic_seconds
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.ends import End, find_ends
from stream_app.ingest.records import read_forgivingly


class Batch(NamedTuple):
    """The records of one partition that one fetch brought, in order of offsets."""

    topic: str
    partition: int
    records: list[Record]
    """As aiokafka unpacks them; they have more than a ``Record`` has."""


class BatchSchema(faust.Schema):
    """Hands a batch to the agents as it is; decoding is the shard's business."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:
        """A batch has no key of its own."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The batch itself."""
        return message.value


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in a thread of its own, with our fetch wait.

    All of it but the public methods runs in that thread, so that what was fetched and what was handed over are
    seen as of one moment.
    """

    def __post_init__(self) -> None:
        """Start without partitions; called by Faust's service."""
        super().__post_init__()
        self._handed_over: dict[TP, int] = {}
        """Up to before which offset the records of a partition are out of here, since it was last sent to where its
        journal was left; without an entry before that, when it may be anywhere."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        read_forgivingly(cast(Any, self.app).batched_topics)
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes it at 1,500 ms, which is how long the embedded broker lets new data wait.
        consumer._fetch_max_wait_ms = cast(Any, self.app).fetch_wait_ms
        # Faust would read what transactions have aborted as well, and it would be counted.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Fetch from the active partitions. aiokafka takes an empty set for all of them, and would hand out
        records that nobody is ready for."""
        if not active_partitions:
            return {}
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        for tp in records.keys() & self._handed_over.keys():
            self._handed_over[tp] = records[tp][-1].offset + 1
        return records

    async def seek_assigned(self, offsets: Mapping[TP, int]) -> None:
        """Go to these offsets; partitions that went elsewhere since are left out, any other failure is raised."""
        await self.call_thread(self._seek_assigned, self._ensure_consumer(), offsets)

    async def _seek_assigned(self, consumer: AIOKafkaConsumer, offsets: Mapping[TP, int]) -> None:
        held = {tp: offset for tp, offset in offsets.items() if tp in consumer.assignment()}
        self._handed_over |= held
        try:
            await self._seek_wait(consumer, held)
        except IllegalStateError as problem:
            # It seeks them all before it first waits, so that those still held are where they should be.
            if held.keys() <= consumer.assignment():
                raise
            self.log.warning("a partition went elsewhere during a seek: %s", problem)

    async def ends_from(self, offsets: Mapping[TP, int]) -> Mapping[TP, End]:
        """The end of each partition, asked for by a fetch from an offset up to which it was read."""
        ends: Mapping[TP, End] = await self.call_thread(self._ends_from, self._ensure_consumer(), offsets)
        return ends

    async def _ends_from(self, consumer: AIOKafkaConsumer, offsets: Mapping[TP, int]) -> Mapping[TP, End]:
        ends = await find_ends(consumer, offsets)
        return {
            tp: end._replace(is_read=self._is_read(consumer, tp, offsets[tp], end.readable))
            for tp, end in ends.items()
        }

    def _is_read(self, consumer: AIOKafkaConsumer, tp: TP, offset: int, end: int) -> bool:
        """Whether no record lies between an offset up to which a partition was read and what was its readable end:
        it has been fetched up to there, and no record behind the offset came."""
        handed_over = self._handed_over.get(tp)
        return handed_over is not None and handed_over <= offset and _fetched_to(consumer, tp) >= end


class BatchConsumer(driver.Consumer):
    """Yields batches; commits what ``committable`` says."""

    _thread: BatchConsumerThread

    def __post_init__(self) -> None:
        """Start with nothing to commit; called by Faust's service."""
        self.committable: dict[TP, int] = {}
        self.position_of: Callable[[TP], int | None] = lambda tp: None
        self.took_commit: Callable[[float], None] = lambda seconds: None

    async def perform_seek(self) -> None:
        """Go to where the journals say that each input was left.

        Faust goes to the committed offset, and stays where it is if there is none: what was fetched and
        dropped before would be lost.
        """
        await super().perform_seek()
        await self._seek_to_journals()

    async def _seek_to_journals(self) -> None:
        places = [tp for tp in self.assignment() if not self._is_changelog_tp(tp)]
        offsets = {tp: offset for tp in places if (offset := self.position_of(tp)) is not None}
        await self._thread.seek_assigned(offsets)

    async def _seek_back(self) -> None:
        """As ``perform_seek``, amid a rebalance: the committed offsets may be out of reach; Faust seeks again."""
        try:
            await super().perform_seek()
        except Exception as problem:  # noqa: BLE001 - as Faust; without an assignment it is an AssertionError
            self.log.warning("cannot seek to the committed offsets while partitions move: %r", problem)
        await self._seek_to_journals()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and tell how long that took."""
        began = monotonic_seconds()
        try:
            return bool(await super()._commit(offsets))
        finally:
            self.took_commit(monotonic_seconds() - began)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def ends_from(self, offsets: Mapping[TP, int]) -> Mapping[TP, End]:
        """The end of each partition, from offsets up to which they were read."""
        return await self._thread.ends_from(offsets)

    async def read_again(self, place: TP, offset: int) -> None:
        """Read a partition from this offset, if it is still ours."""
        await self._thread.seek_assigned({place: offset})

    @property
    def thread_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the thread that talks to Kafka."""
        return self._thread.thread_loop

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Fetch, and yield one message per partition."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if self.should_stop or not records:
            return
        if not self.flow_active:
            await self._seek_back()
            return
        for tp, batch in records.items():
            if self._is_over(generation):
                break
            if active is not None and tp not in active | self._buffered_partitions:
                continue
            if batch and not self._is_changelog_tp(tp):
                yield tp, self._to_batch(tp, batch, generation)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing is committed for a partition that went elsewhere."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self.committable.pop(tp, None)

    def _is_over(self, generation: int) -> bool:
        """Whether a rebalance has begun since this generation's records were fetched."""
        return not self.flow_active or bool(self.app.consumer_generation_id != generation)

    def _to_batch(self, tp: TP, batch: list[ConsumerRecord], generation: int) -> ConsumerMessage:
        last = batch[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            cast(Any, Batch(tp.topic, tp.partition, batch)),
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.committable if topics is None or tp in topics or tp.topic in topics)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        held = self._committed_offset
        return {tp: self.committable[tp] for tp in tps if self.committable[tp] > (held[tp] or 0)}

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps do not matter: what may be committed does not rest on acknowledgements."""


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with the batch consumer."""

    Consumer = BatchConsumer


def _fetched_to(consumer: AIOKafkaConsumer, tp: TP) -> int:
    """Up to before which offset a partition has been fetched, past what is no record as well. 0 where nothing
    was fetched, or the partition is not ours."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    state = None if assignment is None or tp not in assignment.tps else assignment.state_value(tp)
    return state.position if state is not None and state.has_valid_position else 0
