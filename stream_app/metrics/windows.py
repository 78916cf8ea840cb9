"""The merged numbers of one dimension key: panes, total, and every window as a running sum. Pure.

Stands in the merger. A window ends at ``as_of``, the first pane edge after the newest event that
reached the key, and covers ``as_of - width <= event time < as_of``. When the edge moves on, what falls
out of a window is taken off its running sum, so that a window costs what changed, not what it covers.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, PANE_MS, TOTAL, WINDOWS
from stream_app.metrics.cells import Cell, add

_WIDTHS = {name: width_ms // PANE_MS for name, width_ms in WINDOWS.items()}
_LONGEST = LONGEST_WINDOW_MS // PANE_MS
_LONGEST_NAME = next(name for name, width in _WIDTHS.items() if width == _LONGEST)


class MergedKey:
    """One key over all shards. Panes are numbered by their start, in pane lengths since 1970."""

    def __init__(self) -> None:
        self.newest_ms = -1
        self.total: Cell = {}
        self._edge = 0
        self._panes: dict[int, Cell] = {}
        self._running: dict[str, Cell] = {name: {} for name in _WIDTHS}

    @property
    def as_of_ms(self) -> int:
        """The edge that the windows end at, in milliseconds of event time."""
        return self._edge * PANE_MS

    def reach(self, newest_ms: int) -> None:
        """An event of this time reached the key; move the edge past it."""
        if newest_ms > self.newest_ms:
            self.newest_ms = newest_ms
            self.advance(newest_ms // PANE_MS + 1)

    def advance(self, edge: int) -> None:
        """Move the windows' edge on to a pane edge; an earlier one changes nothing."""
        if edge <= self._edge:
            return
        for name, width in _WIDTHS.items():
            for pane in self._between(self._edge - width, edge - width):
                add(self._running[name], self._panes[pane], -1)
        for pane in self._between(self._edge - _LONGEST, edge - _LONGEST):
            del self._panes[pane]
        self._edge = edge

    def change_total(self, difference: Cell) -> None:
        """Add a difference to the total."""
        add(self.total, difference)

    def change_pane(self, pane: int, difference: Cell) -> None:
        """Add a difference to a pane and to the windows that cover it."""
        age = self._edge - pane
        if not difference or age > _LONGEST:
            return
        cell = self._panes.get(pane)
        if cell is None:
            cell = self._panes[pane] = {}
        add(cell, difference)
        if age > 0:
            for name, width in _WIDTHS.items():
                if age <= width:
                    add(self._running[name], difference)

    def window(self, name: str) -> Cell:
        """The counts of a window, or of ``total``, as of the edge."""
        return self.total if name == TOTAL else self._running[name]

    def window_at(self, name: str, edge: int) -> Cell:
        """The counts of a window as of a later edge; the total does not move."""
        if name == TOTAL or edge <= self._edge:
            return self.window(name)
        cell: Cell = {}
        for pane in self._between(edge - _WIDTHS[name], edge):
            add(cell, self._panes[pane])
        return cell

    def sum_of(self, slot: int, begin: int, end: int) -> int:
        """What the panes from one edge up to before another hold in a slot."""
        return sum(self._panes[pane].get(slot, 0) for pane in self._between(begin, end))

    def newest_pane_of(self, slot: int, end: int) -> int | None:
        """The newest pane before an edge, within the longest window behind it, that holds anything in a slot."""
        if end >= self._edge and slot not in self._running[_LONGEST_NAME]:
            return None
        panes = self._panes
        for pane in range(min(end, self._edge) - 1, end - _LONGEST - 1, -1):
            if pane in panes and slot in panes[pane]:
                return pane
        return None

    def panes(self) -> Iterable[int]:
        """The panes that a window, now or later, can reach back to, where they hold anything."""
        return self._panes.keys()

    def is_empty(self) -> bool:
        """Whether no window holds anything any more."""
        return not any(self._running.values())

    def covers(self, pane: int) -> bool:
        """Whether a window, now or later, can reach back to a pane."""
        return pane >= self._edge - _LONGEST

    def _between(self, first: int, end: int) -> list[int]:
        if end - first < len(self._panes):
            return [pane for pane in range(first, end) if pane in self._panes]
        return [pane for pane in self._panes if first <= pane < end]


def difference(new: Cell, old: Cell) -> Cell:
    """What must be added to the old cell to make the new one; may be the new cell itself."""
    if not old:
        return new
    result = {slot: number - old.get(slot, 0) for slot, number in new.items() if number != old.get(slot, 0)}
    if len(old) > len(new) or not old.keys() <= new.keys():
        result |= {slot: -number for slot, number in old.items() if slot not in new}
    return result
