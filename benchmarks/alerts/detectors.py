"""The spike rule and what it is held against: each gives every reading of a series a score, upwards only.

All see the same whole numbers, and nothing of a reading's future. A reading at or above a detector's level is what it
would alert on; a score of 0 or less never is.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.alerts.corpus import Series
from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from stream_app.alerts.spikes import AGREES, observe
from stream_app.clock import DAY_MS

FALSE_A_DAY = 0.001
"""The level of the shipped spike rules: the probability of a false alert in a day without a spike."""
PAST_MS = DAY_MS
"""What the two simple rules compare with."""
_LEAST_SPREAD = 1.0  # a spread below one event would make a spike of the first
_LEAST_PROBABILITY = 1e-300
_NORMAL_MAD = 1.4826  # a normal distribution's standard deviation, in median absolute deviations


@dataclass(frozen=True, slots=True)
class Detector:
    """A way to tell spikes, and the level at which it does so as it is shipped or commonly used."""

    name: str
    title: str
    level: float
    score: Callable[[Series], list[float]]


def spike_scores(series: Series) -> list[float]:
    """The negative decimal logarithm of the probability of a day with such a count. A reading in an interval that has
    one already is not looked at: a rule looks once an interval."""
    settings = SpikeSettings(series.interval_ms)
    history = SpikeHistory()
    scores = []
    run: list[int] = []
    for time_ms, count in zip(series.times_ms, series.counts, strict=True):
        start_ms = time_ms // series.interval_ms * series.interval_ms
        if start_ms < history.next_ms:
            scores.append(0.0)
            continue
        run = [*run, count][-settings.long_intervals :] if start_ms == history.next_ms else [count]
        seen = observe(settings, history, start_ms, run)
        surprise = -math.log10(max(seen.probability, _LEAST_PROBABILITY))
        scores.append(surprise if seen.short_tail <= AGREES else 0.0)
    return scores


def sigma_scores(series: Series) -> list[float]:
    """How many standard deviations a reading lies above the mean of the past."""
    past = _Past(series)
    scores = []
    for count in series.counts:
        scores.append((count - past.mean()) / max(past.deviation(), _LEAST_SPREAD) if past.is_full() else 0.0)
        past.add(count)
    return scores


def median_scores(series: Series) -> list[float]:
    """How many standard deviations a reading lies above the median of the past, as told from the median absolute
    deviation."""
    past = _Past(series)
    scores = []
    for count in series.counts:
        spread = _NORMAL_MAD * past.absolute_deviation() if past.is_full() else 0.0
        scores.append((count - past.median()) / max(spread, _LEAST_SPREAD) if past.is_full() else 0.0)
        past.add(count)
    return scores


DETECTORS = (
    Detector("spike", "spike rule", -math.log10(FALSE_A_DAY), spike_scores),
    Detector("sigma", "three sigma", 3.0, sigma_scores),
    Detector("median", "median and MAD", 3.5, median_scores),
)


class _Past:
    """The readings of the last day, in order of time and of size, with their sums."""

    def __init__(self, series: Series) -> None:
        self._length = PAST_MS // series.interval_ms
        self._recent: deque[int] = deque()
        self._ordered: list[int] = []
        self._sum = self._squares = 0

    def add(self, count: int) -> None:
        """Add a reading, and forget the one that is too old for it."""
        if len(self._recent) == self._length:
            oldest = self._recent.popleft()
            del self._ordered[bisect_left(self._ordered, oldest)]
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._recent.append(count)
        insort(self._ordered, count)
        self._sum += count
        self._squares += count * count

    def is_full(self) -> bool:
        """Whether as many readings are there as a day has."""
        return len(self._recent) == self._length

    def mean(self) -> float:
        """Their mean."""
        return self._sum / len(self._recent)

    def deviation(self) -> float:
        """Their standard deviation."""
        return math.sqrt(len(self._recent) * self._squares - self._sum * self._sum) / len(self._recent)

    def median(self) -> float:
        """Their median."""
        middle = len(self._ordered) // 2
        return (self._ordered[middle] + self._ordered[~middle]) / 2

    def absolute_deviation(self) -> float:
        """The smallest distance from the median, to half an event, within which half of them lie."""
        median, ordered = self.median(), self._ordered
        low, high = 0, 2 * (ordered[-1] - ordered[0])
        while low < high:
            middle = (low + high) // 2
            reach = middle / 2
            within = bisect_right(ordered, median + reach) - bisect_left(ordered, median - reach)
            if 2 * within >= len(ordered):
                high = middle
            else:
                low = middle + 1
        return low / 2
