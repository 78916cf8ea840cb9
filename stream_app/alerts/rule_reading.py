"""One table of a rules file becomes one rule, every name and number checked. Pure.

Stands between ``tables`` and ``rules``. Which keys a rule has depends on its condition; what they mean is in ``rule``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stream_app.alerts.churn import ChurnRule
from stream_app.alerts.rule import KINDS, SEVERITIES, Condition, Rule
from stream_app.alerts.tables import Table, nearest
from stream_app.churn.model import ChurnModel, ModelError, load_model, shipped_model
from stream_app.clock import HOUR_MS, SECOND_MS
from stream_app.metrics.catalogue import (
    COUNT_BY_NAME,
    LONGEST_WINDOW_MS,
    RATE_BY_NAME,
    TOTAL,
    WINDOWS,
    Dimension,
    Rate,
    Unit,
)

LONGEST_WINDOW: Final = next(name for name, length in WINDOWS.items() if length == LONGEST_WINDOW_MS)

_ALL_WINDOWS = (*WINDOWS, TOTAL)
_SPIKE_WINDOWS = tuple(name for name, length in WINDOWS.items() if length <= HOUR_MS)
_COMMON_KEYS = (
    *("name", "kind", "condition", "dimension", "metric", *SEVERITIES),
    *("for", "keep_firing_for", "repeat", "keys", "except_keys", "runbook"),
)
_OWN_KEYS: Final = {
    Condition.THRESHOLD: (
        *("window", "numerator_window", "denominator_window", "direction", "resolve", "minimum_denominator"),
    ),
    Condition.CHANGE: ("window", "direction", "resolve", "minimum_denominator"),
    Condition.SPIKE: ("window", "resolve", "minimum_count"),
    Condition.NO_DATA: ("minimum_count",),
    Condition.ECHO_CHAMBER: ("resolve", "minimum_denominator", "predecessors"),
}
_KEYS = tuple(dict.fromkeys([*_COMMON_KEYS, *(key for keys in _OWN_KEYS.values() for key in keys)]))
_CHURN_KEYS = (
    *("name", "bands", "alert_from", "resolve", "severity", "runbook"),
    *("cool_off", "most_per_hour", "model", "learn_from_outcomes"),
)
_BANDS = "{ watch = 0.5, at_risk = 0.7, lost = 0.9 }"
_LARGEST_MEAN = 1e12
_LARGEST_RISE = 100.0
_OVER_RATES = (Condition.THRESHOLD, Condition.CHANGE, Condition.ECHO_CHAMBER)
_ECHO_METRIC = "ctr"
# What people do hours after a delivery: by the hour, METRICS allows no ratio of these.
_AFTER_DELIVERY = frozenset(
    {"open_rate", "ctr", "ctor", "optout_rate", "complaint_rate", "ctr_adjusted", "disengagement_rate"}
)
_Levels = tuple[tuple[str, float], ...]


def read_rule(table: Table) -> Rule:
    """The rule of a ``[[rule]]`` table.

    Raises:
        TableError: something in it is wrong (the first mistake found).
    """
    table.only(_KEYS)
    name, kind = table.name_of_rule(), table.choice("kind", KINDS)
    condition = Condition(table.choice("condition", tuple(Condition), Condition.THRESHOLD))
    for key in table.values:
        if key not in (*_COMMON_KEYS, *_OWN_KEYS[condition]):
            raise table.wrong(key, f'has no meaning with condition = "{condition}"; leave it out')
    dimension = Dimension(table.choice("dimension", tuple(Dimension)))
    metric = _metric(table, condition, dimension)
    top, bottom = _windows(table, condition, metric)
    direction = table.choice("direction", ("above", "below"), "above")
    levels, resolve = _levels(table, condition, metric, direction)
    is_of_rate = condition in _OVER_RATES
    return Rule(
        name=name,
        kind=kind,
        condition=condition,
        dimension=dimension,
        metric=metric,
        numerator_window=top,
        denominator_window=bottom,
        direction=direction,
        levels=levels,
        resolve=resolve,
        minimum_evidence=_whole(table, "minimum_denominator" if is_of_rate else "minimum_count"),
        wait_ms=table.duration("for", "0s"),
        keep_firing_ms=table.duration("keep_firing_for", "0s"),
        repeat_ms=table.duration("repeat", "0s"),
        keys=table.texts("keys", "spring-*"),
        except_keys=table.texts("except_keys", "test-*"),
        runbook=table.runbook(),
        predecessors=_whole(table, "predecessors", "5") if condition is Condition.ECHO_CHAMBER else 0,
    )


def _metric(table: Table, condition: Condition, dimension: Dimension) -> str:
    """The name of a rate, or of a count for the conditions over counts, that exists in the dimension."""
    if condition in _OVER_RATES:
        metric = table.take("metric", str, '"ctr"')
        if metric in COUNT_BY_NAME:
            mend = nearest(metric, RATE_BY_NAME)
            raise table.wrong("metric", f'is a count, and condition = "{condition}" judges rates; {mend}')
        dimensions = RATE_BY_NAME[table.choice("metric", RATE_BY_NAME)].dimensions
        if condition is Condition.ECHO_CHAMBER:
            _check_echo(table, metric, dimension)
    else:
        metric = table.take("metric", str, '"deliveries"')
        counts = [
            count.name
            for count in COUNT_BY_NAME.values()
            if count.unit not in (Unit.AMOUNT, Unit.SECONDS) and not count.is_balance
        ]
        if metric in RATE_BY_NAME:
            mend = nearest(RATE_BY_NAME[metric].numerator, counts)
            raise table.wrong("metric", f'is a rate, and condition = "{condition}" judges counts; {mend}')
        if metric in COUNT_BY_NAME and COUNT_BY_NAME[metric].is_balance:
            mend = nearest(metric.replace("stage_", "became_"), counts)
            raise table.wrong("metric", f"goes down as well as up, and rules judge what only happens; {mend}")
        dimensions = COUNT_BY_NAME[table.choice("metric", counts)].dimensions
    if dimension not in dimensions:
        valid = ", ".join(sorted(dimensions))
        raise table.wrong("metric", f'does not exist in dimension "{dimension}"; use it in one of {valid}')
    return str(metric)


def _check_echo(table: Table, metric: str, dimension: Dimension) -> None:
    """An echo chamber is of one metric in one dimension."""
    of = f'is not what condition = "{Condition.ECHO_CHAMBER}" judges; write'
    if metric != _ECHO_METRIC:
        raise table.wrong("metric", f'{of} metric = "{_ECHO_METRIC}"')
    if dimension is not Dimension.CAMPAIGN:
        raise table.wrong("dimension", f'{of} dimension = "{Dimension.CAMPAIGN}"')


def _windows(table: Table, condition: Condition, metric: str) -> tuple[str, str]:
    """The numerator's and the denominator's window; ``window`` stands for both."""
    if condition is Condition.NO_DATA:
        return LONGEST_WINDOW, LONGEST_WINDOW
    if condition is Condition.ECHO_CHAMBER:
        return TOTAL, TOTAL
    if condition is Condition.SPIKE:
        window = table.choice("window", _SPIKE_WINDOWS)
        return window, window
    if condition is Condition.CHANGE:
        window = table.choice("window", tuple(WINDOWS))
        if metric in _AFTER_DELIVERY and window != LONGEST_WINDOW:
            mend = f'write window = "{LONGEST_WINDOW}"'
            raise table.wrong(
                "window", f"is too short for {metric}, which follows deliveries by hours; {mend}"
            )
        return window, window
    return _two_windows(table, RATE_BY_NAME[metric])


def _two_windows(table: Table, rate: Rate) -> tuple[str, str]:
    both = table.choice("window", _ALL_WINDOWS) if "window" in table.values else None
    if both is None and not {"numerator_window", "denominator_window"} <= table.values.keys():
        raise table.wrong("window", "window is missing; write it, or numerator_window and denominator_window")
    top = table.choice("numerator_window", _ALL_WINDOWS, both)
    bottom = table.choice("denominator_window", _ALL_WINDOWS, both)
    if _ALL_WINDOWS.index(top) > _ALL_WINDOWS.index(bottom):
        raise table.wrong("numerator_window", f'is longer than denominator_window "{bottom}"; swap them')
    if rate.name in _AFTER_DELIVERY and top == bottom != TOTAL:
        key = "window" if both == bottom else "denominator_window"
        mend = 'write denominator_window = "total" beside a shorter numerator_window'
        raise table.wrong(key, f"is too short for {rate.name}, which follows deliveries by hours; {mend}")
    return top, bottom


def _levels(table: Table, condition: Condition, metric: str, direction: str) -> tuple[_Levels, float]:
    """The levels from mild to severe, and where a firing alert resolves."""
    if not any(name in table.values for name in SEVERITIES):
        mild, severe = ('"2h"', '"6h"') if condition is Condition.NO_DATA else ("0.01", "0.02")
        raise table.wrong(
            "warning", f"no level is given; write warning = {mild} or critical = {severe}, or both"
        )
    if condition is Condition.NO_DATA:
        return _silences(table), 0.0
    if condition is Condition.SPIKE:
        return _chances(table)
    if condition in (Condition.CHANGE, Condition.ECHO_CHAMBER):
        # A rate can rise to many times its baseline, and cannot fall by more than all of it.
        return _numbers(table, 1 if direction == "below" else _LARGEST_RISE, "above")
    return _numbers(table, 1 if RATE_BY_NAME[metric].interval else _LARGEST_MEAN, direction)


def _numbers(table: Table, highest: float, direction: str) -> tuple[_Levels, float]:
    levels = tuple((name, table.number(name, "0.01", highest)) for name in SEVERITIES if name in table.values)
    sign = 1 if direction == "above" else -1
    _check_order(table, levels, sign, f"{direction} {levels[0][1]:g}")
    resolve = table.number("resolve", f"{levels[0][1]:g}", highest)
    if sign * (levels[0][1] - resolve) < 0:
        side = f"at {'most' if sign == 1 else 'least'} {levels[0][1]:g}, the mildest level"
        raise table.wrong("resolve", f"is on the wrong side; write {side}")
    return levels, resolve


def _silences(table: Table) -> _Levels:
    """Levels of silence, in seconds."""
    levels = []
    for name in SEVERITIES:
        if name in table.values:
            length_ms = table.duration(name)
            if not 0 < length_ms < LONGEST_WINDOW_MS:
                raise table.wrong(
                    name, f'is out of range; write a duration below {LONGEST_WINDOW}, such as "2h"'
                )
            levels.append((name, length_ms / SECOND_MS))
    mild = str(table.values[levels[0][0]])
    _check_order(table, tuple(levels), 1, f"longer than {mild}")
    return tuple(levels)


def _chances(table: Table) -> tuple[_Levels, float]:
    """Levels of a spike: chances, the smaller the worse."""
    levels = tuple((name, table.number(name, "0.001", 1)) for name in SEVERITIES if name in table.values)
    _check_order(table, levels, -1, f"below {levels[0][1]:g}")
    resolve = table.number("resolve", "0.1", 1)
    if resolve < levels[0][1]:
        side = f"at least {levels[0][1]:g}, the mildest level"
        raise table.wrong("resolve", f"is on the wrong side; write {side}")
    return levels, resolve


def _check_order(table: Table, levels: _Levels, sign: int, worse: str) -> None:
    if len(levels) == 2 and sign * (levels[1][1] - levels[0][1]) <= 0:
        raise table.wrong("critical", f"is not worse than warning; write one {worse}")


def _whole(table: Table, key: str, example: str = "200") -> int:
    number: int = table.take(key, int, example)
    if number < 1:
        raise table.wrong(key, "is out of range; write a whole number from 1 on")
    return number


def read_churn_rule(table: Table) -> ChurnRule:
    """The rule of the ``[churn]`` table.

    Raises:
        TableError: as ``read_rule``.
    """
    table.only(_CHURN_KEYS)
    bands = _bands(table)
    names = [band for band, _ in bands]
    alert_from = table.choice("alert_from", names)
    resolve = table.number("resolve", "0.45", 1)
    begin = dict(bands)[alert_from]
    if resolve >= begin:
        raise table.wrong("resolve", f'is too high; write one below {begin:g}, where "{alert_from}" begins')
    severity = table.inner("severity", '{ at_risk = "warning", lost = "critical" }')
    severity.only(names)
    alerting = names[names.index(alert_from) :]
    severities = tuple((band, severity.choice(band, SEVERITIES)) for band in alerting)
    return ChurnRule(
        name=table.name_of_rule(),
        bands=bands,
        alert_from=alert_from,
        resolve=resolve,
        severities=severities,
        runbook=table.runbook(),
        cool_off_ms=table.duration("cool_off", "0s"),
        most_per_hour=_whole(table, "most_per_hour", "1000") if "most_per_hour" in table.values else None,
        model=_model(table),
        learns=table.flag("learn_from_outcomes"),
    )


def _model(table: Table) -> ChurnModel:
    """The model that the table names, by a path from the rules file, or the shipped one."""
    name = table.take("model", str, '"my-model.toml"', needed=False)
    if name is None:
        return shipped_model()
    try:
        return load_model(Path(table.file).parent / name)
    except ModelError as problem:
        raise table.wrong("model", f"is of no use: {problem}") from None


def _bands(table: Table) -> tuple[tuple[str, float], ...]:
    """The bands in the file's order, which must rise."""
    inner = table.inner("bands", _BANDS)
    if not inner.values:
        raise table.wrong("bands", f"is empty; write bands = {_BANDS}")
    bands: list[tuple[str, float]] = []
    for band in inner.values:
        lowest = inner.number(band, "0.7", 1)
        if bands and lowest <= bands[-1][1]:
            last, begin = bands[-1]
            raise inner.wrong(band, f'does not rise; write a number above {begin:g}, where "{last}" begins')
        bands.append((band, lowest))
    return tuple(bands)
