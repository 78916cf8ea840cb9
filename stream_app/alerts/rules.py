"""What an alert rule is, and how a rules file becomes one. Stands before ``detection``.

Rules are data: ``rules.toml`` beside this module holds the shipped ones, ``STREAM_APP_RULES`` names
another file. Every name is checked against the metric catalogue when the program starts; a mistake is
named with its file, line, value and the mend, so that no rule silently watches nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from stream_app.alerts.churn import ChurnRule
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.metrics.catalogue import COUNT_BY_NAME, RATE_BY_NAME, TOTAL, WINDOWS, Dimension, Rate

SHIPPED: Final = Path(__file__).with_name("rules.toml")
KINDS: Final = ("ctr", "optout", "abandonment")
CHURN: Final = "churn"
SEVERITIES: Final = ("warning", "critical")
"""From mild to severe."""

_ALL_WINDOWS = (*WINDOWS, TOTAL)
_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_RULE_KEYS = (
    *("name", "kind", "dimension", "metric", "window", "numerator_window", "denominator_window", "direction"),
    *(*SEVERITIES, "resolve", "minimum_denominator", "for", "keys", "runbook"),
)
_CHURN_KEYS = ("name", "bands", "alert_from", "resolve", "severity", "runbook")
_BANDS = "{ watch = 0.5, at_risk = 0.7, lost = 0.9 }"
# What people do hours after a delivery: by the hour, METRICS allows no ratio of these.
_AFTER_DELIVERY = frozenset(
    {"open_rate", "ctr", "ctor", "optout_rate", "complaint_rate", "ctr_adjusted", "disengagement_rate"}
)


class RulesError(Exception):
    """A rules file is wrong; the message names file, line, value and the mend."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A watch over one rate of every key of one dimension.

    The rate is what ``numerator_window`` holds of its numerator over what ``denominator_window`` holds of
    its denominator. ``levels`` are (severity, threshold) from mild to severe. A firing alert resolves at
    ``resolve``, which lies on the healthy side of the mildest level. ``wait_ms`` is event time.
    """

    name: str
    kind: str
    dimension: Dimension
    metric: str
    numerator_window: str
    denominator_window: str
    direction: str
    levels: tuple[tuple[str, float], ...]
    resolve: float
    minimum_denominator: int
    wait_ms: int
    keys: str | None
    runbook: str | None

    @property
    def window(self) -> str:
        """The window the rule is about: the one that says what is new."""
        return self.numerator_window

    @property
    def rate(self) -> Rate:
        """The catalogue's definition of the metric."""
        return RATE_BY_NAME[self.metric]

    def matches(self, key: str) -> bool:
        """Whether a key of the rule's dimension is watched; ``keys`` is a shell pattern."""
        return self.keys is None or fnmatchcase(key, self.keys)

    def threshold(self, severity: str) -> float:
        """The threshold of a severity, or of the mildest level where the rule has no such level."""
        return dict(self.levels).get(severity, self.levels[0][1])


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a file; ``churn`` is None where it has no churn table."""

    rules: tuple[Rule, ...]
    churn: ChurnRule | None

    def for_dimension(self, dimension: str) -> tuple[Rule, ...]:
        """The rules over the keys of a dimension, in the file's order."""
        return tuple(rule for rule in self.rules if rule.dimension == dimension)


