"""Reads the tail of partitions: what stands at or behind an offset, to the end. Stands at the edge.

Used when a partition is taken over, and when a write did not land where it was expected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options

_POLL_MS = 100


async def read_tail(
    settings: Settings, from_offsets: Mapping[TopicPartition, int]
) -> AsyncIterator[ConsumerRecord]:
    """The records that stand at or behind an offset, those of each partition in order."""
    places = list(from_offsets)
    if not places:
        return
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings),
        fetch_max_wait_ms=_POLL_MS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where retention has removed what stood at the offset
    )
    await consumer.start()
    try:
        consumer.assign(places)
        for place, offset in from_offsets.items():
            consumer.seek(place, offset)
        while not await _is_read(consumer, places):
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def _is_read(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> bool:
    """Whether every partition has been read to its high watermark, which is known after a fetch."""
    for place in places:
        end = consumer.highwater(place)
        if end is None or await consumer.position(place) < end:
            return False
    return True
