"""What is usual for the counts of one key: how many an hour should bring, and how far counts stray. Pure.

Stands before ``spikes``, which holds a count against it. Everything in it is robust, so that a spike teaches it
hardly anything, and bounded: four weeks of hourly totals, two weeks of daily extremes and a few numbers.

**Expected.** The same hour of the week, of four weeks; where fewer than three are known the same hour of the day, of
seven days; where fewer than three are known the last 24 hours that are. Of several hours the mean of the middle half
is taken. Where the last day held more than its own such hours, the first two are scaled by as much, so that a key that
has grown is not held against its youth: a level that lasts for half a day begins to be the usual one. Where it held
less they are not: after a holiday, or an outage, the first ordinary day would be one long spike.

**Spread.** The negative binomial's dispersion, for each window its own, such that half of all counts lie within 0.674
standard deviations of what was expected, as they do in a normal distribution. Its logarithm moves by a small step up
or down with every count, so that no count weighs more than another, however far out it lies. It begins with the
spread of the first day's hours, so that the mornings of a new key are none of its spikes.

**Extremes.** The largest surprise of each of the last 14 days; ``spikes`` says what for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

from stream_app.alerts.tails import LEAST_DISPERSION
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS

UNKNOWN: Final = -1
"""The total of an hour of which no interval was seen."""
SHORT: Final = 0
LONG: Final = 1
"""The windows, by their place in ``SpikeHistory.spreads``."""

_DAY, _WEEK = 24, 168  # in hours
_SEASONS = ((_WEEK, 4), (_DAY, 7))  # after so many hours things are alike; how often to look back
_LEAST_SEASONS = 3
_HOURS_KEPT = 4 * _WEEK + _DAY  # so that the last day can be compared with its own four weeks
_DAYS_KEPT = 14
_HOURS_EXPECTED = 4  # what the long window can reach into
_LEAST_COUNT = 0.5  # a day: what is expected where nothing has ever been seen
_MEDIAN_SQUARE = 0.455  # the median of the square of a standard normal variable
_LEAST_STEP = 0.01  # of a logarithm: an hour's spike moves the dispersion by an eighth
_MOST_STEP = 0.1
_STEPS_SHRINK = 15  # by the number of looks: at intervals of five minutes steps are 0.05 after a day, the least after five
_SPREAD_RANGE = (math.log(LEAST_DISPERSION), math.log(100))


@dataclass(frozen=True, slots=True)
class SpikeSettings:
    """How counts are cut into windows, and what is too little to judge.

    ``interval_ms`` is the short window and divides an hour. The long window has ``long_intervals`` of them, three
    hours at most. With fewer than ``minimum_count`` events in the long window nothing is a spike.

    Raises:
        ValueError: a window that cannot be; the message says what can.
    """

    interval_ms: int = 5 * MINUTE_MS
    long_intervals: int = 3
    minimum_count: int = 10

    def __post_init__(self) -> None:
        if self.interval_ms < 1 or HOUR_MS % self.interval_ms:
            raise ValueError(f"an interval of {self.interval_ms} ms does not divide an hour; 300000 does")
        if not 1 <= self.long_intervals <= 3 * self.intervals_an_hour:
            raise ValueError(
                f"a long window of {self.long_intervals} intervals is not within 1 to 3 hours of them"
            )

    @property
    def intervals_an_hour(self) -> int:
        """How many intervals an hour has."""
        return HOUR_MS // self.interval_ms

    @property
    def intervals_a_day(self) -> int:
        """How many intervals a day has: how often it is looked."""
        return DAY_MS // self.interval_ms


class SpikeHistory(msgspec.Struct, array_like=True):
    """What has been learned of the counts of one key. It is changed in place and holds a few kilobytes.

    ``next_ms`` is the end of the last interval learned, 0 before the first. ``hour`` (hours since 1970) is being filled
    with the ``total`` of so many ``intervals``; ``hours`` are the totals of those before it, oldest first.
    ``expected`` are the totals that were expected of the last few hours and of the present one, which comes last.
    ``spreads`` are the natural logarithms of the dispersions, none before there is something to expect. ``extremes`` are the largest surprises of past days, in
    hundredths; ``extreme`` is that of the present one so far, of so many intervals ``judged``.
    """

    next_ms: int = 0
    hour: int = -1
    total: int = 0
    intervals: int = 0
    hours: list[int] = []
    expected: list[float | None] = []
    spreads: list[float] = []
    extremes: list[int] = []
    extreme: int = 0
    judged: int = 0


def enter(settings: SpikeSettings, history: SpikeHistory, start_ms: int, between: int = UNKNOWN) -> None:
    """Close the hours and days before an interval, and expect something of its hour. Hours of which nothing was
    learned get the total ``between``: they are unknown, or had no event."""
    hour = start_ms // HOUR_MS
    passed = hour - history.hour
    if passed == 0:
        return
    if history.next_ms:
        history.hours.append(_close_hour(settings, history))
        history.hours += [between] * min(passed - 1, _HOURS_KEPT)
        del history.hours[:-_HOURS_KEPT]
        if hour // _DAY != history.hour // _DAY:
            _close_day(settings, history)
    history.hour = hour
    kept = history.expected if passed == 1 else []
    expected = _expected_total(history.hours)
    history.expected = [*kept, expected][-_HOURS_EXPECTED:]
    if expected is not None and not history.spreads:
        history.spreads = [_first_spread(history.hours)] * 2


def learn(settings: SpikeSettings, history: SpikeHistory, start_ms: int, count: int) -> None:
    """Add the count of the interval that starts here, whose hour has been entered."""
    history.total += count
    history.intervals += 1
    history.next_ms = start_ms + settings.interval_ms


def skip_silence(settings: SpikeSettings, history: SpikeHistory, start_ms: int) -> None:
    """Learn totals only, of the intervals before this one that had no event: quick, however many there are."""
    end_ms = min(start_ms, (history.hour + 1) * HOUR_MS)
    history.intervals += (end_ms - history.next_ms) // settings.interval_ms
    if start_ms // HOUR_MS != history.hour:
        enter(settings, history, start_ms, between=0)
        history.intervals += start_ms % HOUR_MS // settings.interval_ms
    history.next_ms = start_ms


def dispersion(history: SpikeHistory, window: int) -> float:
    """The negative binomial's dispersion in a window."""
    return math.exp(history.spreads[window])


