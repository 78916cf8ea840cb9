"""``stream-app rules``: check a file of alert rules, and run the tests of one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.message import alert_json
from stream_app.alerts.rules import load_rules
from stream_app.alerts.wording import summary
from stream_app.backtest.rule_runner import Outcome, run_tests
from stream_app.backtest.rule_tests import ExpectedAlert
from stream_app.backtest.rule_tests_file import load_rule_tests
from stream_app.output import json_line, printable, result
from stream_app.settings import Settings, format_duration

_LONGEST_SENTENCE = 400


def check(settings: Settings, file: Path | None, as_json: bool) -> int:
    """Load a rules file, the settings' or the shipped one if None; 0.

    Raises:
        RulesError: it is wrong.
    """
    path = file or settings.rules
    rules = load_rules(path, settings)
    names = [rule.name for rule in rules.rules] + ([rules.churn.name] if rules.churn else [])
    if as_json:
        json_line({"file": None if path is None else str(path), "ok": True, "rules": names})
    else:
        count = "1 rule is" if len(names) == 1 else f"{len(names)} rules are"
        result(f"{path or 'the shipped rules'}: {count} fine")
    return 0


def test(settings: Settings, files: list[Path], as_json: bool) -> int:
    """Run the tests of the files; 1 if something was not as expected, else 0.

    Raises:
        RuleTestsError: a file of tests is wrong.
        RulesError: the rules file that one names is wrong.
    """
    loaded = [load_rule_tests(file) for file in files]
    met = failed = 0
    for tests in loaded:
        for outcome in run_tests(tests, settings):
            met += outcome.is_met
            failed += not outcome.is_met
            if as_json:
                json_line(_json(tests.file, outcome))
            elif not outcome.is_met:
                _show(tests.file, outcome)
    if not as_json:
        count = sum(len(tests.tests) for tests in loaded)
        words = f"{failed} of {met + failed} expectations FAILED" if failed else f"all {met} expectations met"
        result(f"{words}, in {count} {'test' if count == 1 else 'tests'}")
    return 1 if failed else 0


def _show(file: str, outcome: Outcome) -> None:
    """What was expected and what there was instead, as a test runner shows it."""
    expectation, start_ms = outcome.expectation, outcome.test.start_ms
    result(f"FAILED {file}:{expectation.line}: {outcome.test.name}, at {format_duration(expectation.at_ms)}")
    for alert, got in outcome.missed:
        result(f"  expected  {alert.words()}")
        result(f"  got       {'nothing of it' if got is None else _words(got, alert, start_ms)}")
    for change in outcome.unexpected:
        result(f"  not expected  {_words(change, None, start_ms)}")
    result("")


def _words(change: AlertChange, alert: ExpectedAlert | None, start_ms: int) -> str:
    """An alert as it is, in the words of what was expected of it, and its sentence."""
    got = ExpectedAlert(
        rule=change.rule,
        key=f"{change.dimension}:{change.key}",
        state=change.state,
        severity=change.severity,
        band=change.band,
        value=change.value,
        numerator=None if alert is None or alert.numerator is None else change.numerator,
        denominator=None if alert is None or alert.denominator is None else change.denominator,
        since_ms=change.started_at_ms - start_ms,
    )
    return f"{got.words()}\n            {printable(summary(change), _LONGEST_SENTENCE)}"


def _json(file: str, outcome: Outcome) -> dict[str, object]:
    expectation = outcome.expectation
    return {
        "file": file,
        "line": expectation.line,
        "test": outcome.test.name,
        "at": format_duration(expectation.at_ms),
        "ok": outcome.is_met,
        "missed": [
            {"expected": alert.words(), "got": None if got is None else alert_json(got)}
            for alert, got in outcome.missed
        ],
        "unexpected": _alerts(outcome.unexpected),
    }


def _alerts(changes: Iterable[AlertChange]) -> list[dict[str, object]]:
    return [alert_json(change) for change in changes]
