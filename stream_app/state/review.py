"""A look at customers at rest: silence sends no event, so those who fall silent are found as time passes. Pure.

Stands beside the shard, which hands those whose turn it is to whoever assesses customers, with those that events have
touched. A round goes through the slices of the shelf, a bounded number of customers at a flush, and the next begins a
day of event time after the last began; so the cost per customer is that of one look a day, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from stream_app.clock import DAY_MS
from stream_app.state.slices import SLICES, Slices

BETWEEN_ROUNDS_MS = DAY_MS
AT_ONCE = 500
"""Objects of the shelf that are passed at a flush."""


class Review:
    """Whose turn it is, round after round."""

    def __init__(self, slices: Slices, kind: str, begun_ms: int) -> None:
        """Rounds over the objects of a kind; the first begins a day after a time, so that a worker that starts is not
        busy with it."""
        self._slices = slices
        self._kind = kind
        self._begun_ms = begun_ms
        self._round: Iterator[list[str]] | None = None

    def is_due(self, watermark_ms: int) -> bool:
        """Whether ``take`` would give anything."""
        return self._round is not None or watermark_ms - self._begun_ms >= BETWEEN_ROUNDS_MS

    def take(self, watermark_ms: int) -> list[str]:
        """The names whose turn it is, if any are."""
        if self._round is None:
            if not self.is_due(watermark_ms):
                return []
            self._begun_ms, self._round = watermark_ms, self._names()
        names = next(self._round, None)
        if names is None:
            self._round = None
            return []
        return names

    def _names(self) -> Iterator[list[str]]:
        skip = len(self._kind)
        for index in range(SLICES):
            keys = [key for key, _ in self._slices.entries(index)]
            for start in range(0, len(keys), AT_ONCE):
                yield [key[skip:] for key in keys[start : start + AT_ONCE] if key.startswith(self._kind)]
