"""Spikes of counts: whether the last interval of a key held more events than chance explains. Pure, no clock.

Stands beside ``detection``, for rules of the condition ``spike``. One call per key and complete interval::

    settings = SpikeSettings()                       # five minutes; fifteen for the long window; ten events at least
    history = SpikeHistory()                         # one per rule and key: journal it, a few kilobytes
    seen = observe(settings, history, start_ms, counts)
    seen.fires_at(0.001), seen.holds_at(0.1)

``counts`` are those of the last ``long_intervals`` complete intervals, oldest first; the last of them starts at
``start_ms``. Every interval is observed once and in order, those without an event too; after a longer silence
``catch_up`` stands for many of them. Complete means that the watermark has passed its end, so that nothing can
still come; the interval in progress is never judged.

**Two windows must agree.** The long one gives the evidence: the probability of as many events or more, by a negative
binomial around what ``spike_history`` expects. The short one, the last interval alone, must be high as well (5 %), so
that nothing fires on what is over; and once it is no longer above what is usual (50 %), the alert may resolve.

**Corrected for the day and for the key.** A day is as many looks as it has intervals, so the probability is
multiplied by them: at a level of 0.001 one quiet day in a thousand raises a false alert. Where the counts of a key are
wilder than the model, its usual day says so: the largest surprise (the negative decimal logarithm of the tail)
of an ordinary day should be about ``log10(looks / ln 2)``, the median of a maximum of so many. Where the median of the last
four weeks is larger, all surprises of that key are divided by as much, so that only what its ordinary days do not bring is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from stream_app.alerts.spike_history import (
    LONG,
    SHORT,
    SpikeHistory,
    SpikeSettings,
    enter,
    expected_count,
    learn,
    learn_spread,
    learn_surprise,
    skip_silence,
)
from stream_app.alerts.tails import log10_upper_tail
from stream_app.clock import DAY_MS

AGREES: Final = 0.05
"""The short window agrees that there is a spike where its tail is at most this."""
CALM: Final = 0.5
"""The short window says that a spike is over where its tail is above this: no more than usual."""


class SpikeObservation(NamedTuple):
    """What a rule sees of one key after a complete interval.

    ``value`` is the count of the long window, ``expected`` what it should have been (None while less than a day is known). ``probability``
    is that of a day without anything unusual that holds such a count; 1.0 where there is too little to judge.
    ``short_tail`` is the probability of the last interval's count or more, by itself.
    """

    value: int
    expected: float | None
    probability: float
    short_tail: float

    def fires_at(self, level: float) -> bool:
        """Whether this is a spike at a level, the probability of a false alert a day: 0.001 is one day in 1,000."""
        return self.probability <= level and self.short_tail <= AGREES

    def holds_at(self, level: float) -> bool:
        """Whether an alert that fires may go on: weaker than ``fires_at``, so that it does not flicker. Where it is
        False for the resolve level, the alert may resolve."""
        return self.probability <= level and self.short_tail <= CALM


def observe(
    settings: SpikeSettings, history: SpikeHistory, start_ms: int, counts: Sequence[int]
) -> SpikeObservation:
    """Judge the last complete interval by what was known before it, then learn it.

    Raises:
        ValueError: no counts, a negative one, or an interval that was observed already.
    """
    if not counts or min(counts) < 0:
        raise ValueError(f"counts {list(counts)}: at least one is needed, and none may be below 0")
    if start_ms < history.next_ms:
        raise ValueError(
            f"the interval at {start_ms} was observed already; the next may start at {history.next_ms}"
        )
    enter(settings, history, start_ms)
    counts = counts[-settings.long_intervals :]
    observation = _judge(settings, history, start_ms, counts)
    learn(settings, history, start_ms, counts[-1])
    return observation


def catch_up(settings: SpikeSettings, history: SpikeHistory, start_ms: int) -> None:
    """Learn that there was no event after the last observed interval and before ``start_ms``. However long that was, it
    takes no longer than a day of intervals; a history that has not begun stays as it is."""
    if not history.next_ms:
        return
    first_ms = max(history.next_ms, start_ms - DAY_MS)
    if first_ms > history.next_ms:
        skip_silence(settings, history, first_ms)
    for silent_ms in range(first_ms, start_ms, settings.interval_ms):
        observe(settings, history, silent_ms, [0] * settings.long_intervals)


def _judge(
    settings: SpikeSettings, history: SpikeHistory, start_ms: int, counts: Sequence[int]
) -> SpikeObservation:
    total = sum(counts)
    expected = expected_count(settings, history, start_ms, len(counts))
    usual = expected_count(settings, history, start_ms, 1)
    if expected is None or usual is None:
        return SpikeObservation(total, None, 1.0, 1.0)
    long_tail = log10_upper_tail(total, expected, math.exp(history.spreads[LONG]))
    short_tail = 10 ** log10_upper_tail(counts[-1], usual, math.exp(history.spreads[SHORT]))
    surprise = -long_tail if short_tail <= AGREES else 0.0
    probability = 1.0
    if total >= settings.minimum_count:
        probability = min(1.0, settings.intervals_a_day * 10 ** (long_tail / stretch(settings, history)))
    learn_spread(history, SHORT, counts[-1], usual)
    learn_spread(history, LONG, total, expected)
    learn_surprise(history, surprise)
    return SpikeObservation(total, expected, probability, short_tail)


def stretch(settings: SpikeSettings, history: SpikeHistory) -> float:
    """By how much the surprises of an ordinary day of this key exceed those of the model, at least 1."""
    ordinary = math.log10(settings.intervals_a_day / math.log(2))
    return max(1.0, median(history.extremes) / 100 / ordinary) if history.extremes else 1.0
