"""Made-up counts per interval, with a seed, and the alerts that a spike rule makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from stream_app.alerts.spikes import SpikeObservation, observe
from stream_app.clock import DAY_MS

START_MS = 1_600_000_000_000 // (7 * DAY_MS) * 7 * DAY_MS
"""A Thursday's midnight: weeks since 1970 begin on Thursdays."""


def poisson(random: Random, mean: float) -> int:
    """A Poisson variate: by products below 30, by Hörmann's transformed rejection (PTRS, 1993) above."""
    if mean < 30:
        limit, product, count = math.exp(-mean), random.random(), 0
        while product > limit:
            product *= random.random()
            count += 1
        return count
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    accept = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = random.random() - 0.5, random.random()
        us = 0.5 - abs(u)
        count = math.floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= accept:
            return count
        if count < 0 or (us < 0.013 and v > us):
            continue
        likelihood = count * math.log(mean) - mean - math.lgamma(count + 1)
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= likelihood:
            return count


def counts_of(seed: int, days: float, rate: Callable[[int], float], settings: SpikeSettings) -> list[int]:
    """Poisson counts whose rate follows from the interval's place."""
    random = Random(seed)
    return [poisson(random, rate(place)) for place in range(round(days * settings.intervals_a_day))]


def watch(
    settings: SpikeSettings, history: SpikeHistory, counts: Sequence[int], start_ms: int = START_MS
) -> list[SpikeObservation]:
    """Observe every interval of a series, the first of which starts at ``start_ms``."""
    seen = []
    for place in range(len(counts)):
        window = counts[max(0, place + 1 - settings.long_intervals) : place + 1]
        seen.append(observe(settings, history, start_ms + place * settings.interval_ms, window))
    return seen


def alerts(seen: Sequence[SpikeObservation], level: float, resolve: float = 0.1) -> list[int]:
    """The places at which an alert begins."""
    begins, firing = [], False
    for place, observation in enumerate(seen):
        if firing:
            firing = observation.holds_at(max(level, resolve))
        elif observation.fires_at(level):
            firing = True
            begins.append(place)
    return begins
