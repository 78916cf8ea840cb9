"""Ends: where partitions end, asked of the broker by a fetch. Stands beside the consumer in ``batches.py``.

The question is a fetch, because the embedded broker's ListOffsets names the start of the last batch. A log may end
in offsets that are no records: markers of transactions, what was aborted, and what was removed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest

from stream_app.settings import Settings

_ONE_BYTE = 1
_FETCH_WAITS_MS = (5, 50, 500)
_READ_COMMITTED = 1
_ANSWER_SECONDS = 3.0


class End(NamedTuple):
    """Where a partition ends, seen from the offset it was asked for from."""

    offset: int
    """Behind all that was written, also what an open transaction holds back (the high watermark)."""
    readable: int
    """Behind what can be read now: an open transaction holds back all from its beginning on (the last stable
    offset)."""
    is_read: bool = False
    """Whether no record lies between the offset it was asked for from and ``readable``, nor ever will."""


async def find_ends(
    consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, End]:
    """The end of each partition, as a fetch from its offset reports it.

    Kafka answers at once. The embedded broker answers when the wait is over, and not for every partition
    if it is too short for it, so the wait grows until all have answered.
    """
    ends: dict[TopicPartition, End] = {}
    for wait_ms in _FETCH_WAITS_MS:
        ends |= await _fetch_ends(consumer, {tp: o for tp, o in offsets.items() if tp not in ends}, wait_ms)
        if len(ends) == len(offsets):
            break
    return ends


async def _fetch_ends(
    consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int], wait_ms: int
) -> dict[TopicPartition, End]:
    """One fetch to every leader, over the connection for group coordination: on the other one it would
    queue behind a fetch that waits for data."""
    client = consumer._client
    by_leader: dict[int, dict[str, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp, offset in offsets.items():
        leader = client.cluster.leader_for_partition(TopicPartition(tp.topic, tp.partition))
        if leader is not None and leader >= 0:
            by_leader[leader][tp.topic].append((tp.partition, offset, _ONE_BYTE))
    requests = [
        client.send(
            leader,
            FetchRequest(wait_ms, 0, _ONE_BYTE, _READ_COMMITTED, list(topics.items()), rack_id=""),
            group=ConnectionGroup.COORDINATION,
        )
        for leader, topics in by_leader.items()
    ]
    ends: dict[TopicPartition, End] = {}
    for response in await _answers(requests):
        for topic, partitions in response.topics:
            for partition, error_code, high_watermark, last_stable_offset, *_ in partitions:
                place = TopicPartition(topic, partition)
                if error_code == 0:
                    ends[place] = End(high_watermark, last_stable_offset)
                elif error_code == OffsetOutOfRangeError.errno:
                    listed = (await consumer.end_offsets([place]))[place]
                    ends[place] = End(listed, listed)
    return ends


async def _answers(requests: Sequence[Awaitable[Any]]) -> list[Any]:
    """The answers of the leaders that give one soon: one that is gone must not hold up the partitions of the others.

    Raises:
        KafkaError, TimeoutError: none of them does; the error of one.
    """
    bounded = (asyncio.wait_for(request, _ANSWER_SECONDS) for request in requests)
    answers = await asyncio.gather(*bounded, return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if failures and len(failures) == len(answers):
        raise failures[0]
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def place_of(settings: Settings, topic: str, partition: int) -> TopicPartition:
    """A partition of a topic that is named without the prefix."""
    place: TopicPartition = TopicPartition(settings.topic(topic), partition)
    return place