def load_rules(path: Path | None = None) -> Rules:
    """Read and check a rules file, or the shipped one.

    Raises:
        RulesError: the file cannot be read, or something in it is wrong (the first mistake found).
    """
    path = path or SHIPPED
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as problem:
        raise RulesError(f"{path}: cannot be read ({problem.strerror}); name a TOML file of rules") from None
    except UnicodeDecodeError:
        raise RulesError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as problem:
        line = re.search(r"at line (\d+)", str(problem))
        place = f"{path}:{line[1]}" if line else f"{path}"
        raise RulesError(f"{place}: is not valid TOML ({problem}); mend that line") from None
    top = _Table(str(path), text.splitlines(), 0, "rules file", tables)
    top.only(("rule", CHURN))
    rules = tuple(_rule(table) for table in top.tables("rule"))
    churn = [_churn_rule(table) for table in top.tables(CHURN)]
    seen = set()
    for table in [*top.tables("rule"), *top.tables(CHURN)]:
        if table.values["name"] in seen:
            raise table.wrong("name", "is used twice; give each rule its own, alerts are told apart by it")
        seen.add(table.values["name"])
    return Rules(rules, churn[0] if churn else None)


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file and where it starts, so that every complaint can name its line."""

    file: str
    lines: list[str]
    start: int
    label: str
    values: dict[str, Any]

    def wrong(self, key: str, problem: str) -> RulesError:
        """The error for a key's value, or for its absence."""
        given = f"{_shown(key, self.values[key])} " if key in self.values else ""
        return RulesError(f"{self.file}:{self._line(key) + 1}: {self.label}: {given}{problem}")

    def _line(self, key: str) -> int:
        """The index of the line that sets a key of this table; the table's own line if none does."""
        if key in self.values:
            pattern = re.compile(rf"""(?:^|[\[{{,\s.])["']?{re.escape(key)}["']?\s*[=\]]""")
            for index in range(self.start, len(self.lines)):
                if pattern.search(self.lines[index].partition("#")[0]):
                    return index
        return self.start

    def tables(self, name: str) -> list[_Table]:
        """The tables of a name: those of ``[[name]]``, or the one of ``[name]``."""
        value = self.values.get(name, [])
        header = f"[{name}]" if name == CHURN else f"[[{name}]]"
        items = [value] if name == CHURN and name in self.values else value
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.wrong(name, f"is not written as a table; write {header} above its keys")
        opening = re.compile(rf"\s*(\[\[?\s*{name}\s*\]|{name}\s*=)")
        starts = [index for index, line in enumerate(self.lines) if opening.match(line)] or [self.start]
        found = []
        for index, item in enumerate(items):
            start = starts[min(index, len(starts) - 1)]
            found.append(_Table(self.file, self.lines, start, f'{name} "{item.get("name", "")}"', item))
        return found

    def inner(self, key: str, example: str) -> _Table:
        """A table within this one."""
        values = self.take(key, dict, example)
        return _Table(self.file, self.lines, self._line(key), f"{self.label} {key}", values)

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that are not known."""
        for key in self.values:
            if key not in known:
                raise self.wrong(key, f"has an unknown name; {_nearest(key, known)}")

    def take(self, key: str, kind: type, example: str, *, needed: bool = True) -> Any:
        """A value of a type, or None where it is absent and not needed."""
        if key not in self.values:
            if needed:
                raise self.wrong(key, f"{key} is missing; write {key} = {example}")
            return None
        value = self.values[key]
        kinds = (int, float) if kind is float else kind
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise self.wrong(key, f"has the wrong type; write {key} = {example}")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """A value out of a list of names."""
        options = tuple(allowed)
        value = self.take(key, str, f'"{options[0]}"', needed=default is None)
        if value is None and default is not None:
            return default
        if value not in options:
            raise self.wrong(key, f"is unknown; {_nearest(value, options)}")
        return str(value)

    def number(self, key: str, example: str, highest: float) -> float:
        """A number above 0 and not above ``highest``."""
        value = self.take(key, float, example)
        if not 0 < value <= highest:
            end = f" and at most {highest:g} (a share: 0.5 is 50 %)" if highest == 1 else ""
            raise self.wrong(key, f"is out of range; write a number above 0{end}, such as {example}")
        return float(value)

    def name(self) -> str:
        """The rule's name, which goes into fingerprints, labels and summaries."""
        value = str(self.take("name", str, '"optout-spike"'))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value):
            raise self.wrong("name", 'may hold letters, digits, ".", "_" and "-", such as "optout-spike"')
        return value

    def runbook(self) -> str | None:
        """The address of what to do, for a person."""
        value: str | None = self.take("runbook", str, '"https://…"', needed=False)
        if value is not None and not re.match(r"https?://\S+$", value):
            raise self.wrong("runbook", "is no address; write one that starts with https://")
        return value


