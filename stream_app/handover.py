"""The handover: partitions are taken over and let go one after the other, never at the same time. Stands under the engine.

A worker can be given partitions and lose them again before it has taken them over. Then another one is about to take
them, or has, and that it writes to their journals is nobody's failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from stream_app.failure import Failure

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Handover:
    """The one handover of a worker."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._lost = asyncio.Event()

    async def take(
        self, prepare: Callable[[], Awaitable[None]], take_all: Callable[[asyncio.Event], Awaitable[None]]
    ) -> bool:
        """Prepare, then take partitions over. Tells whether that is done: not where they were lost meanwhile.

        Args:
            prepare: what needs no partition to stay where it is.
            take_all: takes them; it is given what is set once they are lost.

        Raises:
            Failure: they could not be taken, and were not lost.
        """
        lost = self._lost
        await prepare()
        async with self._lock:
            if lost.is_set():
                return False
            try:
                await take_all(lost)
            except Failure as problem:
                if not lost.is_set():
                    raise
                logger.info("lost while they were being taken over: %s", problem)
                return False
        return True

    @asynccontextmanager
    async def letting_go(self) -> AsyncIterator[None]:
        """All partitions are lost: who is taking them hears of it, and is waited for."""
        self._lost.set()
        self._lost = asyncio.Event()
        async with self._lock:
            yield


async def all_of(works: Iterable[Awaitable[Result]]) -> list[Result]:
    """The results of all. Where one fails that is raised, but once the others have ended: nothing goes on by itself."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[Result], results)
