"""Rules files: the shipped one is sound, and each kind of mistake is named with its line and the mend."""

import re
from pathlib import Path

import pytest

from stream_app.alerts.rules import KINDS, SHIPPED, Condition, RulesError, load_rules
from stream_app.clock import HOUR_MS, MINUTE_MS
from stream_app.metrics.catalogue import Dimension
from stream_app.settings import Settings

FIXTURES = Path(__file__).parents[1] / "fixtures" / "rules"

# The fixture's name, the line of the mistake, and what is said of it.
MISTAKES = [
    ("not_toml", 2, "is not valid TOML "),
    ("unknown_table", 1, 'rules file: rules has an unknown name; did you mean "rule", out of rule, churn?'),
    ("not_a_table", 1, "rules file: rule = 3 is not written as a table; write [[rule]] above its keys"),
    ("single_bracket", 1, "rules file: rule is not written as a table; write [[rule]] above its keys"),
    ("unknown_key", 7, 'rule "spike": warnng = 0.005 has an unknown name; did you mean "warning"?'),
    ("missing_key", 1, 'rule "spike": metric is missing; write metric = "ctr"'),
    ("wrong_type", 7, 'rule "spike": warning = "0.5 %" has the wrong type; write warning = 0.01'),
    (
        "bool_for_number",
        10,
        'rule "spike": minimum_denominator = true has the wrong type; write minimum_denominator = 200',
    ),
    (
        "bad_name",
        2,
        'rule "opt out!": name = "opt out!" may hold letters, digits, ".", "_" and "-", such '
        'as "optout-spike"',
    ),
    (
        "duplicate_name",
        13,
        'rule "spike": name = "spike" is used twice; give each rule its own, alerts are told apart by it',
    ),
    (
        "churn_takes_rules_name",
        13,
        'churn "spike": name = "spike" is used twice; give each rule its own, alerts are told apart by it',
    ),
    (
        "unknown_kind",
        3,
        'rule "spike": kind = "opt-out" is unknown; did you mean "optout", out of ctr, optout, abandonment, service?',
    ),
    (
        "unknown_dimension",
        4,
        'rule "spike": dimension = "campain" is unknown; did you mean "campaign", out of all, '
        "campaign, segment, channel, campaign_segment?",
    ),
    ("unknown_metric", 5, 'rule "spike": metric = "optout_rte" is unknown; did you mean "optout_rate"?'),
    (
        "unknown_metric_far",
        5,
        'rule "spike": metric = "xyzzy" is unknown; use one of open_rate, ctr, ctor, '
        "optout_rate, complaint_rate, bounce_rate, ctr_adjusted, disengagement_rate, "
        "abandonment_rate, recovery_rate, missed_chat_rate, mean_chat_wait, reopen_rate, "
        "first_contact_rate, mean_resolution_time, mean_reply_time, csat",
    ),
    (
        "metric_is_a_count",
        5,
        'rule "spike": metric = "optouts" is a count, and condition = "threshold" judges rates; did you mean "optout_rate"?',
    ),
    (
        "metric_not_in_dimension",
        5,
        'rule "spike": metric = "abandonment_rate" does not exist in dimension "campaign"; use '
        "it in one of all, segment",
    ),
    (
        "unknown_window",
        6,
        'rule "spike": window = "2h" is unknown; did you mean "24h", out of 1m, 5m, 1h, 24h, total?',
    ),
    (
        "missing_window",
        1,
        'rule "spike": window is missing; write it, or numerator_window and denominator_window',
    ),
    (
        "window_order",
        6,
        'rule "spike": numerator_window = "total" is longer than denominator_window "24h"; swap them',
    ),
    (
        "short_window",
        6,
        'rule "spike": window = "1h" is too short for optout_rate, which follows deliveries by '
        'hours; write denominator_window = "total" beside a shorter numerator_window',
    ),
    (
        "short_window_pair",
        7,
        'rule "spike": denominator_window = "1h" is too short for optout_rate, which follows '
        'deliveries by hours; write denominator_window = "total" beside a shorter '
        "numerator_window",
    ),
    (
        "keys_are_a_number",
        11,
        'rule "spike": keys = 3 has the wrong type; write keys = "spring-*" or keys = ["spring-*"]',
    ),
    (
        "unknown_direction",
        7,
        'rule "spike": direction = "over" is unknown; did you mean "above", out of above, below?',
    ),
    ("no_level", 1, 'rule "spike": no level is given; write warning = 0.01 or critical = 0.02, or both'),
    (
        "level_in_percent",
        8,
        'rule "spike": critical = 1.5 is out of range; write a number above 0 and at most 1 (a '
        "share: 0.5 is 50 %), such as 0.01",
    ),
    (
        "level_not_a_number",
        7,
        'rule "spike": warning = nan is out of range; write a number above 0 and at most 1 (a '
        "share: 0.5 is 50 %), such as 0.01",
    ),
    ("levels_swapped", 8, 'rule "spike": critical = 0.002 is not worse than warning; write one above 0.005'),
    (
        "levels_swapped_below",
        9,
        'rule "spike": critical = 0.01 is not worse than warning; write one below 0.005',
    ),
    (
        "resolve_side",
        9,
        'rule "spike": resolve = 0.006 is on the wrong side; write at most 0.005, the mildest level',
    ),
    (
        "resolve_side_below",
        10,
        'rule "spike": resolve = 0.004 is on the wrong side; write at least 0.01, the mildest level',
    ),
    (
        "no_evidence",
        10,
        'rule "spike": minimum_denominator = 0 is out of range; write a whole number from 1 on',
    ),
    (
        "fraction_of_evidence",
        10,
        'rule "spike": minimum_denominator = 199.5 has the wrong type; write minimum_denominator = 200',
    ),
    (
        "bad_duration",
        11,
        'rule "spike": for = "2 hours" is no duration; write a number and a unit, such as 90s, 10m or 2h',
    ),
    (
        "bad_runbook",
        11,
        'rule "spike": runbook = "see the wiki" is no address; write one that starts with https://',
    ),
    (
        "second_rule",
        18,
        'rule "second": window = "totals" is unknown; did you mean "total", out of 1m, 5m, 1h, 24h, total?',
    ),
    (
        "unknown_condition",
        4,
        'rule "spike": condition = "changes" is unknown; did you mean "change", out of threshold, change, spike, '
        "no_data, echo_chamber?",
    ),
    (
        "key_of_another_condition",
        10,
        'rule "spike": window = "1h" has no meaning with condition = "no_data"; leave it out',
    ),
    (
        "echo_metric",
        6,
        'rule "spike": metric = "ctor" is not what condition = "echo_chamber" judges; write metric = "ctr"',
    ),
    (
        "echo_dimension",
        5,
        'rule "spike": dimension = "segment" is not what condition = "echo_chamber" judges; write dimension = "campaign"',
    ),
    (
        "echo_predecessors",
        7,
        'rule "spike": predecessors = 0 is out of range; write a whole number from 1 on',
    ),
    ("change_in_total", 7, 'rule "spike": window = "total" is unknown; use one of 1m, 5m, 1h, 24h'),
    (
        "change_short_window",
        7,
        'rule "spike": window = "1h" is too short for ctr, which follows deliveries by hours; write window = "24h"',
    ),
    (
        "change_below_nothing",
        9,
        'rule "spike": critical = 1.5 is out of range; write a number above 0 and at most 1 (a share: 0.5 is 50 %), '
        "such as 0.01",
    ),
    (
        "change_resolve_side",
        10,
        'rule "spike": resolve = 0.3 is on the wrong side; write at most 0.2, the mildest level',
    ),
    (
        "metric_is_a_rate",
        6,
        'rule "spike": metric = "complaint_rate" is a rate, and condition = "spike" judges counts; did you mean '
        '"complaints"?',
    ),
    (
        "metric_is_an_amount",
        6,
        'rule "spike": metric = "purchased_value" is unknown; did you mean "carts_purchased"?',
    ),
    (
        "metric_is_a_balance",
        6,
        'rule "spike": metric = "stage_cooling" goes down as well as up, and rules judge what only happens; did you mean '
        '"became_cooling"?',
    ),
    (
        "count_not_in_dimension",
        6,
        'rule "spike": metric = "complaints" does not exist in dimension "channel"; use it in one of all, campaign, '
        "campaign_segment, segment",
    ),
    ("spike_window", 7, 'rule "spike": window = "24h" is unknown; use one of 1m, 5m, 1h'),
    (
        "spike_levels_swapped",
        9,
        'rule "spike": critical = 0.01 is not worse than warning; write one below 0.001',
    ),
    (
        "spike_resolve_side",
        10,
        'rule "spike": resolve = 0.0005 is on the wrong side; write at least 0.001, the mildest level',
    ),
    ("no_count", 11, 'rule "spike": minimum_count = 0 is out of range; write a whole number from 1 on'),
    (
        "silence_too_long",
        8,
        'rule "spike": critical = "24h" is out of range; write a duration below 24h, such as "2h"',
    ),
    (
        "silence_levels_swapped",
        8,
        'rule "spike": critical = "1h" is not worse than warning; write one longer than 2h',
    ),
    (
        "silence_no_level",
        1,
        'rule "spike": no level is given; write warning = "2h" or critical = "6h", or both',
    ),
    ("silence_as_number", 7, 'rule "spike": warning = 7200 has the wrong type; write warning = "2h"'),
    (
        "bad_repeat",
        10,
        'rule "spike": repeat = "daily" is no duration; write a number and a unit, such as 90s, 10m or 2h',
    ),
    (
        "bad_keep_firing_for",
        10,
        'rule "spike": keep_firing_for = 600 has the wrong type; write keep_firing_for = "2h"',
    ),
    (
        "except_keys_hold_a_number",
        10,
        'rule "spike": except_keys has the wrong type; write except_keys = "test-*" or except_keys = ["test-*"]',
    ),
    (
        "churn_unknown_key",
        7,
        'churn "risk": window = 3 has an unknown name; use one of name, bands, alert_from, '
        "resolve, severity, runbook, cool_off, most_per_hour, model, learn_from_outcomes",
    ),
    (
        "churn_no_bands",
        3,
        'churn "risk": bands = {} is empty; write bands = { watch = 0.5, at_risk = 0.7, lost = 0.9 }',
    ),
    (
        "churn_bands_fall",
        3,
        'churn "risk" bands: lost = 0.6 does not rise; write a number above 0.7, where "at_risk" begins',
    ),
    (
        "churn_band_in_percent",
        3,
        'churn "risk" bands: lost = 90 is out of range; write a number above 0 and at most 1 '
        "(a share: 0.5 is 50 %), such as 0.7",
    ),
    (
        "churn_alert_from",
        4,
        'churn "risk": alert_from = "atrisk" is unknown; did you mean "at_risk", out of watch, '
        "at_risk, lost?",
    ),
    (
        "churn_resolve",
        5,
        'churn "risk": resolve = 0.7 is too high; write one below 0.7, where "at_risk" begins',
    ),
    (
        "churn_learn_in_words",
        7,
        'churn "risk": learn_from_outcomes = "yes" has the wrong type; write learn_from_outcomes = true or '
        "learn_from_outcomes = false",
    ),
    ("churn_severity_missing", 6, 'churn "risk" severity: lost is missing; write lost = "warning"'),
    (
        "churn_severity_unknown",
        6,
        'churn "risk" severity: lost = "crit" is unknown; did you mean "critical", out of warning, critical?',
    ),
    (
        "churn_severity_band",
        11,
        'churn "risk" severity: lots = "critical" has an unknown name; did you mean "lost", '
        "out of watch, lost?",
    ),
    ("churn_double_bracket", 1, "rules file: churn is not written as a table; write [churn] above its keys"),
    ("churn_twice", 7, "is not valid TOML "),
]


