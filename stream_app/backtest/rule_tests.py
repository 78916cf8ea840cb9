"""What a file of rule tests says: series of counts, and which alerts they have to cause. Pure.

Stands before ``rule_runner``, which runs it. docs/how-to/backtest.md explains every key; ``rule_tests_file`` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

from stream_app.alerts.lifecycle import FIRING, PENDING, RESOLVED, AlertChange
from stream_app.alerts.rules import Rules
from stream_app.churn.facts import ChurnFacts
from stream_app.settings import format_duration

STATES = (FIRING, PENDING, RESOLVED)
_AS_EXACT = 0.005
"""How far a value may be from what is expected, as a share of it."""


@dataclass(frozen=True)
class Series:
    """The counts of one key (``dimension:key``) by their name, a number for each interval; as shown (seconds).
    ``segment`` is where a campaign's deliveries went; ``""`` is nowhere."""

    key: str
    counts: Mapping[str, tuple[float, ...]]
    segment: str = ""


@dataclass(frozen=True)
class KnownCustomer:
    """What is known of a customer from a time on, in milliseconds since the test's start."""

    customer_id: str
    at_ms: int
    facts: ChurnFacts
    opted_out: bool


@dataclass(frozen=True)
class ExpectedAlert:
    """An alert as it has to be; what is None may be anything. ``since_ms`` is when its state began, in milliseconds since
    the test's start."""

    rule: str
    key: str
    state: str
    severity: str | None = None
    value: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    band: str | None = None
    since_ms: int | None = None

    def is_about(self, change: AlertChange) -> bool:
        """Whether it means the alert of a change, in whatever state."""
        return (self.rule, self.key) == (change.rule, f"{change.dimension}:{change.key}")

    def fits(self, change: AlertChange, start_ms: int) -> bool:
        """Whether an alert, as it was told last, is as it has to be."""
        plain = [
            (self.state, change.state),
            (self.severity, change.severity),
            (self.band, change.band),
            (None if self.since_ms is None else start_ms + self.since_ms, change.started_at_ms),
        ]
        numbers = [
            (self.value, change.value),
            (self.numerator, change.numerator),
            (self.denominator, change.denominator),
        ]
        return all(want is None or want == got for want, got in plain) and all(
            want is None or (got is not None and isclose(want, got, rel_tol=_AS_EXACT))
            for want, got in numbers
        )

    def words(self) -> str:
        """On one line, for a person."""
        said = [self.rule, self.key, self.state]
        said += [text for text in (self.severity, self.band) if text]
        numbers = {"value": self.value, "numerator": self.numerator, "denominator": self.denominator}
        said += [f"{name} {number:g}" for name, number in numbers.items() if number is not None]
        return "  ".join(
            said if self.since_ms is None else [*said, f"since {format_duration(self.since_ms)}"]
        )


@dataclass(frozen=True)
class Expectation:
    """Which alerts there have to be at a time, in milliseconds since the test's start, and no others that are pending or
    firing: of one rule, or of all if ``rule`` is None. ``line`` is where the file says so."""

    line: int
    at_ms: int
    rule: str | None
    alerts: tuple[ExpectedAlert, ...]


@dataclass(frozen=True)
class RuleTest:
    """One test: what comes, and what is expected of it, in order of time."""

    name: str
    start_ms: int
    interval_ms: int
    series: tuple[Series, ...]
    customers: tuple[KnownCustomer, ...]
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class RuleTests:
    """All tests of a file, and the rules that they are about."""

    file: str
    rules: Rules
    tests: tuple[RuleTest, ...]
