"""Writes records to Kafka and waits until the broker has confirmed every one.

Stands at the edge: journals, partials, dead letters, snapshots and alerts all leave through here. While
the broker is away it keeps trying and says so, rather than lose anything or stop the worker; an error
that no retry can mend ends the worker. The producer is idempotent where the broker has that, so that a record
whose confirmation was lost does not stand twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownError,
    UnsupportedVersionError,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream_app.failure import Failure
from stream_app.ingest.topic_specs import DEAD_LETTER_BYTES
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options, pauses

logger = logging.getLogger(__name__)

_IDEMPOTENT_TIMEOUT_MS = 20_000
_PLAIN_TIMEOUT_MS = 120_000  # who asks again too early writes twice: a broker that stands still may go on
_NOT_IDEMPOTENT = (
    UnknownError,  # the embedded broker
    UnsupportedVersionError,
    IncompatibleBrokerVersion,
    ClusterAuthorizationFailedError,  # Kafka before 2.8, where this needs a right of its own: IdempotentWrite
)

LARGE_BYTES = 500_000
"""Every topic takes a record of this size; a larger one it may refuse."""


class OutRecord(NamedTuple):
    """A record to be written; without a partition, Kafka's default partitioner chooses by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def size(self) -> int:
        """How large it is at most when it is sent, in bytes: its value, key, headers and what goes around them."""
        size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(self.key, self.value, list(self.headers))
        return size


