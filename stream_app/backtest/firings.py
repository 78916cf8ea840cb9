"""From changes of alerts to firings: what fired, from when to when, and how bad it became. Pure.

Stands behind the judges. Only what fires now is held, so that memory does not grow with what has fired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from stream_app.alerts.lifecycle import FIRING, PENDING, RESOLVED, AlertChange
from stream_app.alerts.message import alert_id, alert_json
from stream_app.alerts.rules import SEVERITIES, Rules
from stream_app.clock import DAY_MS, SECOND_MS, to_rfc3339

STILL_FIRING: Final = FIRING


@dataclass(frozen=True, slots=True)
class Firing:
    """One firing of an alert. ``began`` is the change with which it began to fire, ``worst`` the first of its highest
    severity, ``ended`` the one that resolved it; None while it fires."""

    began: AlertChange
    worst: AlertChange
    ended: AlertChange | None = None

    @property
    def severity(self) -> str:
        """The highest severity it reached."""
        return self.worst.severity

    @property
    def ended_ms(self) -> int | None:
        """When it resolved; None if it did not."""
        return None if self.ended is None else self.ended.as_of_ms

    def lasted_ms(self, now_ms: int) -> int:
        """For how long it fired, or has been firing by now."""
        end_ms = now_ms if self.ended_ms is None else self.ended_ms
        return max(0, end_ms - self.began.as_of_ms)

    def to_json(self, now_ms: int) -> dict[str, Any]:
        """The alert as its topic has it at its worst, with how it began and how it stood at the end."""
        ended_ms = self.ended_ms
        return alert_json(self.worst) | {
            "id": alert_id(self.began),
            "state": STILL_FIRING if ended_ms is None else RESOLVED,
            "ended_at": None if ended_ms is None else to_rfc3339(ended_ms),
            "seconds": self.lasted_ms(now_ms) / SECOND_MS,
        }


class Firings:
    """Gathers the changes that one judge tells."""

    def __init__(self) -> None:
        self._open: dict[str, Firing] = {}

    def tell(self, change: AlertChange) -> Firing | None:
        """Take the next change; returns the firing that it ended, if it did."""
        name = change.fingerprint
        if change.state == PENDING:
            return None
        if change.state == RESOLVED:
            return replace(self._open.pop(name), ended=change)
        held = self._open.get(name)
        if held is None:
            self._open[name] = Firing(change, change)
        elif SEVERITIES.index(change.severity) > SEVERITIES.index(held.severity):
            self._open[name] = replace(held, worst=change)
        return None

    def is_open(self, fingerprint: str) -> bool:
        """Whether an alert fires now."""
        return fingerprint in self._open

    def still_open(self) -> list[Firing]:
        """All that fires now, the oldest first."""
        return sorted(
            self._open.values(), key=lambda firing: (firing.began.as_of_ms, firing.began.fingerprint)
        )


@dataclass(slots=True)
class RuleSummary:
    """What became of one rule's alerts. ``pending`` is how often one began to wait; ``longest_ms`` what fired longest."""

    rule: str
    pending: int = 0
    fired: int = 0
    resolved: int = 0
    longest_ms: int = 0

    def to_json(self, span_ms: int) -> dict[str, Any]:
        """For a program; see ``per_day``."""
        return {
            "rule": self.rule,
            "fired": self.fired,
            "resolved": self.resolved,
            "still_firing": self.fired - self.resolved,
            "pending": self.pending,
            "longest_seconds": self.longest_ms / SECOND_MS,
            "per_day": self.per_day(span_ms),
        }

    def per_day(self, span_ms: int) -> float | None:
        """How often it fired in a day of event time; None where the events do not span a day."""
        return None if span_ms < DAY_MS else self.fired / (span_ms / DAY_MS)


class Summary:
    """A summary of each rule of a file, those that never fired too."""

    def __init__(self, rules: Rules) -> None:
        names = [rule.name for rule in rules.rules] + ([rules.churn.name] if rules.churn else [])
        self._by_rule = {name: RuleSummary(name) for name in names}

    def tell(self, change: AlertChange) -> None:
        """Take the next change that the rules told."""
        held = self._by_rule[change.rule]
        held.pending += change.state == PENDING
        held.fired += change.state == FIRING and change.revision == 0

    def end(self, firing: Firing, now_ms: int) -> None:
        """Take a firing that is over, or one that is still open at the end."""
        held = self._by_rule[firing.began.rule]
        held.resolved += firing.ended is not None
        held.longest_ms = max(held.longest_ms, firing.lasted_ms(now_ms))

    def rules(self) -> Iterable[RuleSummary]:
        """In the order of the file."""
        return self._by_rule.values()