@pytest.mark.parametrize(("name", "line", "message"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_is_named_with_its_line_and_the_mend(name: str, line: int, message: str) -> None:
    path = FIXTURES / f"{name}.toml"
    with pytest.raises(RulesError) as error:
        load_rules(path)
    # What tomllib says of a file that is no TOML differs between versions of Python.
    said = str(error.value).partition("TOML (")[0] + "TOML " if "valid TOML" in message else str(error.value)
    assert said == f"{path}:{line}: {message}"


def test_every_mistake_has_a_fixture_and_every_fixture_is_tested() -> None:
    assert sorted(path.stem for path in FIXTURES.glob("*.toml")) == sorted(mistake[0] for mistake in MISTAKES)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"absent\.toml: cannot be read \(No such file"):
        load_rules(tmp_path / "absent.toml")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    with pytest.raises(RulesError, match=r"latin\.toml: is not UTF-8 text"):
        load_rules(latin)


def test_the_shipped_rules_cover_every_kind() -> None:
    rules = load_rules()
    assert {rule.kind for rule in rules.rules} == set(KINDS)
    assert rules.churn is not None
    assert rules.churn.bands == (("watch", 0.5), ("at_risk", 0.7), ("lost", 0.9))
    names = {dimension: [rule.name for rule in rules.for_dimension(dimension)] for dimension in Dimension}
    assert names == {
        "all": ["abandonment-high", "carts-silent", "tickets-spike"],
        "campaign": [
            "optout-spike",
            "optout-rate",
            "ctr-low",
            "echo-chamber",
            "complaint-rate",
            "bounce-rate",
        ],
        "segment": ["ctr-drop", "abandonment-rise"],
        "channel": ["missed-chats", "reopened-tickets"],
        "campaign_segment": [],
    }
    assert {rule.condition for rule in rules.rules} == set(Condition)


def test_each_number_of_the_shipped_rules_has_its_source_beside_it() -> None:
    rows = [
        row
        for row in SHIPPED.read_text("utf-8").splitlines()
        if re.match(r"(warning|critical|resolve|minimum_)", row)
    ]
    outside = [row for row in rows if "# " not in row and not row.startswith("resolve = 0.45")]
    assert rows and outside == []


def test_the_shipped_spike_counts_an_hour_against_the_reach() -> None:
    spike = load_rules().for_dimension("campaign")[0]
    assert (spike.window, spike.numerator_window, spike.denominator_window) == ("1h", "1h", "total")
    assert spike.levels == (("warning", 0.005), ("critical", 0.01))


def test_a_file_without_rules_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    path.write_text("# nothing is watched\n")
    assert load_rules(path).rules == ()
    assert load_rules(path).churn is None


def test_a_rule_over_what_the_settings_leave_out_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        """
        [[rule]]
        name = "optouts-of-the-loyal"
        kind = "optout"
        dimension = "campaign_segment"
        metric = "optout_rate"
        window = "total"
        warning = 0.005
        resolve = 0.004
        minimum_denominator = 200
        keys = "*/loyal"
        """
    )
    with pytest.raises(RulesError) as error:
        load_rules(path, Settings())
    assert str(error.value) == (
        f'{path}:5: rule "optouts-of-the-loyal": dimension = "campaign_segment" is not counted; '
        "set STREAM_APP_CAMPAIGN_SEGMENTS=true, or leave the rule out"
    )
    for settings in (Settings(campaign_segments=True), None):
        (rule,) = load_rules(path, settings).rules
        assert rule.matches("spring-sale/loyal") and not rule.matches("spring-sale/new")