class Publisher:
    """Writes all that a worker writes. A record that the broker may refuse for its size goes by a producer of its
    own: a refusal breaks the sequence of an idempotent one, which then can write nothing any more."""

    def __init__(self, settings: Settings, lease: Lease) -> None:
        self._settings = settings
        self._lease = lease
        self._producer: AIOKafkaProducer | None = None
        self._producer_of_large: AIOKafkaProducer | None = None
        self._is_idempotent = False
        self.confirmed: Counter[str] = Counter()
        """How many records the broker has confirmed so far, by topic; while it grows, writing makes progress."""

    async def start(self) -> None:
        """Connect; call from the loop that will use it."""
        self._producer_of_large = await self._started(idempotent=False)
        try:
            self._producer = await self._started(idempotent=True)
            self._is_idempotent = True
        except _NOT_IDEMPOTENT as problem:
            logger.warning(
                "the broker does not let this user write idempotently (%s): a record whose confirmation is lost, "
                "such as an alert, may be written twice; no count is wrong for it",
                type(problem).__name__,
            )
            self._producer = await self._started(idempotent=False)

    async def _started(self, idempotent: bool) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **aiokafka_options(self._settings),
            acks="all",
            enable_idempotence=idempotent,
            linger_ms=0,
            max_batch_size=1_000_000,
            max_request_size=DEAD_LETTER_BYTES,
            request_timeout_ms=_IDEMPOTENT_TIMEOUT_MS if idempotent else _PLAIN_TIMEOUT_MS,
        )
        if idempotent:
            let_no_batch_expire(producer)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def stop(self) -> None:
        """Disconnect."""
        for producer in (self._producer, self._producer_of_large):
            if producer is not None:
                await producer.stop()

    async def write(self, records: Sequence[OutRecord]) -> dict[TopicPartition, int]:
        """Write records, in any order between partitions; returns, when all are confirmed, the offset
        behind the last of them for each partition.

        Raises:
            MessageSizeTooLargeError: a record above ``LARGE_BYTES`` is larger than the topic takes, or than
                ``DEAD_LETTER_BYTES``.
            Failure: Kafka refuses a record for good, or the client cannot write any more.
        """
        ends: dict[TopicPartition, int] = {}
        waiting = list(records)
        rests = pauses()
        while waiting:
            waiting = await self._try(waiting, ends)
            if waiting:
                pause = next(rests)
                logger.warning(
                    "Kafka did not confirm %d records; trying again in %.1f s", len(waiting), pause
                )
                await asyncio.sleep(pause)
        return ends

    async def partitions_of(self, topic: str) -> set[int]:
        """The numbers of a topic's partitions."""
        if self._producer is None:
            raise RuntimeError("the publisher was not started")
        return set(await self._producer.partitions_for(topic))

    async def write_in_order(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        """Write records to one partition, each confirmed before the next; returns the offset of the last.

        Where the producer is not idempotent, a record whose confirmation was lost may stand there twice.

        Raises:
            MessageSizeTooLargeError, Failure: as ``write``.
        """
        offset = -1
        for key, value in records:
            offset = await self._write_one(OutRecord(topic, key, value, partition))
        return offset

    async def _write_one(self, record: OutRecord) -> int:
        rests = pauses()
        while True:
            try:
                metadata = await (await self._send(record))
                return int(metadata.offset)
            except KafkaError as problem:
                self._raise_if_hopeless(problem, record)
                logger.warning("Kafka did not confirm a journal record (%s); trying again", problem)
                await asyncio.sleep(next(rests))

    async def _try(self, records: list[OutRecord], ends: dict[TopicPartition, int]) -> list[OutRecord]:
        """Write once; returns what was not confirmed and may be tried again."""
        futures = []
        for position, record in enumerate(records):
            try:
                futures.append(await self._send(record))
            except KafkaError as problem:
                self._raise_if_hopeless(problem, record)
                return [*await self._unconfirmed(records[:position], futures, ends), *records[position:]]
        return await self._unconfirmed(records, futures, ends)

    async def _unconfirmed(
        self, records: list[OutRecord], futures: list[asyncio.Future[Any]], ends: dict[TopicPartition, int]
    ) -> list[OutRecord]:
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        failed = []
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._raise_if_hopeless(outcome, record)
                failed.append(record)
            else:
                place = TopicPartition(outcome.topic, outcome.partition)
                ends[place] = max(ends.get(place, 0), outcome.offset + 1)
        return failed

    async def _send(self, record: OutRecord) -> asyncio.Future[Any]:
        producer = self._producer_of_large if record.size > LARGE_BYTES else self._producer
        if producer is None:
            raise RuntimeError("the publisher was not started")
        if (
            producer._sender.sender_task.done()
        ):  # it fails every record from now on, or does not even look at them
            raise Failure("the client that writes to Kafka has stopped: this worker cannot go on; restart it")
        self._lease.renew()
        future: asyncio.Future[Any] = await producer.send(
            record.topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
        )
        future.add_done_callback(self._count)
        return future

    def _raise_if_hopeless(self, problem: BaseException, record: OutRecord) -> None:
        """Return if trying again may help.

        Raises:
            MessageSizeTooLargeError, Failure: as ``write``.
        """
        is_large = record.size > LARGE_BYTES
        if not isinstance(problem, KafkaError) or (
            is_large and isinstance(problem, MessageSizeTooLargeError)
        ):
            raise problem
        words = f"{type(problem).__name__}: {problem}"
        if isinstance(problem, TopicAuthorizationFailedError):
            raise Failure(
                f"{record.topic}: Kafka does not let this user write to it ({words}); "
                "give it the rights Describe and Write on this topic"
            ) from None
        if isinstance(problem, MessageSizeTooLargeError):
            raise Failure(
                f"{record.topic} does not take what is written to it ({words}); "
                "raise its max.message.bytes to 1048588 or more"
            ) from None
        if isinstance(problem, ProducerClosed):
            raise Failure(
                f"the client that writes to Kafka has stopped ({words}); restart this worker"
            ) from None
        # The batch is out of the idempotent producer's sequence, which nothing that follows can continue.
        refused = isinstance(problem, BrokerResponseError) and not problem.retriable
        if refused and self._is_idempotent and not is_large:
            raise Failure(
                f"{record.topic}: Kafka does not take up what was written last ({words}); restart this worker: "
                "it reads again what was not written"
            ) from None

    def _count(self, outcome: asyncio.Future[Any]) -> None:
        if not outcome.cancelled() and outcome.exception() is None:
            self.confirmed[outcome.result().topic] += 1


def let_no_batch_expire(producer: AIOKafkaProducer) -> None:
    """An idempotent producer must write every batch: the next one continues its sequence. The client knows that where
    a request fails, but not where a partition is without a leader for long."""
    producer._message_accumulator._batch_ttl = math.inf
