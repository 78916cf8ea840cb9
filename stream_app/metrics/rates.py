"""Rates from counts, with Wilson's interval. Used by the snapshots and by the alert rules."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

from stream_app.metrics.catalogue import Rate

Z_95 = 1.959963984540054
"""The two-sided 95 % point of the standard normal distribution."""


class RateValue(NamedTuple):
    """A rate as it is shown; ``value`` is None where the denominator is 0, ``low`` and ``high`` where
    no interval can be given."""

    value: float | None
    numerator: float
    denominator: float
    low: float | None
    high: float | None


def wilson(successes: float, trials: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, clipped to 0..1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Raises:
        ValueError: there are no trials, or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"no interval for {successes} of {trials}")
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def rate_of(rate: Rate, counts: Mapping[str, float]) -> RateValue:
    """A rate from the counts of one window; counts as shown (seconds, not milliseconds)."""
    numerator = counts[rate.numerator]
    denominator = counts[rate.denominator[0]]
    for name in rate.denominator[1:]:
        denominator += counts[name]
    if denominator == 0:
        return RateValue(None, numerator, denominator, None, None)
    value = numerator / denominator
    if not rate.interval or not 0 <= numerator <= denominator:
        return RateValue(value, numerator, denominator, None, None)
    low, high = wilson(numerator, denominator)
    return RateValue(value, numerator, denominator, low, high)
