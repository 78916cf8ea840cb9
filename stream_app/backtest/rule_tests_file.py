"""How a file of rule tests is read, every name and number checked. Stands before ``rule_runner``.

A mistake is named with its file, line, value and the mend, as those of a rules file are: by the same tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from stream_app.alerts.lifecycle import CUSTOMER
from stream_app.alerts.rules import SEVERITIES, Rules, RulesError, load_rules
from stream_app.alerts.tables import Table, TableError, nearest
from stream_app.backtest.rule_tests import (
    STATES,
    Expectation,
    ExpectedAlert,
    KnownCustomer,
    RuleTest,
    RuleTests,
    Series,
)
from stream_app.backtest.series import expand
from stream_app.churn.facts import ChurnFacts
from stream_app.clock import DAY_MS, from_datetime
from stream_app.metrics.catalogue import COUNT_BY_NAME, PANE_MS, Dimension, Unit, counts_of

DEFAULT_START_MS = 20_458 * DAY_MS
"""2026-01-05, a Monday: rules may know the hour of the week."""
_LATEST_MS = 400 * DAY_MS
_FACTS = tuple(name for name in ChurnFacts._fields)
_EXPECTED = tuple(field.name.removesuffix("_ms") for field in fields(ExpectedAlert))


class RuleTestsError(RulesError):
    """A file of rule tests is wrong; the message names file, line, value and the mend."""


def load_rule_tests(path: Path) -> RuleTests:
    """Read and check a file of rule tests, with the rules file that it names.

    Raises:
        RuleTestsError: something in it is wrong (the first mistake found).
        RulesError: the rules file is wrong.
    """
    try:
        file = Table.of_file(path, "rule tests")
        file.only(("rules", "test"))
        name = file.take("rules", str, '"rules.toml"', needed=False)
        rules = load_rules(None if name is None else path.parent / name)
        if not _names(rules):
            raise file.wrong("rules", "names a file without any rule; name one with rules to be tested")
        tests = tuple(_test(table, rules) for table in file.tables("test"))
        if not tests:
            raise file.wrong("test", "there is no test; write [[test]] with a name, series and expectations")
        return RuleTests(str(path), rules, tests)
    except TableError as problem:
        raise RuleTestsError(str(problem)) from None


def _test(table: Table, rules: Rules) -> RuleTest:
    table.only(("name", "start", "interval", "series", "customer", "expect"))
    name = str(table.take("name", str, '"what this shows"'))
    interval_ms = table.duration("interval", "1m")
    if interval_ms < PANE_MS or interval_ms % PANE_MS:
        raise table.wrong("interval", "is no multiple of 10s, the shortest time that counts are kept for")
    start_ms = _start(table)
    series = tuple(_series(one) for one in _nested(table, "series"))
    customers = sorted(map(_customer, _nested(table, "customer")), key=lambda one: one.at_ms)
    expectations = [_expectation(one, rules) for one in _nested(table, "expect")]
    if not expectations:
        raise table.wrong("expect", "nothing is expected; write [[test.expect]] with at and alerts")
    return RuleTest(
        name=name,
        start_ms=start_ms,
        interval_ms=interval_ms,
        series=series,
        customers=tuple(customers),
        expectations=tuple(sorted(expectations, key=lambda one: one.at_ms)),
    )


def _start(table: Table) -> int:
    start = table.take("start", datetime, "2026-01-05T00:00:00Z", needed=False)
    if start is None:
        return DEFAULT_START_MS
    if start.tzinfo is None or from_datetime(start) % PANE_MS:
        raise table.wrong("start", "needs an offset and full tens of seconds, such as 2026-01-05T00:00:00Z")
    return from_datetime(start)


def _series(table: Table) -> Series:
    dimension, key = _key(table, tuple(Dimension))
    known = {count.name for count in counts_of(Dimension(dimension)) if count.unit is not Unit.AMOUNT}
    counts = {}
    has_segment = dimension == Dimension.CAMPAIGN
    for name in table.values:
        if name == "key" or (name == "segment" and has_segment):
            continue
        if name not in known:
            exists = name in COUNT_BY_NAME
            problem = f'is no count of dimension "{dimension}"' if exists else "has an unknown name"
            raise table.wrong(name, f"{problem}; {nearest(name, sorted(known))}")
        counts[name] = _numbers(table, name)
    segment = table.take("segment", str, '"loyal"', needed=False) if has_segment else None
    return Series(key, counts, segment or "")


def _numbers(table: Table, name: str) -> tuple[float, ...]:
    value = table.values[name]
    if isinstance(value, str):
        try:
            return tuple(expand(value))
        except ValueError as problem:
            raise table.wrong(name, str(problem)) from None
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and one >= 0 for one in numbers):
        raise table.wrong(name, f'is no series; write {name} = "0+10x5" or {name} = [0, 10, 20]')
    return tuple(map(float, numbers))


def _customer(table: Table) -> KnownCustomer:
    table.only(("id", "at", "opted_out", *_FACTS))
    facts = {}
    for name in table.values.keys() & set(_FACTS):
        kind = type(ChurnFacts._field_defaults[name])
        value = table.values[name]
        if type(value) is not kind or value < 0:
            raise table.wrong(name, f"has the wrong type; write {name} = {'true' if kind is bool else '6'}")
        facts[name] = value
    opted_out = table.values.get("opted_out", False)
    if not isinstance(opted_out, bool):
        raise table.wrong("opted_out", "has the wrong type; write opted_out = true")
    return KnownCustomer(
        str(table.take("id", str, '"ada"')), _time(table, "at"), ChurnFacts(**facts), opted_out
    )


def _expectation(table: Table, rules: Rules) -> Expectation:
    table.only(("at", "rule", "alerts"))
    rule = table.choice("rule", _names(rules)) if "rule" in table.values else None
    table.take("alerts", list, '[{ key = "campaign:spring", severity = "critical" }], or [] for none')
    alerts = tuple(_expected(one, rule, rules) for one in _entries(table, "alerts"))
    return Expectation(table.start + 1, _time(table, "at"), rule, alerts)


def _expected(table: Table, rule: str | None, rules: Rules) -> ExpectedAlert:
    table.only(("rule", "key", *(name for name in _EXPECTED if name not in ("rule", "key"))))
    name = table.choice("rule", _names(rules), rule)
    dimension, key = _key(table, (*Dimension, CUSTOMER))
    watched = {one.name: str(one.dimension) for one in rules.rules}.get(name, CUSTOMER)
    if dimension != watched:
        raise table.wrong("key", f'is not what rule "{name}" watches; write {watched}:…')
    numbers = {
        number: float(table.take(number, float, "0.02"))
        for number in ("value", "numerator", "denominator")
        if number in table.values
    }
    return ExpectedAlert(
        rule=name,
        key=key,
        state=table.choice("state", STATES, STATES[0]),
        severity=table.choice("severity", SEVERITIES) if "severity" in table.values else None,
        band=table.take("band", str, '"at_risk"', needed=False),
        since_ms=_time(table, "since") if "since" in table.values else None,
        **numbers,
    )


def _names(rules: Rules) -> tuple[str, ...]:
    return tuple(rule.name for rule in rules.rules) + ((rules.churn.name,) if rules.churn else ())


def _key(table: Table, dimensions: tuple[str, ...]) -> tuple[str, str]:
    """The dimension of a key, and the key in full."""
    key = str(table.take("key", str, '"campaign:spring-sale"'))
    dimension, colon, rest = key.partition(":")
    if not (colon and rest):
        raise table.wrong("key", "names no dimension; write dimension:key, such as campaign:spring-sale")
    if dimension not in dimensions:
        raise table.wrong("key", f"is of an unknown dimension; {nearest(dimension, map(str, dimensions))}")
    if dimension == Dimension.ALL and rest != "all":
        raise table.wrong("key", 'does not exist; dimension "all" has one key, all:all')
    return dimension, key


def _time(table: Table, name: str) -> int:
    time_ms = table.duration(name)
    if time_ms > _LATEST_MS:
        raise table.wrong(name, f"is too late; a test may last {_LATEST_MS // DAY_MS}d")
    return time_ms


def _nested(parent: Table, name: str) -> list[Table]:
    """The tables within a test, each with the line of its ``[[test.name]]``, or of the test if they are written inline."""
    items = parent.values.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise parent.wrong(name, f"is not written as a table; write [[test.{name}]] above its keys")
    header = re.compile(rf"\s*\[\[\s*test\s*\.\s*{name}\s*\]\]")
    starts = [index for index in _own_lines(parent) if header.match(parent.lines[index])]
    if len(starts) != len(items):
        starts = [parent.start] * len(items)
    return [
        Table(parent.file, parent.lines, start, f"{parent.label} {name}", item)
        for start, item in zip(starts, items, strict=True)
    ]


def _own_lines(parent: Table) -> Iterator[int]:
    """The lines of a test, up to the next one's."""
    yield parent.start
    for index in range(parent.start + 1, len(parent.lines)):
        if re.match(r"\s*\[\[\s*test\s*\]\]", parent.lines[index]):
            return
        yield index


def _entries(parent: Table, name: str) -> list[Table]:
    """The tables of a list of inline tables, each with its own line if every one has one."""
    items = parent.values[name]
    if not all(isinstance(item, dict) for item in items):
        raise parent.wrong(name, f'holds what is no table; write {name} = [{{ key = "campaign:spring" }}]')
    begins = re.compile(rf"\s*{name}\s*=")
    places = range(parent.start, len(parent.lines))
    first = next((index for index in places if begins.match(parent.lines[index])), parent.start)
    opening = (
        index for index in places[first - parent.start :] if "{" in parent.lines[index].partition("#")[0]
    )
    lines = [line for line, _ in zip(opening, items, strict=False)]
    starts = lines if len(lines) == len(items) else [first] * len(items)
    return [
        Table(parent.file, parent.lines, start, f"{parent.label} {name}", item)
        for start, item in zip(starts, items, strict=True)
    ]
