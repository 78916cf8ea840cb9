"""Which keys of a dimension stand in Redis, and which have changed since the last look.

Stands under ``reading``. An index in Redis holds a dimension's keys by the time of their last change, so that one
question tells what is new. Now and then, and where the number of keys is not as expected (Redis was emptied, keys have
expired), everything is read anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream_app.clock import MINUTE_MS, SECOND_MS

ALL_EVERY_MS = MINUTE_MS
_CLOCKS_APART_MS = 5 * SECOND_MS  # by so much the clocks of two workers may differ


class Index:
    """One dimension's keys; of those that changed last, ``most`` at most."""

    def __init__(self, name: str, most: int | None = None) -> None:
        self.name = name
        self._most = most
        self._newest = 0.0
        self._all_at_ms = 0
        self.known: set[str] = set()

    def ask(self, pipeline: Any, clock_ms: int) -> None:
        """Ask for what has changed, or for everything where that is due."""
        self._is_whole = clock_ms - self._all_at_ms >= ALL_EVERY_MS
        since = "-inf" if self._is_whole else self._newest - _CLOCKS_APART_MS
        span = {} if self._most is None else {"start": 0, "num": self._most}
        pipeline.zcard(self.name)
        pipeline.zrevrangebyscore(self.name, "+inf", since, withscores=True, **span)

    def take(
        self, size: int, found: Sequence[tuple[str, float]], clock_ms: int
    ) -> tuple[list[str], set[str]]:
        """The keys to read, and those that are gone."""
        names = [name for name, _ in found]
        gone: set[str] = set()
        if found:
            self._newest = max(self._newest, found[0][1])
        if self._is_whole:
            self._all_at_ms = clock_ms
            gone = self.known - set(names)
            self.known = set(names)
        else:
            self.known.update(names)
        expected = size if self._most is None else min(size, self._most)
        if len(self.known) != expected:
            self._all_at_ms = 0  # keys have gone: at the next look, all are read
            if not size:
                self._newest = 0.0
        return names, gone
