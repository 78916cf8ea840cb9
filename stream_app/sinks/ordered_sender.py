"""Sends records to the input topics fast, acknowledged, and in an order that event time can rely on.

Used by ``stream-app send`` and ``stream-app deadletters replay``; stands before the flow, at the
producers' end. Records are packed into our own batches per partition, which is what makes it fast.

**Order.** aiokafka has at most one request per partition under way and repeats a failed one before
the next, so a customer's events stay in order. Idempotence is not asked for: the embedded broker
has none, and a batch that is repeated after a lost answer is counted once, for its event ids.

**Event time.** A worker does not wait for a partition that was silent for ``idle_timeout``: a shard's
time then goes on with what the others bring. If a year of events is sent in a few seconds and the
first record of a quiet partition is still on its way, or still in a batch here, while later lines
are acknowledged already, time has passed it by: it is late and not counted. So a partition that
was quiet is *announced*: everything before is acknowledged, then the record is sent by itself and
acknowledged, and only then the next line is taken. Busy partitions, which the worker waits for, pay
nothing. For the same reason nothing is sent on while a batch has been unacknowledged for that long.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream_app.clock import monotonic_seconds, now_ms
from stream_app.failure import Failure, Unreachable
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.connections import CONNECT_SECONDS, aiokafka_options
from stream_app.sinks.partitioner import partition_of

Headers = list[tuple[str, bytes]]
_NO_HEADERS: Headers = []

BATCH_BYTES = 64 * 1024
LINGER_SECONDS = 0.05
QUIET_SECONDS = 2.0
GIVE_UP_SECONDS = 12.0
CLOSE_SECONDS = 3.0
_NEVER = float("-inf")


@dataclass(slots=True)
class _Partition:
    """One partition: its open batch, and when a record was last added to it."""

    topic: str
    number: int
    batch: Any = None
    opened_at: float = _NEVER
    written_at: float = _NEVER


class OrderedSender:
    """A producer for the input topics. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, compress: bool = False) -> None:
        """``compress`` takes gzip, which every broker and client has, at half the speed or less."""
        self._settings = settings
        self._compress = compress
        self._quiet_seconds = min(QUIET_SECONDS, settings.idle_timeout / 4000)
        self._partitions: dict[str, list[_Partition]] = {}
        self._under_way: dict[asyncio.Future[Any], tuple[int, float]] = {}
        self._problem: BaseException | None = None
        self.acknowledged = 0

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **aiokafka_options(self._settings),
            acks="all",
            compression_type="gzip" if self._compress else None,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(GIVE_UP_SECONDS * 1000),
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._producer.start()
        except (KafkaError, OSError, TimeoutError) as problem:
            await self._close()
            raise Unreachable(f"{self._where()}: {problem}; `stream-app doctor` says more") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = _NO_HEADERS) -> None:
        """Take one record for a topic (without prefix). It is acknowledged by the end of the next ``flush``.

        Raises:
            Unreachable: the broker did not acknowledge what was sent before.
        """
        partitions = self._partitions.get(topic) or await self._find_partitions(topic)
        partition = partitions[partition_of(key, len(partitions))]
        now = monotonic_seconds()
        if now - partition.written_at > self._quiet_seconds:
            await self.flush()
            await self._add(partition, key, value, headers, now)
            await self.flush()
        else:
            await self._add(partition, key, value, headers, now)
        partition.written_at = monotonic_seconds()

    async def breathe(self) -> None:
        """Send batches that have waited long enough; to be called every few milliseconds between records.

        Raises:
            Unreachable: the broker did not acknowledge what was sent before.
        """
        now = monotonic_seconds()
        for partitions in self._partitions.values():
            for partition in partitions:
                if partition.batch is not None and now - partition.opened_at >= LINGER_SECONDS:
                    await self._submit(partition)
        oldest = min((sent_at for _, sent_at in self._under_way.values()), default=now)
        if now - oldest > self._quiet_seconds:
            await self.flush()
        await asyncio.sleep(0)
        self._raise_problem()

    async def flush(self) -> None:
        """Return when everything taken so far is acknowledged.

        Raises:
            Unreachable: the broker did not acknowledge it.
        """
        for partitions in self._partitions.values():
            for partition in partitions:
                if partition.batch is not None:
                    await self._submit(partition)
        if self._under_way:
            await asyncio.wait(list(self._under_way))
            await asyncio.sleep(0)  # lets the callbacks run
        self._raise_problem()

    async def _add(
        self, partition: _Partition, key: bytes, value: bytes, headers: Headers, now: float
    ) -> None:
        if partition.batch is None:
            self._open(partition, now)
        if partition.batch.append(timestamp=now_ms(), key=key, value=value, headers=headers) is None:
            await self._submit(partition)
            self._open(partition, now)
            # A batch takes its first record whatever its size.
            partition.batch.append(timestamp=now_ms(), key=key, value=value, headers=headers)

    def _open(self, partition: _Partition, now: float) -> None:
        partition.batch = self._producer.create_batch()
        partition.opened_at = now

    async def _submit(self, partition: _Partition) -> None:
        batch, partition.batch = partition.batch, None
        self._raise_problem()
        try:
            answer = await self._producer.send_batch(batch, partition.topic, partition=partition.number)
        except KafkaError as problem:
            self._problem = problem
            raise self._failure(problem) from None
        self._under_way[answer] = (batch.record_count(), partition.opened_at)
        answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        count, _ = self._under_way.pop(answer)
        problem = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if problem is None:
            self.acknowledged += count
        else:
            self._problem = self._problem or problem

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._failure(self._problem)

    def _failure(self, problem: BaseException) -> Failure:
        words = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        if "TooLarge" in words:
            return Failure(
                f"{self._where()} takes no record as large as one of these ({words}); leave it out, "
                "or raise the topic's max.message.bytes"
            )
        return Unreachable(
            f"{self._where()} no longer acknowledges what is sent ({words}); start it or mend the network, "
            "then send again: an event that is counted already is not counted twice"
        )

    async def _find_partitions(self, topic: str) -> list[_Partition]:
        name = self._settings.topic(topic)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                numbers = await self._producer.partitions_for(name)
        except (KafkaError, TimeoutError):
            raise Unreachable(f"{name}: no such topic; run `stream-app topics create`") from None
        self._partitions[topic] = [_Partition(name, number) for number in sorted(numbers)]
        return self._partitions[topic]

    async def _close(self) -> None:
        # The client ends by waiting for what is under way; where nobody answers, not for ever.
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._producer.stop()
        except (KafkaError, TimeoutError, OSError):
            pass

    def _where(self) -> str:
        return f"Kafka at {self._settings.kafka} ({ENV_PREFIX}KAFKA)"
