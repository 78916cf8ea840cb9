"""What rules may ask of one key: its merged numbers as of an edge. Stands between the merger and the rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, PANE_MS
from stream_app.metrics.cells import Numbers, slot_of
from stream_app.metrics.windows import MergedKey


class KeyLook:
    """A look at a key as of a pane edge, given in panes since 1970; up to ``complete_ms`` nothing can be added any more.
    Implements ``observation.Look``."""

    __slots__ = ("_complete_ms", "_edge", "_merged")

    def __init__(self, merged: MergedKey, edge: int, complete_ms: int) -> None:
        self._merged = merged
        self._edge = edge
        self._complete_ms = complete_ms

    def __call__(self, window: str, /) -> Mapping[str, float]:
        """The counts of a window that ends at the edge, or of ``total``."""
        return Numbers(self._merged.window_at(window, self._edge))

    @property
    def newest_ms(self) -> int:
        """The newest event time that reached the key."""
        return self._merged.newest_ms

    def last_ms(self, count: str) -> int | None:
        """The end of the newest pane of the longest window that has any of a count; None where none has."""
        pane = self._merged.newest_pane_of(slot_of(count), self._edge)
        return None if pane is None else (pane + 1) * PANE_MS

    def complete_ms(self) -> int:
        """Up to when all is counted: later events can only belong after it."""
        return self._complete_ms

    def held_from_ms(self) -> int:
        """From when on panes are held; of what is older only the total is known."""
        return self._merged.as_of_ms - LONGEST_WINDOW_MS

    def count_between(self, count: str, begin_ms: int, end_ms: int) -> float:
        """A count of the panes between two times, both on edges of panes, and of what is held."""
        return self._merged.sum_of(slot_of(count), begin_ms // PANE_MS, end_ms // PANE_MS)
