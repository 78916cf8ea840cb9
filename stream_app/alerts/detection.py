"""What one rule sees in the counts of one key. Stands between the snapshots and ``lifecycle``.

An observation is a pure function of a rule and the counts as they are now: it knows nothing of earlier
ones. A proportion is judged by the end of its 95 % Wilson interval that lies nearer the healthy side, so
that it is beyond a level only where chance is no explanation; a mean is judged by its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from stream_app.alerts.rules import Rule
from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, TOTAL, WINDOWS
from stream_app.metrics.rates import RateValue, rate_of

Counts = Callable[[str], Mapping[str, float]]
"""The counts of a window, by the window's name, as shown (seconds, not milliseconds)."""

LONGEST_WINDOW: Final = next(name for name, length in WINDOWS.items() if length == LONGEST_WINDOW_MS)


class Evidence(StrEnum):
    """Whether an observation can say anything.

    ``THIN``: the denominator is below the rule's minimum. ``QUIET``: a rule over ``total`` has had nothing
    new in its denominator for the longest window, so that the matter is over and nobody can act on it.
    """

    ENOUGH = "enough"
    THIN = "thin"
    QUIET = "quiet"


class Observation(NamedTuple):
    """A rate as a rule sees it now.

    ``baseline`` is the same rate outside the rule's window, None where there is nothing outside it.
    ``severity`` is the highest level breached. ``held`` is the highest level that a firing alert would
    keep: it lags behind ``severity`` by the rule's hysteresis. Without enough evidence both are None.
    """

    value: float | None
    numerator: float
    denominator: float
    low: float | None
    high: float | None
    baseline: float | None
    evidence: Evidence
    severity: str | None
    held: str | None

    @property
    def may_resolve(self) -> bool:
        """Whether a firing alert has no reason left to fire."""
        return self.held is None


def may_fire(rule: Rule, counts: Counts) -> bool:
    """Whether an observation could name a severity: a quick look that spares most keys the whole of it. An interval
    holds the value, so that it lies beyond a level only where the value does.

    Raises:
        KeyError: as ``observe``.
    """
    numerator, denominator = _parts(rule, counts, rule.numerator_window, rule.denominator_window)
    if denominator < rule.minimum_denominator:
        return False
    value, level = numerator / denominator, rule.levels[0][1]
    return value >= level if rule.direction == "above" else value <= level


def observe(rule: Rule, counts: Counts) -> Observation:
    """Judge a rule on the counts of one key.

    An alert needs evidence to fire and to go on firing: where a window has run empty or thin, nothing
    supports it any longer, and it resolves.

    Raises:
        KeyError: ``counts`` does not know a window, or a window lacks a count of the rule's metric.
    """
    rate = _windowed_rate(rule, counts)
    baseline = _baseline(rule, counts)
    evidence = _evidence(rule, counts, rate.denominator)
    severity = held = None
    if evidence is Evidence.ENOUGH:
        bound = _judged_bound(rule.direction, rate.value, rate.low, rate.high)
        severity = _worst(rule.levels, rule.direction, bound)
        held = _worst(_release_levels(rule), rule.direction, bound)
    return Observation(*rate, baseline, evidence, severity, held)


def _judged_bound(direction: str, value: float | None, low: float | None, high: float | None) -> float:
    """The number that is compared with a level: the interval's lower end for ``above``, its upper end for
    ``below``, and the value itself where there is no interval (means, and more events than trials)."""
    bound = low if direction == "above" else high
    if bound is not None:
        return bound
    return 0.0 if value is None else value


def _windowed_rate(rule: Rule, counts: Counts) -> RateValue:
    """The rule's rate, its numerator and its denominator each from its own window."""
    numerator, denominator = _parts(rule, counts, rule.numerator_window, rule.denominator_window)
    return _ratio(rule, numerator, denominator)


def _parts(rule: Rule, counts: Counts, top: str, bottom: str) -> tuple[float, float]:
    """The numerator in one window and the denominator in another."""
    numerator = counts(top)[rule.rate.numerator]
    below = counts(bottom)
    return numerator, sum(below[name] for name in rule.rate.denominator)


def _ratio(rule: Rule, numerator: float, denominator: float) -> RateValue:
    """The catalogue's arithmetic (interval or none) for a numerator and a denominator of any windows."""
    plain = rule.rate._replace(numerator="numerator", denominator=("denominator",))
    return rate_of(plain, {"numerator": numerator, "denominator": denominator})


def _baseline(rule: Rule, counts: Counts) -> float | None:
    """What the rate is outside the rule's window: in ``total`` less the window. Where the denominator is
    ``total`` already, only the numerator has an outside."""
    if rule.numerator_window == TOTAL:
        return None
    inside, inside_denominator = _parts(rule, counts, rule.numerator_window, rule.denominator_window)
    everything, denominator = _parts(rule, counts, TOTAL, TOTAL)
    if rule.denominator_window != TOTAL:
        denominator -= inside_denominator
    if denominator < rule.minimum_denominator:
        return None
    return _ratio(rule, everything - inside, denominator).value


def _evidence(rule: Rule, counts: Counts, denominator: float) -> Evidence:
    if rule.numerator_window == TOTAL:
        _, recent = _parts(rule, counts, LONGEST_WINDOW, LONGEST_WINDOW)
        if recent == 0:
            return Evidence.QUIET
    return Evidence.ENOUGH if denominator >= rule.minimum_denominator else Evidence.THIN


def _release_levels(rule: Rule) -> tuple[tuple[str, float], ...]:
    """Where a firing alert lets go of each level: the mildest at ``resolve``, the others as far from their
    level in proportion, so that severity does not flicker either."""
    mildest = rule.levels[0][1]
    return tuple((severity, level / mildest * rule.resolve) for severity, level in rule.levels)


def _worst(levels: tuple[tuple[str, float], ...], direction: str, bound: float) -> str | None:
    """The most severe level that a bound lies beyond; a bound on the level itself is not beyond it."""
    sign = 1 if direction == "above" else -1
    beyond = [severity for severity, level in levels if sign * (bound - level) > 0]
    return beyond[-1] if beyond else None
