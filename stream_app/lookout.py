"""The lookout: where the input topics end, before event time moves on past silent ones.

Stands beside the engine. A shard's watermark may pass a silent topic only if nothing waits in it unread, and only the
broker knows. What has no record at its end is passed over; a topic that has become shorter is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream_app.clock import monotonic_seconds, now_ms
from stream_app.ingest.ends import End, place_of
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.settings import Settings
from stream_app.sinks.topic_watch import created_again
from stream_app.stations.shard import ShardStation

logger = logging.getLogger(__name__)

EndsFrom = Callable[[Mapping[TopicPartition, int]], Awaitable[Mapping[TopicPartition, End]]]
"""Asks the broker for the end of partitions, given the offsets up to which they were read."""

_SHORTENED_SECONDS = 10.0
_PAUSE_SECONDS = 1.0


class Lookout:
    """Looks at the ends of what the shards of one worker read."""

    ends_from: EndsFrom | None = None

    def __init__(self, settings: Settings, shards: Callable[[], Mapping[int, ShardStation]]) -> None:
        self._settings = settings
        self._shards = shards
        self._looking: asyncio.Task[None] | None = None
        self._next_look: asyncio.Task[None] | None = None
        self._shortened_since: dict[TopicPartition, float] = {}

    async def look_soon(self) -> None:
        """Look at the ends of all topics, at this time or later; those who ask meanwhile share one look."""
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after(self._looking))
        await asyncio.shield(self._next_look)

    async def _look_after(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._looking, self._next_look = self._next_look, None
        await self.look()

    async def look(self) -> None:
        """Look at the ends of all topics now.

        Raises:
            Failure: a topic is shorter than what was counted of it.
        """
        clock_ms = now_ms()
        stations = dict(self._shards())
        offsets = {
            place_of(self._settings, topic, number): progress.next_offset
            for number, station in stations.items()
            for topic, progress in station.shard.watermark.partitions.items()
        }
        ends = await self._ends_of(offsets)
        self._refuse_shortened(offsets, ends)
        for number, station in stations.items():
            places = {topic: place_of(self._settings, topic, number) for topic in INPUT_TOPICS}
            known = {topic: ends[place] for topic, place in places.items() if place in ends}
            for topic, end in known.items():
                if end.is_read:
                    station.shard.skipped += station.shard.watermark.pass_over(topic, end.readable)
            station.shard.watermark.confirm({topic: end.offset for topic, end in known.items()}, clock_ms)

    async def _ends_of(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, End]:
        """The ends of the partitions that the broker answers for; the others are waited for."""
        if self.ends_from is None:
            raise RuntimeError("the engine was not started")
        try:
            return await self.ends_from(offsets)
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
            if monotonic_seconds() - since > _SHORTENED_SECONDS:
                sign = f"partition {place.partition} ends at offset {ends[place].offset}"
                raise created_again(
                    place.topic, f"{sign}, but {offsets[place]} of its records have been counted"
                )
