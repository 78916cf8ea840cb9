"""What the publisher relies on inside its client, which promises none of it: a later version must not lose it unnoticed."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import NotLeaderForPartitionError

from stream_app.sinks.publisher import let_no_batch_expire

PLACE = TopicPartition("topic", 0)
EXPIRED_MS = 1


@pytest.mark.parametrize("mended", [True, False])
async def test_a_batch_of_an_idempotent_producer_waits_for_a_leader(mended: bool) -> None:
    """The accumulator of a producer whose cluster has no leader for the partition, long after the batch's time."""
    producer = AIOKafkaProducer(enable_idempotence=True, request_timeout_ms=EXPIRED_MS)
    if mended:
        let_no_batch_expire(producer)
    producer._txn_manager.set_pid_and_epoch(1, 0)
    accumulator = producer._message_accumulator
    written = await accumulator.add_message(PLACE, b"key", b"value", 1.0)
    await asyncio.sleep(EXPIRED_MS / 100)
    accumulator.drain_by_nodes(ignore_nodes=set())
    sequence = producer._txn_manager.sequence_number(PLACE)
    if mended:
        assert not written.done()
        assert sequence == 0
    else:
        assert isinstance(written.exception(), NotLeaderForPartitionError)
        assert sequence == 1  # what is written next does not follow what the broker has
    await producer.stop()
