"""The alert topics as one target reads them, in a consumer group of its own. Stands at the edge, before ``backlog``.

Each target has its own place in the topics, so that one that is away holds up nobody, and Kafka itself is the queue: what
a target has not taken is not committed. Several programs share a target's partitions, and each alert is always in the
same one. A partition that is taken over is read from its beginning; see ``follow``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from stream_app.failure import Failure, Unreachable
from stream_app.ingest.topics import alert_topic
from stream_app.notifiers.backlog import Place
from stream_app.notifiers.follow import Choice, Partition, Record
from stream_app.notifiers.notice import Notice, Unreadable, notice_of
from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options

logger = logging.getLogger(__name__)

_POLL_MS = 200
_RECORDS_AT_ONCE = 500

Leaving = Callable[[], Awaitable[None]]
"""Called before partitions are given up; all that was read of them is read again by whoever gets them."""


class News(NamedTuple):
    """What came of one partition: what is to be told now, and what was told before the partition came to us."""

    place: Place
    to_tell: list[Record]
    told_before: list[Record]


def group_of(settings: Settings, target: str) -> str:
    """The consumer group of a target."""
    return f"{settings.prefix}notify.{target}"


class Feed(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Reads for one target from ``start`` to ``stop``."""

    def __init__(self, settings: Settings, target: str, choice: Choice, leaving: Leaving) -> None:
        self._group = group_of(settings, target)
        self._target = target
        self._choice = choice
        self._leaving = leaving
        self._topics = [settings.topic(alert_topic(kind)) for kind in choice.kinds]
        self._partitions: dict[TopicPartition, Partition] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._consumer = AIOKafkaConsumer(
            **aiokafka_options(settings),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=settings.session_timeout,
            heartbeat_interval_ms=settings.session_timeout // 3,
        )
        self._assignments = 0
        self.unreadable = 0

    async def start(self) -> None:
        """Join the group.

        Raises:
            Unreachable: Kafka gives no answer.
        """
        try:
            await self._consumer.start()
        except KafkaError as problem:
            raise Unreachable(
                f"Kafka cannot be reached ({_plain(problem)}); `stream-app doctor` says more"
            ) from None
        self._consumer.subscribe(self._topics, listener=self)

    async def stop(self) -> None:
        """Leave the group."""
        await self._consumer.stop()

    @property
    def has_joined(self) -> bool:
        """Whether the group has shared out its partitions; there may be none for us."""
        return self._assignments > 0

    @property
    def in_history(self) -> bool:
        """Whether partitions are still read up to where they are known."""
        assigned = self._consumer.assignment()
        return any(place not in self._partitions or self._partitions[place].in_history for place in assigned)

    def last_answer_ms(self) -> int | None:
        """When Kafka last said how far a partition reaches, by the clock; None where it has not yet."""
        known = self._consumer.assignment() & self._partitions.keys()
        times = [self._consumer.last_poll_timestamp(place) for place in known]
        return max((int(time) for time in times if time), default=None)

    async def read(self, has_room: bool) -> list[News]:
        """What is new, at the latest after a short wait; nothing is fetched where there is no room.

        Raises:
            Failure: Kafka does not let this user read, or what it has cannot be read.
        """
        try:
            await self._take_over()
            self._hold(not has_room)
            batches = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_AT_ONCE)
            news = [await self._news(place, batches.get(place, ())) for place in list(self._partitions)]
            return [one for one in news if TopicPartition(*one.place) in self._partitions]
        except IllegalStateError:  # partitions went to others meanwhile
            return []
        except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as problem:
            raise Failure(
                f"Kafka does not let this user read alerts ({_plain(problem)}); give it the rights "
                f"Describe and Read on {', '.join(self._topics)}, and Read on the group {self._group}"
            ) from None
        except KafkaError as problem:
            raise Failure(f"alerts cannot be read ({_plain(problem)}); restart this program") from None

    def done(self, place: Place, offset: int) -> None:
        """Note that a change was delivered or given up on."""
        partition = self._partitions.get(TopicPartition(*place))
        if partition is not None:
            partition.done(offset)

    async def commit(self) -> None:
        """Commit the offsets behind which nothing is left to be done; returns when Kafka has them.

        What cannot be committed, as partitions just move, may be told twice; it is committed with what follows.
        """
        offsets = {
            place: offset
            for place, partition in self._partitions.items()
            if (offset := partition.committable) is not None and offset != self._committed.get(place)
        }
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as problem:
            logger.info("%s: not committed, as partitions move (%s)", self._target, type(problem).__name__)
        except KafkaError as problem:
            logger.warning("%s: not committed, tried again later (%s)", self._target, _plain(problem))
        else:
            self._committed |= offsets

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """All partitions are given up, to be shared out anew."""
        await self._leaving()
        await self.commit()
        self._partitions.clear()
        self._committed.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """They are taken over with the next reading."""
        self._assignments += 1

    async def _take_over(self) -> None:
        """Begin to read the partitions that are new here, from their beginning."""
        new = list(self._consumer.assignment() - self._partitions.keys())
        if not new:
            return
        assignment = self._assignments
        committed = await asyncio.gather(*(self._consumer.committed(place) for place in new))
        is_at_beginning = await self._consumer.seek_to_beginning(*new)
        if not is_at_beginning or assignment != self._assignments:
            return  # partitions may have moved meanwhile: once more, with what is committed by then
        for place, offset in zip(new, committed, strict=True):
            self._partitions[place] = Partition(self._choice, offset)
            if offset is not None:
                self._committed[place] = offset

    def _hold(self, hold: bool) -> None:
        """Fetch nothing, or go on fetching; the group is kept up either way."""
        paused = self._consumer.paused()
        if hold:
            self._consumer.pause(*(self._consumer.assignment() - paused))
        elif paused:
            self._consumer.resume(*paused)

    async def _news(self, place: TopicPartition, records: Iterable[Any]) -> News:
        partition = self._partitions[place]
        to_tell: list[Record] = []
        for record in records:
            to_tell += partition.read(record.offset, record.timestamp, self._notice(record))
        end = self._consumer.highwater(place)
        if partition.in_history and end is not None:
            position = await self._consumer.position(place)
            if position >= end:
                to_tell += partition.end_of_history(position)
        return News(Place(place.topic, place.partition), to_tell, partition.take_told_before())

    def _notice(self, record: Any) -> Notice | None:
        """The notice of a record; one that is none of ours is named and passed over, as it will never be one."""
        try:
            return notice_of(record.value, record.headers)
        except Unreadable as found:
            problem = str(found)
        self.unreadable += 1
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        logger.error("%s: %s is no change of an alert, and is passed over: %s", self._target, place, problem)
        return None


def _plain(problem: KafkaError) -> str:
    return f"{type(problem).__name__}: {problem}"