def test_optional_keys_and_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        """
        [[rule]]
        name = "slow-chats"
        kind = "ctr"
        dimension = "channel"
        metric = "mean_chat_wait"
        window = "1h"
        critical = 90
        resolve = 60.0
        minimum_denominator = 5
        for = "1.5h"
        keep_firing_for = "10m"
        repeat = "4h"
        keys = "web*"
        except_keys = ["web-test", "web-dev*"]
        runbook = "https://example.com/chats#slow"
        """
    )
    (rule,) = load_rules(path).rules
    assert rule.direction == "above"
    assert rule.levels == (("critical", 90.0),)
    assert rule.condition is Condition.THRESHOLD
    assert (rule.wait_ms, rule.keep_firing_ms, rule.repeat_ms) == (
        HOUR_MS * 3 // 2,
        10 * MINUTE_MS,
        4 * HOUR_MS,
    )
    assert rule.runbook == "https://example.com/chats#slow"
    assert rule.matches("web-shop")
    assert not any(map(rule.matches, ("phone", "web-test", "web-dev-2")))


def test_a_rule_over_silence_and_a_rule_over_a_spike(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        """
        [[rule]]
        name = "silent"
        kind = "service"
        condition = "no_data"
        dimension = "channel"
        metric = "chats_started"
        critical = "90m"
        minimum_count = 200

        [[rule]]
        name = "sudden"
        kind = "optout"
        condition = "spike"
        dimension = "campaign"
        metric = "complaints"
        window = "1m"
        warning = 0.01
        resolve = 0.2
        minimum_count = 5
        """
    )
    silent, sudden = load_rules(path).rules
    assert (silent.levels, silent.minimum_evidence) == ((("critical", 5400.0),), 200)
    assert (sudden.levels, sudden.resolve, sudden.window) == ((("warning", 0.01),), 0.2, "1m")


def test_bands_of_a_score() -> None:
    churn = load_rules().churn
    assert churn is not None
    scores = (0.0, 0.4999, 0.5, 0.6999, 0.7, 0.9, 1.0)
    expected = [None, None, "watch", "watch", "at_risk", "lost", "lost"]
    assert [churn.band_of(score) for score in scores] == expected
    assert [churn.rank(band) for band in (None, "watch", "at_risk", "lost", "gone")] == [-1, 0, 1, 2, -1]
