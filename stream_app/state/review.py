"""A look at customers at rest: silence sends no event, so those who fall silent are found as time passes. Pure.

Stands beside the shard, which decides the stages of those whose turn it is, and hands them to whoever assesses customers,
with those that events have touched. A round goes through the slices of the shelf, a bounded number of customers at a
flush; one begins when a day of event time is over, and one when the shard is taken up, as nobody knows how far the last
owner came. So the cost per customer is that of one look a day, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from stream_app.state.slices import SLICES, Slices

AT_ONCE = 500
"""Customers that are looked at in a flush, at most."""
_NO_DAY = -1


class Review:
    """Whose turn it is, round after round."""

    def __init__(self, slices: Slices, kind: str) -> None:
        """Rounds over the objects of a kind."""
        self._slices = slices
        self._kind = kind
        self._day = _NO_DAY
        """The day with whose end the last round began."""
        self._names: Iterator[str] = iter(())
        self._next: str | None = None

    def is_due(self, last_day_over: int) -> bool:
        """Whether it is anyone's turn."""
        return self._next is not None or last_day_over > self._day

    def take(self, last_day_over: int) -> list[str]:
        """The names whose turn it is, if any are. A day that ends amid a round is the next round's."""
        if self._next is None:
            if not self.is_due(last_day_over):
                return []
            self._day, self._names = last_day_over, self._all_names()
            self._next = next(self._names, None)
        names: list[str] = []
        while self._next is not None and len(names) < AT_ONCE:
            names.append(self._next)
            self._next = next(self._names, None)
        return names

    def _all_names(self) -> Iterator[str]:
        skip = len(self._kind)
        for index in range(SLICES):
            keys = [key for key, _ in self._slices.entries(index) if key.startswith(self._kind)]
            yield from (key[skip:] for key in keys)
