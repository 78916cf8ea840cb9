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

**Corrected for the day and for the key.** Who looks often sees more, and counts are wilder than any model. So what is
judged is not one look but the day: the surprise (the negative decimal logarithm of the long window's tail) is held
against the largest surprises of this key's last days, by Gumbel's distribution of extremes, fitted to their median and
quartiles, so that up to a quarter of them may have been spikes. Three days as the model has them are added, which speak
for a key that is new, and none is taken to be tamer than the model. At a level of 0.001 one in a thousand days without a
spike raises a false alert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import quantiles
from typing import Final, NamedTuple

from stream_app.alerts.spike_history import (
    LONG,
    SHORT,
    SpikeHistory,
    SpikeSettings,
    dispersion,
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

_MODEL_SCALE = math.log10(math.e)  # where the model is right: a surprise of one more is ten times as rare
_GUMBEL_QUARTILES = tuple(-math.log(-math.log(share)) for share in (0.25, 0.5, 0.75))
_FAR = 30.0  # in scales below the centre, from where on the probability is 1 to the last digit


class SpikeObservation(NamedTuple):
    """What a rule sees of one key after a complete interval.

    ``value`` is the count of the long window; ``expected`` what it should have been, None while fewer than 24 hours are
    known. ``probability`` is that of a day without a spike that holds such a count; 1.0 where there is too little to
    judge, or the last interval is calm. ``short_tail`` is the probability of the last interval's count or more.
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
    last, total = counts[-1], sum(counts)
    usual = expected_count(settings, history, start_ms, 1)
    expected = expected_count(settings, history, start_ms, len(counts))
    observation = SpikeObservation(total, None, 1.0, 1.0)
    if usual is not None and expected is not None:
        short_tail = 10 ** log10_upper_tail(last, usual, dispersion(history, SHORT))
        probability, surprise = 1.0, 0.0
        if short_tail <= CALM:
            surprise = -log10_upper_tail(total, expected, dispersion(history, LONG))
            if total >= settings.minimum_count:
                probability = _probability(settings, history, surprise)
        observation = SpikeObservation(total, expected, probability, short_tail)
        learn_spread(settings, history, SHORT, last, usual)
        learn_spread(settings, history, LONG, total, expected)
        learn_surprise(history, surprise if short_tail <= AGREES else 0.0)
    learn(settings, history, start_ms, last)
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


def _probability(settings: SpikeSettings, history: SpikeHistory, surprise: float) -> float:
    """The probability of a day whose largest surprise is at least this (Gumbel: Statistics of Extremes, 1958)."""
    low, middle, high = _GUMBEL_QUARTILES
    centre, scale = math.log10(settings.intervals_a_day), _MODEL_SCALE
    model = [centre + scale * place for place in _GUMBEL_QUARTILES]
    days = [extreme / 100 for extreme in history.extremes]
    first, median, third = quantiles([*model, *days], n=4, method="inclusive")
    scale = max(scale, (third - first) / (high - low))
    centre = max(median, centre + _MODEL_SCALE * middle) - scale * middle
    distance = (surprise - centre) / scale
    return -math.expm1(-math.exp(-distance)) if distance > -_FAR else 1.0
