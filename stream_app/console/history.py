"""What the numbers were, for the curves: a bounded memory of each key since the console started. Pure.

Redis holds the present only, so the console remembers. All keys share the same moments. At first they are a second
apart; when the memory is full every second one is dropped and the distance doubles, so that the curve always reaches
back to the start, until it covers about a day; from then on the oldest moments go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan

from stream_app.clock import MINUTE_MS, SECOND_MS

MOST_MOMENTS = (
    120  # even, so that those that are kept when every second one goes are as far apart as the next
)
LONGEST_SPACING_MS = 12 * MINUTE_MS


class History:
    """The past of many keys, each with the same ``width`` of values at every moment."""

    def __init__(self, width: int, most_moments: int = MOST_MOMENTS) -> None:
        self.times: list[int] = []
        """When, in milliseconds of the clock, oldest first."""
        self.spacing_ms = SECOND_MS
        self._width = width
        self._most = most_moments
        self._values: dict[str, array[float]] = {}

    def is_due(self, clock_ms: int) -> bool:
        """Whether it is time for the next moment."""
        return not self.times or clock_ms >= self.times[-1] + self.spacing_ms

    def note(self, clock_ms: int, points: Mapping[str, Sequence[float]]) -> None:
        """Remember all keys as they are now; those that are no longer there are forgotten."""
        if len(self.times) >= self._most:
            self._make_room()
        for key in self._values.keys() - points.keys():
            del self._values[key]
        for key, point in points.items():
            held = self._values.get(key)
            if held is None:
                held = self._values[key] = array("d", [nan]) * (len(self.times) * self._width)
            held.extend(point)
        self.times.append(clock_ms)

    def curve(self, key: str, column: int) -> list[float | None]:
        """One value of a key at all moments; None where the key was not there yet."""
        held = self._values.get(key)
        if held is None:
            return [None] * len(self.times)
        return [None if isnan(value) else value for value in held[column :: self._width]]

    def thin_curve(self, key: str, column: int, most: int) -> list[float | None]:
        """A curve of at most so many points, evenly spread, its newest always among them."""
        whole = self.curve(key, column)
        step = -(-len(whole) // most) or 1
        return whole[::-1][::step][::-1]

    def _make_room(self) -> None:
        if self.spacing_ms * 2 <= LONGEST_SPACING_MS:
            self.spacing_ms *= 2
            kept: Iterable[int] = range(0, len(self.times), 2)
        else:
            kept = range(1, len(self.times))
        places = list(kept)
        width = self._width
        for key, held in self._values.items():
            thinner: array[float] = array("d")
            for place in places:
                thinner.extend(held[place * width : (place + 1) * width])
            self._values[key] = thinner
        self.times = [self.times[place] for place in places]
