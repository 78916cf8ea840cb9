"""What a rule sees: intervals instead of bare rates, windows of their own, evidence, hysteresis."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.detection import may_fire, observe
from stream_app.alerts.observation import Counts, Evidence
from stream_app.alerts.rules import Condition, Rule, load_rules
from stream_app.metrics.catalogue import COUNT_BY_NAME

RULES = {rule.name: rule for rule in load_rules().rules}
NOTHING = dict.fromkeys(COUNT_BY_NAME, 0)


def counts(**windows: Mapping[str, float]) -> Counts:
    """Counts by window, 0 where none are given; ``h1`` and ``h24`` stand for 1h and 24h."""
    named = {"1h": windows.get("h1", {}), "24h": windows.get("h24", {}), "total": windows.get("total", {})}
    return lambda window: NOTHING | dict(named[window])


def carts(abandoned: int, purchased: int) -> Counts:
    return counts(h1={"carts_abandoned": abandoned, "carts_purchased": purchased})


def test_the_contracts_example() -> None:
    """31 opt-outs of the last hour against 1,480 deliveries in all, as CONTRACT shows it."""
    seen = observe(
        RULES["optout-spike"], counts(h1={"optouts": 31}, total={"optouts": 34, "deliveries": 1480})
    )
    assert seen.value == pytest.approx(0.021, abs=0.0005)
    assert (seen.numerator, seen.denominator) == (31, 1480)
    assert seen.low == pytest.approx(0.0148, abs=1e-4)
    assert seen.high == pytest.approx(0.0296, abs=1e-4)
    assert seen.baseline == pytest.approx(0.002, abs=1e-4)
    assert (seen.severity, seen.may_resolve) == ("critical", False)
    assert seen.suspected == 0


def test_optouts_that_machines_may_have_made_count_and_are_told() -> None:
    inside = {"optouts": 31, "optouts_suspected": 12}
    seen = observe(RULES["optout-spike"], counts(h1=inside, total={"optouts": 34, "deliveries": 1480}))
    assert (seen.numerator, seen.suspected, seen.severity) == (31, 12, "critical")
    assert observe(RULES["ctr-low"], counts()).suspected is None


def test_the_hours_own_deliveries_do_not_matter_to_a_spike() -> None:
    total = {"optouts": 31, "deliveries": 1480}
    late = observe(RULES["optout-spike"], counts(h1={"optouts": 31, "deliveries": 0}, total=total))
    early = observe(RULES["optout-spike"], counts(h1={"optouts": 31, "deliveries": 1480}, total=total))
    assert late == early


def test_few_events_do_not_fire_however_high_the_rate() -> None:
    seen = observe(RULES["abandonment-high"], carts(18, 2))
    assert seen.value == 0.9
    assert seen.evidence is Evidence.ENOUGH
    assert seen.severity is None  # 20 carts prove no more than 70 %


@pytest.mark.parametrize(("ended", "evidence"), [(59, Evidence.THIN), (60, Evidence.ENOUGH)])
def test_the_minimum_evidence(ended: int, evidence: Evidence) -> None:
    rule = replace(RULES["abandonment-high"], minimum_evidence=60)
    seen = observe(rule, carts(ended, 0))
    assert seen.evidence is evidence
    assert (seen.severity is None) == (evidence is Evidence.THIN)
    assert seen.may_resolve == (evidence is Evidence.THIN)


def test_an_empty_window_has_no_value_and_may_resolve() -> None:
    seen = observe(RULES["abandonment-high"], counts())
    assert (seen.value, seen.low, seen.high, seen.denominator) == (None, None, None, 0)
    assert seen.may_resolve


@pytest.mark.parametrize(
    ("abandoned", "severity", "held"),
    [
        (700, None, None),  # proves 67 %
        (780, None, "warning"),  # 75.3 %: no breach, but not yet back at 75 %
        (800, None, "warning"),  # 77.4 %
        (830, None, "warning"),  # 80.5 %: enough for one look, not for a day of them
        (852, "warning", "warning"),
        (880, "warning", "critical"),  # 85.8 %: a critical alert stays one down to 84.4 %
        (925, "warning", "critical"),  # 90.7 %: enough for one look
        (938, "critical", "critical"),
    ],
)
def test_levels_and_where_they_let_go(abandoned: int, severity: str | None, held: str | None) -> None:
    seen = observe(RULES["abandonment-high"], carts(abandoned, 1000 - abandoned))
    assert (seen.severity, seen.held) == (severity, held)


@pytest.mark.parametrize(
    ("clicks", "deliveries", "severity", "held"),
    [
        (0, 1916, None, "warning"),  # up to 0.2001 %: not proven to be below 0.2 %, not proven healthy
        (0, 1917, None, "warning"),  # proven for one look
        (0, 2456, "warning", "warning"),  # proven for as many as one likes
        (0, 10_000, "critical", "critical"),
        (7, 10_000, "warning", "warning"),
        (20, 10_000, None, None),  # up to 0.31 %
        (0, 499, None, None),  # too few
    ],
)
def test_a_rule_below_judges_the_upper_end(
    clicks: int, deliveries: int, severity: str | None, held: str | None
) -> None:
    sent = {"deliveries": deliveries, "unique_clicks": clicks}
    seen = observe(RULES["ctr-low"], counts(h24=sent, total=sent))
    assert (seen.severity, seen.held) == (severity, held)


def test_a_total_is_over_when_a_day_brought_no_delivery() -> None:
    """A straggling opt-out does not make a finished campaign fire again."""
    total = {"deliveries": 1000, "optouts": 100}
    live = observe(RULES["optout-rate"], counts(h24={"deliveries": 1}, total=total))
    over = observe(RULES["optout-rate"], counts(h24={"optouts": 1}, total=total))
    assert (live.evidence, live.severity) == (Evidence.ENOUGH, "critical")
    assert (over.evidence, over.severity, over.may_resolve) == (Evidence.QUIET, None, True)
    assert over.value == 0.1


def test_the_baseline_is_what_lies_outside_the_window() -> None:
    inside, everything = (
        {"carts_abandoned": 80, "carts_purchased": 20},
        {"carts_abandoned": 780, "carts_purchased": 320},
    )
    assert observe(RULES["abandonment-high"], counts(h1=inside, total=everything)).baseline == 0.7
    assert observe(RULES["abandonment-high"], counts(h1=inside, total=inside)).baseline is None
    assert observe(RULES["optout-rate"], counts(h24=everything, total=everything)).baseline is None


def test_more_optouts_than_deliveries_are_judged_by_their_ratio() -> None:
    """No interval exists then; deliveries may be older than what is kept."""
    seen = observe(
        RULES["optout-spike"], counts(h1={"optouts": 300}, total={"optouts": 300, "deliveries": 200})
    )
    assert (seen.value, seen.low) == (1.5, None)
    assert seen.severity == "critical"


def test_a_mean_is_judged_by_its_value() -> None:
    waits: Rule = replace(
        RULES["abandonment-high"], metric="mean_chat_wait", levels=(("critical", 90.0),), resolve=60.0
    )

    def seconds(total: float) -> Counts:
        return lambda _: {"chat_wait_seconds": total, "chats_answered": 20}

    assert observe(waits, seconds(20 * 91.0)).severity == "critical"
    assert observe(waits, seconds(20 * 75.0)).held == "critical"
    assert observe(waits, seconds(20 * 60.0)).may_resolve


RISE = RULES["abandonment-rise"]


@pytest.mark.parametrize(
    ("abandoned", "severity", "held"),
    [
        (180, None, None),  # 72 %, as ever
        (205, None, "warning"),  # 82 %, whose interval begins at 76.8 %: between resolve and the warning
        (225, "warning", "critical"),  # 90 %: a critical alert stays one down to 12.5 % above the past
        (250, "critical", "critical"),  # 100 %
    ],
)
def test_a_change_is_held_against_the_keys_own_past(
    abandoned: int, severity: str | None, held: str | None
) -> None:
    """A past of 7,200 of 10,000 carts: 72 %, at most 72.9 %; the warning is 10 % above that, 80.2 %."""
    inside = {"carts_abandoned": abandoned, "carts_purchased": 250 - abandoned}
    total = {"carts_abandoned": 7200 + abandoned, "carts_purchased": 2800 + 250 - abandoned}
    seen = observe(RISE, counts(h1=inside, total=total))
    assert (seen.severity, seen.held) == (severity, held)
    assert seen.baseline == 0.72
    assert seen.threshold(RISE, "warning") == pytest.approx(1.1 * 0.7287, abs=1e-4)
    assert seen.resolve == pytest.approx(1.05 * 0.7287, abs=1e-4)


def test_a_change_needs_a_past() -> None:
    inside = {"carts_abandoned": 250, "carts_purchased": 0}
    total = {"carts_abandoned": 269, "carts_purchased": 0}
    seen = observe(RISE, counts(h1=inside, total=total))
    assert (seen.evidence, seen.severity, seen.baseline) == (Evidence.THIN, None, None)


def test_a_young_past_makes_a_wide_bar() -> None:
    """72 % of 25 carts may be 86 %: a rise above that is hardly to be shown."""
    inside = {"carts_abandoned": 225, "carts_purchased": 25}
    total = {"carts_abandoned": 225 + 18, "carts_purchased": 25 + 7}
    assert observe(RISE, counts(h1=inside, total=total)).severity is None


@pytest.mark.parametrize(
    ("clicks", "severity"), [(500, None), (350, None), (250, "warning"), (150, "critical")]
)
def test_a_fall_is_held_against_the_lower_end_of_the_past(clicks: int, severity: str | None) -> None:
    """A past of 5 %, at least 4.87 %: the warning is 30 % below that, 3.4 %, the critical level 2.4 %."""
    inside = {"unique_clicks": clicks, "deliveries": 10_000}
    total = {"unique_clicks": 5_000 + clicks, "deliveries": 110_000}
    assert observe(RULES["ctr-drop"], counts(h24=inside, total=total)).severity == severity


def test_a_change_of_a_mean_is_judged_by_its_value() -> None:
    slower = replace(RISE, metric="mean_chat_wait", levels=(("warning", 0.5),), resolve=0.2)

    def seconds(mean: float) -> Counts:
        inside = {"chat_wait_seconds": 100 * mean, "chats_answered": 100}
        total = {"chat_wait_seconds": 100 * mean + 30_000, "chats_answered": 1_100}
        return lambda window: inside if window == "1h" else total

    seen = observe(slower, seconds(46.0))
    assert (seen.severity, seen.baseline, seen.low) == ("warning", 30.0, None)
    assert observe(slower, seconds(45.0)).severity is None
    assert observe(slower, seconds(36.0)).may_resolve


OVER_RATES = [rule for rule in RULES.values() if rule.condition in (Condition.THRESHOLD, Condition.CHANGE)]


@given(
    rule=st.sampled_from(OVER_RATES),
    denominator=st.integers(0, 5_000),
    share=st.floats(0, 1.2),
    outside=st.integers(0, 5_000),
)
def test_a_rule_that_the_quick_look_passes_over_would_name_no_severity(
    rule: Rule, denominator: int, share: float, outside: int
) -> None:
    inside: dict[str, float] = dict.fromkeys(rule.rate.denominator, denominator)
    inside[rule.rate.numerator] = int(denominator * share)
    everything = {name: count + outside for name, count in inside.items()}
    seen = counts(h1=inside, h24=inside, total=everything)
    assert may_fire(rule, seen) or observe(rule, seen).severity is None