def learn_spread(
    settings: SpikeSettings, history: SpikeHistory, window: int, count: float, expected: float
) -> None:
    """Move the dispersion of a window a step towards what makes this count neither near nor far."""
    variance = expected + dispersion(history, window) * expected * expected
    looks = max(1, len(history.hours)) * settings.intervals_an_hour
    size = min(max(_LEAST_STEP, _STEPS_SHRINK / looks), _MOST_STEP)
    step = size if (count - expected) ** 2 > _MEDIAN_SQUARE * variance else -size
    low, high = _SPREAD_RANGE
    history.spreads[window] = min(max(history.spreads[window] + step, low), high)


def learn_surprise(history: SpikeHistory, surprise: float) -> None:
    """Keep the day's largest surprise."""
    history.extreme = max(history.extreme, round(100 * surprise))
    history.judged += 1


def expected_count(
    settings: SpikeSettings, history: SpikeHistory, start_ms: int, intervals: int
) -> float | None:
    """What was expected of so many intervals, the last of which starts here and whose hour has been entered; None while
    fewer than 24 hours are known."""
    total = 0.0
    for place in range(intervals):
        age = history.hour - (start_ms - place * settings.interval_ms) // HOUR_MS
        expected = history.expected[-1 - min(age, len(history.expected) - 1)]
        if expected is None:
            return None
        total += expected / settings.intervals_an_hour
    return total


def middle(values: Iterable[float]) -> float:
    """The mean of the middle half of some values: as robust as it must be, and steadier than the median."""
    ordered = sorted(values)
    cut = (len(ordered) + 1) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def _close_hour(settings: SpikeSettings, history: SpikeHistory) -> int:
    """The total of the hour that was being filled, as if all of its intervals had been seen."""
    total, intervals = history.total, history.intervals
    history.total = history.intervals = 0
    return round(total * settings.intervals_an_hour / intervals) if intervals else UNKNOWN


def _close_day(settings: SpikeSettings, history: SpikeHistory) -> None:
    """A day that was hardly judged says little of a day's extreme."""
    if 4 * history.judged >= settings.intervals_a_day:
        history.extremes = [*history.extremes, history.extreme][-_DAYS_KEPT:]
    history.extreme = history.judged = 0


def _first_spread(hours: Sequence[int]) -> float:
    """The dispersion, as a logarithm, that makes the hours of a first day ordinary ones: before its nights and mornings are
    known, a morning is no spike."""
    known = [total for total in hours if total != UNKNOWN]
    centre = middle(known)
    variance = median((total - centre) ** 2 for total in known) / _MEDIAN_SQUARE
    least, most = _SPREAD_RANGE
    ratio = (variance - centre) / max(centre, 1) ** 2
    return min(max(math.log(ratio), least), most) if ratio > 0 else least


def _expected_total(hours: Sequence[int]) -> float | None:
    """The total that is expected of the hour after these; never nothing at all."""
    known = [total for total in hours if total != UNKNOWN][-_DAY:]
    if len(known) < _DAY:
        return None
    expected = middle(known)
    for period, times in _SEASONS:
        usual = _usual(hours, 0, period, times)
        if usual is not None:
            expected = usual * _growth(hours, period, times)
            break
    return max(expected, _LEAST_COUNT / _DAY)


def _usual(hours: Sequence[int], ago: int, period: int, times: int) -> float | None:
    """The middle of the totals one, two, … periods before the hour that is so many hours ago."""
    places = [len(hours) - ago - period * time for time in range(1, times + 1)]
    known = [hours[place] for place in places if place >= 0 and hours[place] != UNKNOWN]
    return middle(known) if len(known) >= _LEAST_SEASONS else None


def _growth(hours: Sequence[int], period: int, times: int) -> float:
    """By how much the last day exceeds what was usual for its hours, at least 1.0; too few of them say nothing. The half
    keeps the ratio sane where hardly anything happens."""
    actual, usual = [], []
    for ago in range(1, _DAY + 1):
        was = _usual(hours, ago, period, times)
        if was is not None and hours[-ago] != UNKNOWN:
            actual.append(hours[-ago])
            usual.append(was)
    if 2 * len(actual) < _DAY:
        return 1.0
    return max(1.0, (middle(actual) + 0.5) / (middle(usual) + 0.5))
