"""The handover: partitions are taken over and let go one after the other, never at the same time. Stands under the engine.

A worker can be given partitions and lose them again before it has taken them over. Then another one is about to take
them, or has, and that it writes to their journals is nobody's failure.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from stream_app.clock import monotonic_seconds
from stream_app.failure import Failure
from stream_app.garbage import state_is_loaded

logger = logging.getLogger(__name__)

_SETTLED_SECONDS = 60.0

Result = TypeVar("Result")


class Lost(Failure):
    """Another worker has the partition."""


class Handover:
    """The one handover of a worker."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.lost = asyncio.Event()
        """Set once the partitions that are assigned now are lost; those assigned next have another."""
        self._taken_at = -math.inf

    async def take(self, lost: asyncio.Event, take_all: Callable[[], Awaitable[None]]) -> bool:
        """Take partitions over. Tells whether that is done: not where they were lost meanwhile.

        Args:
            lost: what was ``lost`` when they were assigned: by the time it is their turn they may be lost already.
            take_all: takes them.

        Raises:
            Lost: another worker has them, though this one has not heard that it lost them.
            Failure: they could not be taken.
        """
        async with self._lock:
            if lost.is_set():
                return False
            try:
                await take_all()
            except Lost:
                if not lost.is_set():
                    raise
                logger.info("partitions were lost while they were being taken over")
                return False
            self._taken_at = monotonic_seconds()
            state_is_loaded()
        return True

    @property
    def is_recent(self) -> bool:
        """Whether partitions were taken so lately that Faust may still hand over what it fetched before."""
        return monotonic_seconds() - self._taken_at < _SETTLED_SECONDS

    @asynccontextmanager
    async def letting_go(self) -> AsyncIterator[None]:
        """All partitions are lost: who is taking them hears of it, and is waited for."""
        self.lost.set()
        self.lost = asyncio.Event()
        async with self._lock:
            yield


async def all_of(works: Iterable[Awaitable[Result]]) -> list[Result]:
    """The results of all. Where one fails that is raised, but once the others have ended: nothing goes on by itself."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[Result], results)
