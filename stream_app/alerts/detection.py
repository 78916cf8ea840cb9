"""What a rule over a rate sees in the counts of one key. Stands between the snapshots and ``lifecycle``. Pure.

An observation is a pure function of a rule and the counts as they are now: it knows nothing of earlier
ones. A proportion is beyond a level only where chance is no explanation: its 95 % Wilson interval lies beyond it, which
is what the alert shows, and so does the sequential test, which holds however often one looks (``sequential``).
A mean is judged by its value.

A rule over a change is the same against another level: its own baseline, at the end of *its* interval that is nearer to
the level, moved by the rule's share. So two intervals must lie apart, and by no less than the share.
"""

from __future__ import annotations

from typing import NamedTuple

from stream_app.alerts.observation import Counts, Evidence, Observation
from stream_app.alerts.rule import Condition, Rule
from stream_app.alerts.rule_reading import LONGEST_WINDOW
from stream_app.alerts.sequential import is_beyond
from stream_app.metrics.catalogue import TOTAL
from stream_app.metrics.rates import RateValue, rate_of

Levels = tuple[tuple[str, float], ...]

_SUSPECTED = {"optouts": "optouts_suspected"}
"""What is counted whoever did it, and how much of it may be the work of machines."""


class _Bar(NamedTuple):
    """What a rate is held against: levels from mild to severe, and where a firing alert lets go of each."""

    levels: Levels
    release: Levels


def may_fire(rule: Rule, counts: Counts) -> bool:
    """Whether an observation could name a severity: a quick look that spares most keys the whole of it. An interval
    holds the value, so that it lies beyond a level only where the value does.

    Raises:
        KeyError: as ``observe``.
    """
    numerator, denominator = _parts(rule, counts, rule.numerator_window, rule.denominator_window)
    if denominator < rule.minimum_evidence:
        return False
    if rule.condition is Condition.CHANGE:
        return True
    value, level = numerator / denominator, rule.levels[0][1]
    return value >= level if rule.direction == "above" else value <= level


def observe(rule: Rule, counts: Counts) -> Observation:
    """Judge a rule over a rate on the counts of one key.

    An alert needs evidence to fire and to go on firing: where a window has run empty or thin, nothing
    supports it any longer, and it resolves.

    Raises:
        KeyError: ``counts`` does not know a window, or a window lacks a count of the rule's metric.
    """
    rate = _windowed_rate(rule, counts)
    baseline = _baseline(rule, counts)
    bar = _bar(rule, baseline)
    evidence = _evidence(rule, counts, rate.denominator) if bar else Evidence.THIN
    severity = held = None
    if bar and evidence is Evidence.ENOUGH:
        bound = _judged_bound(rule.direction, rate)
        severity = _severity(rule, rate, _beyond(bar.levels, rule.direction, bound))
        held = _worst(_beyond(bar.release, rule.direction, bound))
    seen = Observation(*rate, None if baseline is None else baseline.value, evidence, severity, held)
    if rule.rate.numerator in _SUSPECTED:
        seen = seen._replace(suspected=counts(rule.window).get(_SUSPECTED[rule.rate.numerator], 0))
    if bar is None or rule.condition is Condition.THRESHOLD:
        return seen
    return seen._replace(levels=bar.levels, resolve=bar.release[0][1])


def _severity(rule: Rule, rate: RateValue, beyond: Levels) -> str | None:
    """The worst of the levels that the interval lies beyond and of which the sequential test says so too."""
    if rate.low is None:
        return _worst(beyond)
    window, direction = rule.denominator_window, rule.direction
    return _worst(
        tuple(
            (severity, level)
            for severity, level in beyond
            if is_beyond(level, direction, rate.numerator, rate.denominator, window)
        )
    )


def _judged_bound(direction: str, rate: RateValue) -> float:
    """The number that is compared with a level: the interval's lower end for ``above``, its upper end for
    ``below``, and the value itself where there is no interval (means, and more events than trials)."""
    bound = rate.low if direction == "above" else rate.high
    if bound is not None:
        return bound
    return 0.0 if rate.value is None else rate.value


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


def _baseline(rule: Rule, counts: Counts) -> RateValue | None:
    """What the rate is outside the rule's window: in ``total`` less the window. Where the denominator is
    ``total`` already, only the numerator has an outside."""
    if rule.numerator_window == TOTAL:
        return None
    inside, inside_denominator = _parts(rule, counts, rule.numerator_window, rule.denominator_window)
    everything, denominator = _parts(rule, counts, TOTAL, TOTAL)
    if rule.denominator_window != TOTAL:
        denominator -= inside_denominator
    if denominator < rule.minimum_evidence:
        return None
    return _ratio(rule, everything - inside, denominator)


def _bar(rule: Rule, baseline: RateValue | None) -> _Bar | None:
    """The levels as values of the rate; None where they rest on a baseline that is not known."""
    release = _release_levels(rule)
    if rule.condition is Condition.THRESHOLD:
        return _Bar(rule.levels, release)
    if baseline is None:
        return None
    is_above = rule.direction == "above"
    usual = baseline.high if is_above else baseline.low
    if usual is None:
        usual = baseline.value or 0.0
    sign = 1 if is_above else -1
    moved, let_go = (
        tuple((severity, usual * (1 + sign * share)) for severity, share in shares)
        for shares in (rule.levels, release)
    )
    return _Bar(moved, let_go)


def _evidence(rule: Rule, counts: Counts, denominator: float) -> Evidence:
    if rule.numerator_window == TOTAL:
        _, recent = _parts(rule, counts, LONGEST_WINDOW, LONGEST_WINDOW)
        if recent == 0:
            return Evidence.QUIET
    return Evidence.ENOUGH if denominator >= rule.minimum_evidence else Evidence.THIN


def _release_levels(rule: Rule) -> Levels:
    """Where a firing alert lets go of each level: the mildest at ``resolve``, the others as far from their
    level in proportion, so that severity does not flicker either."""
    mildest = rule.levels[0][1]
    return tuple((severity, level / mildest * rule.resolve) for severity, level in rule.levels)


def _beyond(levels: Levels, direction: str, bound: float) -> Levels:
    """The levels that a bound lies beyond; a bound on the level itself is not beyond it."""
    sign = 1 if direction == "above" else -1
    return tuple((severity, level) for severity, level in levels if sign * (bound - level) > 0)


def _worst(levels: Levels) -> str | None:
    return levels[-1][0] if levels else None
