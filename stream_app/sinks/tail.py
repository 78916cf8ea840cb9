"""Reads the tail of partitions: what stands at or behind an offset, to the end. Stands at the edge.

Used when a partition is taken over, and when a write did not land where it was expected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError

from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options, pauses

logger = logging.getLogger(__name__)

_POLL_MS = 20


async def read_tail(
    settings: Settings, from_offsets: Mapping[TopicPartition, int]
) -> AsyncGenerator[ConsumerRecord]:
    """The records that stand at or behind an offset, those of each partition in order. Waits for a Kafka that cannot
    be reached: the partitions stay this worker's until Kafka itself says otherwise."""
    places = list(from_offsets)
    if not places:
        return
    consumer = await _connected(settings)
    try:
        consumer.assign(places)
        for place, offset in from_offsets.items():
            consumer.seek(place, offset)
        while not await _is_read(consumer, places):
            await asyncio.sleep(0)  # where much was fetched before, nothing else waits
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def stands_between(settings: Settings, place: TopicPartition, offset: int, end: int) -> bool:
    """Whether any record stands at or behind an offset and before another."""
    records = read_tail(settings, {place: offset})
    try:
        async for record in records:
            return int(record.offset) < end
    finally:
        await records.aclose()
    return False


async def _connected(settings: Settings) -> AIOKafkaConsumer:
    """A consumer that has reached Kafka. It tries again by itself once it has, but not before."""
    rests = pauses()
    while True:
        consumer = AIOKafkaConsumer(
            **aiokafka_options(settings),
            fetch_max_wait_ms=_POLL_MS,
            enable_auto_commit=False,
            isolation_level="read_committed",  # what a transaction has aborted does not count
            auto_offset_reset="earliest",  # where retention has removed what stood at the offset
        )
        try:
            await consumer.start()
        except KafkaConnectionError as problem:
            await consumer.stop()
            pause = next(rests)
            logger.warning("cannot reach Kafka (%s); trying again in %.1f s", problem, pause)
            await asyncio.sleep(pause)
        except BaseException:
            await consumer.stop()
            raise
        else:
            return consumer


async def _is_read(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> bool:
    """Whether every partition has been read to its high watermark, which is known after a fetch."""
    for place in places:
        end = consumer.highwater(place)
        if end is None or await consumer.position(place) < end:
            return False
    return True