def _shown(key: str, value: Any) -> str:
    """A key and its value as the file has them, a whole table by its name only."""
    if value and isinstance(value, (dict, list)):
        return key
    return f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value).lower())


def _nearest(value: str, options: Iterable[str]) -> str:
    names = tuple(options)
    known = ", ".join(names)
    for close in get_close_matches(value, names, n=1, cutoff=0.5):
        return f'did you mean "{close}"' + ("?" if len(names) > 6 else f", out of {known}?")
    return f"use one of {known}"


def _rule(table: _Table) -> Rule:
    table.only(_RULE_KEYS)
    name, kind = table.name(), table.choice("kind", KINDS)
    dimension = Dimension(table.choice("dimension", tuple(Dimension)))
    rate = _metric(table, dimension)
    numerator_window, denominator_window = _windows(table, rate)
    direction = table.choice("direction", ("above", "below"), "above")
    levels, resolve = _levels(table, rate, direction)
    evidence = table.take("minimum_denominator", int, "200")
    if evidence < 1:
        raise table.wrong("minimum_denominator", "is out of range; write a whole number from 1 on")
    return Rule(
        name=name,
        kind=kind,
        dimension=dimension,
        metric=rate.name,
        numerator_window=numerator_window,
        denominator_window=denominator_window,
        direction=direction,
        levels=levels,
        resolve=resolve,
        minimum_denominator=evidence,
        wait_ms=_duration(table, "for"),
        keys=table.take("keys", str, '"spring-*"', needed=False),
        runbook=table.runbook(),
    )


def _metric(table: _Table, dimension: Dimension) -> Rate:
    metric = table.take("metric", str, '"ctr"')
    if metric in COUNT_BY_NAME:
        raise table.wrong("metric", f"is a count, and rules judge rates; {_nearest(metric, RATE_BY_NAME)}")
    rate = RATE_BY_NAME[table.choice("metric", RATE_BY_NAME)]
    if dimension not in rate.dimensions:
        valid = ", ".join(sorted(rate.dimensions))
        raise table.wrong("metric", f'does not exist in dimension "{dimension}"; use it in one of {valid}')
    return rate


def _windows(table: _Table, rate: Rate) -> tuple[str, str]:
    """The numerator's and the denominator's window; ``window`` stands for both."""
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


def _levels(table: _Table, rate: Rate, direction: str) -> tuple[tuple[tuple[str, float], ...], float]:
    """The levels from mild to severe, and where a firing alert resolves."""
    highest = 1 if rate.interval else 1e12
    levels = tuple((name, table.number(name, "0.01", highest)) for name in SEVERITIES if name in table.values)
    if not levels:
        raise table.wrong("warning", "no level is given; write warning = 0.01 or critical = 0.02, or both")
    sign = 1 if direction == "above" else -1
    if len(levels) == 2 and sign * (levels[1][1] - levels[0][1]) <= 0:
        raise table.wrong("critical", f"is not worse than warning; write one {direction} {levels[0][1]:g}")
    resolve = table.number("resolve", f"{levels[0][1]:g}", highest)
    if sign * (levels[0][1] - resolve) < 0:
        side = f"at {'most' if sign == 1 else 'least'} {levels[0][1]:g}, the mildest level"
        raise table.wrong("resolve", f"is on the wrong side; with direction {direction} write {side}")
    return levels, resolve


def _duration(table: _Table, key: str) -> int:
    """A duration in milliseconds, 0 where it is absent."""
    text = table.take(key, str, '"2h"', needed=False)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", "0s" if text is None else text)
    if match is None:
        raise table.wrong(key, "is no duration; write a number and a unit, such as 90s, 10m or 2h")
    return round(float(match[1]) * _UNITS[match[2]])


def _churn_rule(table: _Table) -> ChurnRule:
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
    return ChurnRule(table.name(), bands, alert_from, resolve, severities, table.runbook())


def _bands(table: _Table) -> tuple[tuple[str, float], ...]:
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
