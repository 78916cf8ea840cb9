"""What a rule sees: the numbers of one key at one time, and what they amount to. Stands before ``lifecycle``.

``detection`` makes observations of rates, ``echo_chamber`` of campaigns, ``silence`` of counts that stay away,
``spike_watch`` of counts that are too many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from stream_app.alerts.rule import Condition, Rule

Counts = Callable[[str], Mapping[str, float]]
"""The counts of a window, by the window's name, as shown (seconds, not milliseconds)."""


class Look(Protocol):
    """What rules may ask of one key's numbers as of a time; called with a window's name it gives the window's counts."""

    def __call__(self, window: str, /) -> Mapping[str, float]: ...

    def last_ms(self, count: str) -> int | None:
        """The end of the newest pane of the longest window that has any of a count; None where none has."""

    def complete_ms(self) -> int:
        """Up to when all is counted: later events can only belong after it."""

    def held_from_ms(self) -> int:
        """From when on panes are held; of what is older only the total is known."""

    def count_between(self, count: str, begin_ms: int, end_ms: int) -> float:
        """A count of the panes between two times, both on edges of panes, and of what is held."""


class Evidence(StrEnum):
    """Whether an observation can say anything.

    ``THIN``: there is less than the rule's minimum. ``QUIET``: nothing new for the longest window, so that the matter
    is over and nobody can act on it.
    """

    ENOUGH = "enough"
    THIN = "thin"
    QUIET = "quiet"


class Observation(NamedTuple):
    """A metric as a rule sees it now.

    ``baseline`` is what is usual, None where that is not known. ``severity`` is the highest level breached. ``held`` is
    the highest level that a firing alert would keep: it lags behind ``severity`` by the rule's hysteresis. Without
    enough evidence to judge, both are None. ``levels`` and ``resolve`` are those of the rule as values of the metric,
    where that depends on the baseline; empty and None where the rule's own stand. ``chance`` is how likely a spike is
    on a day without one. ``suspected`` is how much of the numerator may be the work of machines, where that is counted.
    ``reasons`` are sentences for a person, where the numbers here do not say it all.
    """

    value: float | None
    numerator: float | None
    denominator: float | None
    low: float | None
    high: float | None
    baseline: float | None
    evidence: Evidence
    severity: str | None
    held: str | None
    levels: tuple[tuple[str, float], ...] = ()
    resolve: float | None = None
    chance: float | None = None
    suspected: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def may_resolve(self) -> bool:
        """Whether a firing alert has no reason left to fire."""
        return self.held is None

    def threshold(self, rule: Rule, severity: str) -> float | None:
        """The level of a severity as a value of the metric, or of the mildest where the rule has none of it; None for a
        spike, whose levels are chances."""
        if rule.condition is Condition.SPIKE:
            return None
        levels = self.levels or rule.levels
        return dict(levels).get(severity, levels[0][1])
