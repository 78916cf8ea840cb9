"""Tests of alert rules: the shipped rules', what a run says, and every mistake in a file with its line and mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app.alerts.rules import SHIPPED, RulesError, load_rules
from stream_app.backtest.rule_runner import run_tests
from stream_app.backtest.rule_tests_file import load_rule_tests
from stream_app.commands import rules as command
from stream_app.settings import Settings

SHIPPED_TESTS = SHIPPED.with_name("rules_test.toml")
GOOD = """\
[[test]]
name = "carts"
start = 2026-03-02T09:00:00+01:00
interval = "10m"

[[test.series]]
key = "all:all"
carts_abandoned = "0x5 50x6"
carts_purchased = [10, 10, 10]

[[test.series]]
key = "campaign:one"
segment = "loyal"
deliveries = "10+10x3"

[[test.customer]]
id = "ada"
at = "1h"
unanswered = 12
answered_before = true

[[test.expect]]
at = "30m"
alerts = []

[[test.expect]]
at = "2h"
alerts = [
  { rule = "abandonment-high", key = "all:all", severity = "critical" },
  { rule = "churn-risk", key = "customer:ada", band = "at_risk", value = 0.8999 },
]
"""

Printed = Callable[[], str]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "tests.toml"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return lambda: capsys.readouterr().out


# --- The shipped rules ---


def test_the_shipped_rules_do_what_their_tests_say() -> None:
    missed = [
        outcome for outcome in run_tests(load_rule_tests(SHIPPED_TESTS), Settings()) if not outcome.is_met
    ]
    assert missed == []


def test_every_shipped_rule_is_tested_to_fire() -> None:
    rules = load_rules()
    names = {rule.name for rule in rules.rules} | ({rules.churn.name} if rules.churn else set())
    fired = {
        alert.rule
        for one in load_rule_tests(SHIPPED_TESTS).tests
        for expectation in one.expectations
        for alert in expectation.alerts
        if alert.state == "firing"
    }
    assert fired == names


# --- What a run says ---


def test_a_run_that_meets_all_says_so(written: Callable[[str], Path], printed: Printed) -> None:
    assert command.test(Settings(), [written(GOOD)], as_json=False) == 0
    assert printed() == "all 2 expectations met, in 1 test\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'severity = "critical"',
            'severity = "warning"',
            [
                "tests.toml:26: carts, at 2h",
                "  expected  abandonment-high  all:all  firing  warning",
                "  got       abandonment-high  all:all  firing  critical  value ",
            ],
        ),
        ('"customer:ada"', '"customer:eve"', ["  got       nothing of it", "  not expected  churn-risk"]),
        ("value = 0.8999 ", "value = 0.8 ", ["at_risk  value 0.8", "at_risk  value 0.8999"]),
        ('severity = "critical"', 'state = "pending"', ["all:all  pending", "all:all  firing  critical"]),
        ('severity = "critical"', 'state = "resolved"', ["all:all  resolved", "all:all  firing  critical"]),
        ('severity = "critical"', 'since = "1h"', ["  firing  since 1h", "  since 90m"]),
        ('severity = "critical"', "numerator = 1", ["firing  numerator 1", "  numerator "]),
        ('alerts = []', 'alerts = [{ rule = "churn-risk", key = "customer:ada" }]', ["nothing of it"]),
    ],
)  # fmt: skip
def test_what_is_not_as_expected_is_shown_with_what_there_was(
    written: Callable[[str], Path], printed: Printed, old: str, new: str, said: list[str]
) -> None:
    assert command.test(Settings(), [written(GOOD.replace(old, new, 1))], as_json=False) == 1
    out = printed()
    assert all(words in out for words in said), out
    assert out.splitlines()[-1].endswith("expectations FAILED, in 1 test")


def test_an_expectation_of_one_rule_minds_no_other(written: Callable[[str], Path], printed: Printed) -> None:
    expected = '{ rule = "churn-risk", key = "customer:ada", band = "at_risk", value = 0.8999 },'
    all_of_them, of_one = GOOD.replace(expected, ""), GOOD.replace('"2h"', '"2h"\nrule = "abandonment-high"')
    assert command.test(Settings(), [written(all_of_them)], as_json=False) == 1
    assert "  not expected  churn-risk  customer:ada" in printed()
    assert command.test(Settings(), [written(of_one.replace(expected, ""))], as_json=False) == 0


def test_a_program_gets_one_line_for_each_expectation(
    written: Callable[[str], Path], printed: Printed
) -> None:
    path = written(GOOD.replace('severity = "critical"', 'severity = "warning"'))
    assert command.test(Settings(), [path], as_json=True) == 1
    first, second = map(json.loads, printed().splitlines())
    assert (first["ok"], first["at"], first["line"]) == (True, "30m", 22)
    assert (second["ok"], second["test"], second["unexpected"]) == (False, "carts", [])
    (missed,) = second["missed"]
    assert missed["expected"] == "abandonment-high  all:all  firing  warning"
    assert missed["got"]["severity"] == "critical"


def test_the_rules_file_lies_beside_the_tests(written: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("", "utf-8")
    path = written(f'rules = "own.toml"\n{GOOD}')
    with pytest.raises(RulesError, match=r"tests.toml:1: .* names a file without any rule; name one with"):
        load_rule_tests(path)
    (tmp_path / "own.toml").write_text(
        SHIPPED.read_text("utf-8").replace("abandonment-high", "mine"), "utf-8"
    )
    with pytest.raises(RulesError, match='rule = "abandonment-high" is unknown'):
        load_rule_tests(path)
    (tmp_path / "own.toml").write_text("[[rule]]\n", "utf-8")
    with pytest.raises(RulesError, match=r"own.toml:1: .* is missing"):
        load_rule_tests(path)


def test_check_says_that_a_rules_file_is_fine(tmp_path: Path, printed: Printed) -> None:
    assert command.check(Settings(), SHIPPED, as_json=False) == 0
    assert printed() == f"{SHIPPED}: {len(load_rules().rules) + 1} rules are fine\n"
    assert command.check(Settings(), None, as_json=True) == 0
    assert json.loads(printed())["ok"] is True
    with pytest.raises(RulesError, match="cannot be read"):
        command.check(Settings(), tmp_path / "none.toml", as_json=False)


# --- Mistakes in a file ---


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[[test]]", "[[tset]]", 1, 'has an unknown name; did you mean "test"'),
        ('name = "carts"', "", 1, "name is missing; write name ="),
        ('name = "carts"', 'nmae = "carts"', 2, 'nmae = "carts" has an unknown name; did you mean "name"'),
        ('interval = "10m"', 'interval = "7s"', 4, 'interval = "7s" is no multiple of 10s'),
        ('interval = "10m"', 'interval = "soon"', 4, 'interval = "soon" is no duration; write a number and a unit'),
        ("+01:00", "", 3, "needs an offset and full tens of seconds, such as 2026-01-05T00:00:00Z"),
        ("09:00:00+", "09:00:01+", 3, "needs an offset and full tens of seconds"),
        ("2026-03-02T09:00:00+01:00", '"monday"', 3, "has the wrong type; write start = 2026-01-05T00:00:00Z"),
        ('key = "all:all"', 'key = "all"', 7, 'key = "all" names no dimension; write dimension:key'),
        ('key = "all:all"', 'key = "al:all"', 7, 'is of an unknown dimension; did you mean "all"'),
        ('key = "all:all"', 'key = "all:some"', 7, 'dimension "all" has one key, all:all'),
        ("carts_abandoned", "carts_abandonned", 8, 'has an unknown name; did you mean "carts_abandoned"'),
        ("carts_abandoned", "lost_before", 8, 'is no count of dimension "all"'),
        ("carts_abandoned", "abandoned_value", 8, 'is no count of dimension "all"; did you mean'),
        ('"0x5 50x6"', '"0x5 many"', 8, '"many" is no number and no row of them; write 5, 5x3'),
        ('"0x5 50x6"', '"9-3x6"', 8, '"9-3x6" falls to -9; counts are never below 0'),
        ("[10, 10, 10]", '[10, "10"]', 9, 'is no series; write carts_purchased = "0+10x5"'),
        ("[10, 10, 10]", "[10, -1]", 9, "is no series; write"),
        ('segment = "loyal"', "segment = 7", 13, 'segment = 7 has the wrong type; write segment = "loyal"'),
        ('id = "ada"', "", 16, 'id is missing; write id = "ada"'),
        ("unanswered = 12", "unanswred = 12", 19, 'has an unknown name; did you mean "unanswered"'),
        ("unanswered = 12", "unanswered = true", 19, "has the wrong type; write unanswered = 6"),
        ("answered_before = true", "answered_before = 1", 20, "has the wrong type; write answered_before = true"),
        ("answered_before = true", "opted_out = 1", 20, "has the wrong type; write opted_out = true"),
        ('at = "30m"', "", 22, 'at is missing; write at = "2h"'),
        ('at = "30m"', 'at = "900d"', 23, 'at = "900d" is too late; a test may last 400d'),
        ('at = "30m"', 'at = "30m"\nrule = "optout-spice"', 24, 'is unknown; did you mean "optout-spike"'),
        ("alerts = []", "", 22, "alerts is missing; write alerts ="),
        ("alerts = []", "alerts = [1]", 24, "alerts holds what is no table; write alerts ="),
        ('rule = "abandonment-high", ', "", 29, "rule is missing"),
        ('"abandonment-high"', '"abandonment-hihg"', 29, 'is unknown; did you mean "abandonment-high"'),
        ('key = "customer:ada"', 'key = "campaign:ada"', 30, 'is not what rule "churn-risk" watches; write customer:…'),
        ('severity = "critical"', 'severity = "bad"', 29, "is unknown; use one of warning, critical"),
        ('severity = "critical"', 'state = "fired"', 29, 'did you mean "firing", out of firing, pending, resolved?'),
        ("value = 0.8999 ", 'value = "0.7" ', 30, "has the wrong type; write value = 0.02"),
        ('band = "at_risk"', "band = 3", 30, 'has the wrong type; write band = "at_risk"'),
        ('severity = "critical"', "severty = 1", 29, 'has an unknown name; did you mean "severity"'),
        ("[[test.series]]", "[[test.serie]]", 6, 'has an unknown name; did you mean "series"'),
        ('start = 2026-03-02T09:00:00+01:00', "start = ", 3, "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_the_mend(
    written: Callable[[str], Path], old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    path = written(GOOD.replace(old, new, 1))
    with pytest.raises(RulesError) as problem:
        load_rule_tests(path)
    said = str(problem.value)
    assert said.startswith(f"{path}:{line}: "), said
    assert words in said


def test_a_file_without_tests_or_a_test_without_expectations_is_a_mistake(
    written: Callable[[str], Path],
) -> None:
    with pytest.raises(RulesError, match=r"there is no test; write \[\[test\]\]"):
        load_rule_tests(written(""))
    with pytest.raises(RulesError, match=r"nothing is expected; write \[\[test.expect\]\]"):
        load_rule_tests(written('[[test]]\nname = "a"\n'))
    with pytest.raises(RulesError, match=r"is not written as a table; write \[\[test.series\]\]"):
        load_rule_tests(written('[[test]]\nname = "a"\nseries = "1 2"\n[[test.expect]]\nat="1m"\nalerts=[]'))


def test_the_second_tests_mistake_is_on_its_own_line(written: Callable[[str], Path]) -> None:
    path = written(GOOD + GOOD.replace('at = "30m"', 'at = "soon"'))
    lines = GOOD.count("\n")
    with pytest.raises(RulesError, match=f"tests.toml:{lines + 23}: .* is no duration"):
        load_rule_tests(path)
