"""One reader for all viewers: looks at Redis, and tells every viewer what has changed.

Stands between the world and the server. The numbers are looked at once a second. The alerts are apart from them, so that
one that fires is seen at once however many numbers change: they are read when Redis tells of a change. What has changed is
encoded once, whoever listens. It has a number, so that a viewer whose connection broke goes on where it was; who was away for
too long is told to begin anew. A viewer that does not keep up is let go, and comes back by itself.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from redis.exceptions import RedisError

from stream_app.alerts.rules import Rules
from stream_app.clock import now_ms, to_rfc3339
from stream_app.console.numbers import customer_view, key_view, segment_view
from stream_app.console.reading import Reader
from stream_app.console.world import World
from stream_app.failure import Failure
from stream_app.metrics.snapshots import split_key
from stream_app.settings import ENV_PREFIX, Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ALERTS_SECONDS = 0.5
"""So often at most alerts are read, however fast they change."""
_SHORTEST_PAUSE_SECONDS = 0.05
_FIRST_LOOK_SECONDS = 3.0  # for so long a viewer waits for a console that has just begun
CHANGES_KEPT = 60
_WAITING_FOR_ONE = 20  # changes that a slow viewer may be behind
_GZIP_LEVEL = 4

Found = TypeVar("Found")
Queue = asyncio.Queue[bytes | None]
"""What a viewer is still to be sent; None: it is let go."""


class Hub:
    """The world, and those who look at it."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._reader = Reader(settings, rules)
        self._world = World()
        self._epoch = uuid4().hex[:8]
        self._number = 0
        self._changes: deque[tuple[int, bytes]] = deque(maxlen=CHANGES_KEPT)
        self._viewers: set[Queue] = set()
        self._whole: tuple[int, bytes] | None = None
        self._looked_at_ms: int | None = None
        self._problems: dict[str, str] = {}
        self._unseen = {"numbers", "alerts"}
        self._has_looked = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why Redis cannot be read; empty if it can."""
        return next(iter(self._problems.values()), "")

    @property
    def viewers(self) -> int:
        """How many look on now."""
        return len(self._viewers)

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        async with self._reader, asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again(self._look_at_numbers, LOOK_SECONDS))
            tasks.create_task(_again_and_again(self._look_at_alerts, ALERTS_SECONDS))

    async def whole(self) -> bytes:
        """Everything as JSON, compressed with gzip; made once for all who ask within a look. A console that has just begun
        looks first, so that nobody takes what it does not know yet for calm."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await self._has_looked.wait()
        if self._whole is None or self._whole[0] != self._number:
            content = {"id": self._id(self._number), **self._moment(), **self._world.whole()}
            self._whole = self._number, gzip.compress(orjson.dumps(content), _GZIP_LEVEL)
        return self._whole[1]

    async def key(self, full_key: str) -> dict[str, Any] | None:
        """All windows of a key such as ``campaign:spring-sale``, and its curves; None if there is no such key.

        Raises:
            Failure: Redis cannot be read.
        """
        dimension, name = split_key(full_key)
        fields = await _asked_for(self._reader.key(dimension, name))
        if not fields:
            return None
        return key_view(dimension, fields) | self._world.curves(full_key)

    async def worst_of(self, segment: str) -> list[dict[str, Any]]:
        """The customers of a segment who are at the greatest risk, the worst first; of all, where it is empty.

        Raises:
            Failure: Redis cannot be read.
        """
        return [customer_view(held) for held in await _asked_for(self._reader.worst_of(segment))]

    async def campaign_segments(self, campaign: str) -> dict[str, Any]:
        """A campaign in each of its segments, and whether campaigns are counted by segment at all.

        Raises:
            Failure: Redis cannot be read.
        """
        found = await _asked_for(self._reader.campaign_segments(campaign))
        segments = {name: segment_view(fields) for name, fields in found.segments.items()}
        return {"is_counted": found.is_counted, "segments": segments, "left_out": found.left_out}

    @contextmanager
    def viewer(self, last_id: str) -> Iterator[Queue]:
        """Somebody looks on from now; ``last_id`` is the last that they have."""
        queue: Queue = asyncio.Queue(CHANGES_KEPT + _WAITING_FOR_ONE)
        for message in self._since(last_id):
            queue.put_nowait(message)
        self._viewers.add(queue)
        try:
            yield queue
        finally:
            self._viewers.discard(queue)

    def _since(self, last_id: str) -> list[bytes]:
        """What somebody has missed; that they must begin anew, where that is not known any more."""
        epoch, _, number = last_id.partition("-")
        oldest = self._changes[0][0] if self._changes else self._number + 1
        if epoch == self._epoch and number.isdigit() and oldest - 1 <= int(number) <= self._number:
            return [message for held, message in self._changes if held > int(number)]
        return [b"event: anew\ndata: {}\n\n"]

    async def _look_at_numbers(self) -> None:
        """Tells also when there is nothing new, as whoever hears nothing takes what they see for old."""
        clock_ms = now_ms()
        change: dict[str, Any] = {}
        seen = await self._noting_problems("numbers", self._reader.look(clock_ms))
        if seen is not None:
            self._looked_at_ms = clock_ms
            change = self._world.take(seen, clock_ms)
        self._tell(change)
        self._note_look("numbers")

    async def _look_at_alerts(self) -> None:
        seen = await self._noting_problems("alerts", self._reader.alerts())
        if seen is not None and (change := self._world.take_alerts(seen, now_ms())):
            self._tell(change)
        self._note_look("alerts")

    def _note_look(self, part: str) -> None:
        self._unseen.discard(part)
        if not self._unseen:
            self._has_looked.set()

    async def _noting_problems(self, part: str, reading: Awaitable[Found]) -> Found | None:
        """What is read; None where Redis cannot be read, of which the log and every viewer are told."""
        try:
            found = await reading
        except (RedisError, OSError, TimeoutError) as problem:
            if not self._problems:
                logger.warning("Redis cannot be read (%s); looking again, see %sREDIS", problem, ENV_PREFIX)
            self._problems.setdefault(part, f"Redis cannot be read since {to_rfc3339(now_ms())}")
            return None
        if self._problems.pop(part, None) and not self._problems:
            logger.info("Redis can be read again")
        return found

    def _tell(self, change: dict[str, Any]) -> None:
        self._number += 1
        name = self._id(self._number)
        data = orjson.dumps({**self._moment(), **change})
        message = b"id: " + name.encode() + b"\nevent: change\ndata: " + data + b"\n\n"
        self._changes.append((self._number, message))
        for queue in list(self._viewers):
            if queue.qsize() >= _WAITING_FOR_ONE + CHANGES_KEPT - 1:
                self._viewers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)

    def _moment(self) -> dict[str, Any]:
        return {"at": now_ms(), "looked_at": self._looked_at_ms, "problem": self.problem}

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"


async def _again_and_again(look: Callable[[], Awaitable[None]], every_seconds: float) -> None:
    """Look so often, until cancelled; after a look that took longer the next begins soon."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    # The client can turn a cancellation that comes amid a command into a time-out, so the task is asked.
    while task is None or not task.cancelling():
        began = loop.time()
        await look()
        await asyncio.sleep(max(_SHORTEST_PAUSE_SECONDS, every_seconds - (loop.time() - began)))


async def _asked_for(reading: Awaitable[Found]) -> Found:
    """What a viewer asks for beside what all are told.

    Raises:
        Failure: Redis cannot be read.
    """
    try:
        return await reading
    except (RedisError, OSError, TimeoutError) as problem:
        raise Failure(f"Redis cannot be read ({problem})") from None
