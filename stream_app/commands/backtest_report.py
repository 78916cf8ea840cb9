"""What a backtest prints: tables for a person once all is known, or JSON lines for a program as it becomes known."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, Protocol

from stream_app.alerts.wording import summary
from stream_app.backtest.comparison import DIFFERS, ONLY_HERE, SAME, Pair
from stream_app.backtest.firings import RuleSummary
from stream_app.backtest.trial import Trial
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.commands.tally import listed
from stream_app.ingest.decode import Reason
from stream_app.output import json_line, printable, result, say
from stream_app.settings import ENV_PREFIX

FIRINGS_SHOWN = 500
"""To a person; a program gets all."""
_MANY_LATE = 0.01
_LONGEST_SENTENCE = 400


class Run(NamedTuple):
    """What became of the lines: how many were valid events, how many were not counted by reason, and how long it took."""

    events: int
    refused: Counter[str]
    seconds: float


class Report(Protocol):
    """What is told of a trial."""

    def tell(self, pair: Pair, now_ms: int) -> None:
        """A firing is over, with its counterpart if rules are compared; ``now_ms`` is the newest event time."""

    def finish(self, trial: Trial, run: Run) -> None:
        """All is told."""


class JsonReport:
    """One JSON object a line: each ``alert`` or ``difference``, each ``rule``, and last the ``backtest``."""

    def __init__(self, names: tuple[str, str], is_comparison: bool) -> None:
        self._names = names
        self._is_comparison = is_comparison
        self._same = 0

    def tell(self, pair: Pair, now_ms: int) -> None:
        """See ``Report``."""
        if not self._is_comparison:
            json_line({"type": "alert", **pair.shown.to_json(now_ms)})
        elif pair.verdict == SAME:
            self._same += 1
        else:
            json_line({"type": "difference", **pair.to_json(now_ms)})

    def finish(self, trial: Trial, run: Run) -> None:
        """See ``Report``."""
        for name, rules in zip(self._names, trial.summaries, strict=False):
            for rule in rules.rules():
                json_line({"type": "rule", "file": name, **rule.to_json(trial.span_ms)})
        replay = trial.replay
        line: dict[str, Any] = {
            "type": "backtest",
            "events": run.events,
            "counted": replay.accepted,
            "duplicates": replay.duplicates,
            "refused": dict(run.refused),
            "first": to_rfc3339(replay.first_ms),
            "last": to_rfc3339(replay.newest_ms),
            "seconds": round(run.seconds, 3),
            "events_per_second": round(run.events / run.seconds, 1),
        }
        json_line(line | ({"same": self._same} if self._is_comparison else {}))


class PlainReport:
    """A table of what fired or differs, a summary of each rule, and a sentence on the events."""

    def __init__(self, names: tuple[str, str], is_comparison: bool) -> None:
        self._names = names
        self._is_comparison = is_comparison
        self._pairs: list[Pair] = []
        self._hidden = 0
        self._same = 0

    def tell(self, pair: Pair, now_ms: int) -> None:
        """See ``Report``."""
        if self._is_comparison and pair.verdict == SAME:
            self._same += 1
        elif len(self._pairs) < FIRINGS_SHOWN:
            self._pairs.append(pair)
        else:
            self._hidden += 1

    def finish(self, trial: Trial, run: Run) -> None:
        """See ``Report``."""
        self._pairs.sort(key=lambda pair: pair.shown.began.as_of_ms)
        rows = [row for pair in self._pairs for row in self._rows(pair, trial.replay.newest_ms)]
        if rows:
            _table(["fired", "for", "severity", "rule", "what"], rows)
        if self._hidden:
            result(f"… and {self._hidden:,} more; --json prints all")
        if self._is_comparison:
            differences = len(self._pairs) + self._hidden
            result(f"told differently: {differences:,}; the same: {self._same:,}")
        elif not rows:
            result("nothing would have fired")
        for name, rules in zip(self._names, trial.summaries, strict=False):
            result("")
            header = [f"rule of {name}", "fired", "resolved", "firing", "pending", "longest", "a day"]
            _table(header, [_summary_row(rule, trial.span_ms) for rule in rules.rules()])
        result("")
        result(_events(trial, run))
        _warn_of_disorder(trial, run)

    def _rows(self, pair: Pair, now_ms: int) -> list[list[str]]:
        firing = pair.shown
        lasted = "still firing" if firing.ended is None else spelled(firing.lasted_ms(now_ms))
        about = printable(summary(firing.worst), _LONGEST_SENTENCE)
        row = [_time(firing.began.as_of_ms), lasted, firing.severity, firing.began.rule, about]
        if not self._is_comparison:
            return [row]
        here, there = self._names
        if pair.verdict == DIFFERS:
            return [row, ["", "", "", "", f"└ compared with {there}: {_difference(pair)}"]]
        return [row, ["", "", "", "", f"└ only by {here if pair.verdict == ONLY_HERE else there}"]]


def spelled(duration_ms: int) -> str:
    """A duration in its largest two units."""
    rest, said = duration_ms, []
    for unit, length in (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS)):
        count, rest = divmod(rest, length)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2]) or "less than 1 s"


def _difference(pair: Pair) -> str:
    """How a firing differs from its counterpart."""
    here, there, ends_later_ms = pair.here, pair.there, pair.ends_later_ms
    said = []
    if pair.begins_later_ms:
        side = "later" if pair.begins_later_ms > 0 else "earlier"
        said.append(f"fires {spelled(abs(pair.begins_later_ms))} {side}")
    if ends_later_ms:
        said.append(f"resolves {spelled(abs(ends_later_ms))} {'later' if ends_later_ms > 0 else 'earlier'}")
    if here is not None and there is not None:
        if ends_later_ms is None and here.ended_ms != there.ended_ms:
            said.append("still fires" if here.ended is None else "resolves, which the other does not")
        if here.severity != there.severity:
            said.append(f"is {here.severity} instead of {there.severity}")
    return ", ".join(said)


def _summary_row(rule: RuleSummary, span_ms: int) -> list[str]:
    per_day = rule.per_day(span_ms)
    return [
        rule.rule,
        f"{rule.fired:,}",
        f"{rule.resolved:,}",
        f"{rule.fired - rule.resolved:,}",
        f"{rule.pending:,}",
        spelled(rule.longest_ms) if rule.fired else "–",
        "–" if per_day is None else f"{per_day:.3g}",
    ]


def _events(trial: Trial, run: Run) -> str:
    replay = trial.replay
    refused = f"{run.refused.total():,} refused ({listed(run.refused)})" if run.refused else "none refused"
    return (
        f"events: {replay.accepted:,} counted, {replay.duplicates:,} duplicates, {refused}; "
        f"from {_time(replay.first_ms)} to {_time(replay.newest_ms)} (UTC), "
        f"in {run.seconds:.1f} s ({run.events / run.seconds:,.0f} events/s)"
    )


def _warn_of_disorder(trial: Trial, run: Run) -> None:
    late = run.refused[Reason.LATE]
    if late > _MANY_LATE * run.events:
        say(
            f"{late:,} events came too late to be counted: the order of the lines is taken for the order of arrival; "
            f"sort them by event_time, or raise {ENV_PREFIX}ALLOWED_LATENESS"
        )


def _time(time_ms: int) -> str:
    """To the second, without letters: ``2026-11-22 10:00:10``."""
    return to_rfc3339(time_ms)[:19].replace("T", " ")


def _table(header: list[str], rows: list[list[str]]) -> None:
    """Columns as wide as their content; the last as it is."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header) - 1)]
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        result("  ".join([*cells, row[-1]]).rstrip())
