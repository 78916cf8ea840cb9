"""Stuck or not: tells a worker that is stuck from one that is idle, slow, or cannot reach its broker. Pure.

The watchdog looks at everything that has to move on, every few seconds while the broker answers, and hands it over
here with the time. What had something to do and stood where it was for too long is stuck.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

LONGEST_GAP_SECONDS = 10.0
"""Between two looks. After a longer one the broker was away, or the process stood still, and all starts anew."""


class Sight(NamedTuple):
    """One thing that has to move on. ``at`` is where it stands: any progress changes it."""

    what: str
    at: Hashable
    task: str
    """What it has to do, in words; nothing if it may stand still."""


class Patience:
    """Since when each thing stands where it is, with something to do."""

    def __init__(self, stuck_after_seconds: float) -> None:
        self._stuck_after = stuck_after_seconds
        self._since: dict[str, tuple[Hashable, float]] = {}
        self._looked_at = float("-inf")

    def look(self, sights: Iterable[Sight], now_seconds: float) -> str | None:
        """Take note of what is seen now; returns a sentence about what is stuck, or None."""
        known = self._since if now_seconds - self._looked_at <= LONGEST_GAP_SECONDS else {}
        self._looked_at = now_seconds
        self._since = {}
        stuck = None
        for what, at, task in sights:
            if not task:
                continue
            stood, since = known.get(what, (at, now_seconds))
            self._since[what] = at, since if stood == at else now_seconds
            waited = now_seconds - self._since[what][1]
            if waited >= self._stuck_after and stuck is None:
                stuck = f"{what}: no progress for {waited:.0f} s, although {task}"
        return stuck
