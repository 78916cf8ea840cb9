"""The life of an alert: each shipped rule fires and resolves; waiting, hysteresis, severity, churn."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from stream_app.alerts.churn import ChurnRule
from stream_app.alerts.detection import observe
from stream_app.alerts.lifecycle import (
    AlertChange,
    AlertState,
    advance,
    advance_churn,
    fingerprint,
    retire,
)
from stream_app.alerts.message import alert_id, alert_json
from stream_app.alerts.observation import Counts, Evidence, Observation
from stream_app.alerts.rules import Condition, Rule, load_rules
from stream_app.churn.model import Assessment
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from stream_app.metrics.catalogue import COUNT_BY_NAME

RULES = {rule.name: rule for rule in load_rules().rules}
CHURN = load_rules().churn or pytest.fail("the shipped rules have no churn table")
RULE = replace(RULES["abandonment-high"], keep_firing_ms=0, repeat_ms=0)
WAITING = replace(RULE, wait_ms=10 * MINUTE_MS)
START = 1_763_719_200_000


def seen(severity: str | None, held: str | None = None) -> Observation:
    """An observation that breaches ``severity`` and keeps ``held`` (the same where it is not given)."""
    evidence = Evidence.ENOUGH if severity or held else Evidence.THIN
    return Observation(0.8, 80, 100, 0.71, 0.87, None, evidence, severity, held or severity)


def run(rule: Rule, *steps: tuple[float, Observation]) -> tuple[AlertState | None, list[AlertChange]]:
    """Take an alert through observations at minutes after the start."""
    state, changes = None, []
    for minute, observation in steps:
        state, change = advance(rule, state, observation, "all", "all", START + round(minute * MINUTE_MS))
        changes += [change] if change else []
    return state, changes


def told(changes: list[AlertChange]) -> list[tuple[str, str]]:
    return [(change.state, change.severity) for change in changes]


def snapshot(**windows: Mapping[str, float]) -> Counts:
    nothing = dict.fromkeys(COUNT_BY_NAME, 0)
    named = {"1h": windows.get("h1", {}), "24h": windows.get("h24", {}), "total": windows.get("total", {})}
    return lambda window: nothing | dict(named[window])


SENT = {"deliveries": 5000, "optouts": 100, "complaints": 50, "bounces": 500}
CARTS = {"carts_abandoned": 95, "carts_purchased": 5}
CARTS_LOST = {"carts_abandoned": 300, "carts_purchased": 0}
DULL = {"deliveries": 5000, "unique_clicks": 20}
SERVICE = {"chats_started": 100, "chats_missed": 60, "tickets_resolved": 100, "tickets_reopened": 60}
PAST = {"carts_abandoned": 7300, "carts_purchased": 3000, "deliveries": 105_000, "unique_clicks": 5_020}


@pytest.mark.parametrize(
    ("name", "severity", "bad", "good"),
    [
        ("optout-spike", "critical", snapshot(h1=SENT, h24=SENT, total=SENT), snapshot(h24=SENT, total=SENT)),
        ("optout-rate", "critical", snapshot(h1=SENT, h24=SENT, total=SENT), snapshot(total=SENT)),
        ("ctr-low", "warning", snapshot(h24=SENT, total=SENT), snapshot(total=SENT)),
        (
            "ctr-low",
            "warning",
            snapshot(h24=SENT, total=SENT),
            snapshot(h24=SENT, total=SENT | {"unique_clicks": 50}),
        ),
        ("abandonment-high", "warning", snapshot(h1=CARTS), snapshot(h1=CARTS | {"carts_purchased": 40})),
        ("abandonment-high", "warning", snapshot(h1=CARTS), snapshot()),
        ("abandonment-rise", "critical", snapshot(h1=CARTS_LOST, total=PAST), snapshot(total=PAST)),
        ("ctr-drop", "critical", snapshot(h24=DULL, total=PAST), snapshot(total=PAST)),
        ("complaint-rate", "critical", snapshot(h24=SENT, total=SENT), snapshot(total=SENT)),
        ("bounce-rate", "critical", snapshot(h24=SENT, total=SENT), snapshot(total=SENT)),
        ("missed-chats", "critical", snapshot(h1=SERVICE), snapshot()),
        ("reopened-tickets", "critical", snapshot(h24=SERVICE), snapshot()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_shipped_rule_fires_and_resolves(name: str, severity: str, bad: Counts, good: Counts) -> None:
    rule = RULES[name]
    times = [START, START + rule.wait_ms, START + DAY_MS - rule.keep_firing_ms, START + DAY_MS]
    state, changes = None, []
    for as_of_ms, counts in zip(times, [bad, bad, good, good], strict=True):
        state, change = advance(rule, state, observe(rule, counts), rule.dimension, "key", as_of_ms)
        changes += [change] if change else []
    waited = [("pending", severity)] if rule.wait_ms else []
    assert told(changes) == [*waited, ("firing", severity), ("resolved", severity)]
    assert state is None
    firing, resolved = changes[-2:]
    assert (firing.started_at_ms, firing.ended_at_ms) == (START + rule.wait_ms, None)
    assert (resolved.started_at_ms, resolved.ended_at_ms) == (START + rule.wait_ms, START + DAY_MS)


def test_every_shipped_rule_is_tested_above() -> None:
    """Those over counts are in ``test_alert_conditions.py``."""
    mark = next(m for m in test_each_shipped_rule_fires_and_resolves.pytestmark if m.name == "parametrize")  # type: ignore[attr-defined]
    tested = {case[0] for case in mark.args[1]}
    over_rates = (Condition.THRESHOLD, Condition.CHANGE)
    assert tested == {rule.name for rule in RULES.values() if rule.condition in over_rates}


def test_hysteresis_between_the_level_and_resolve() -> None:
    state, changes = run(
        RULE, (0, seen("warning")), (1, seen(None, "warning")), (2, seen("warning")), (3, seen(None))
    )
    assert told(changes) == [("firing", "warning"), ("resolved", "warning")]
    assert state is None


def test_nothing_begins_between_the_level_and_resolve() -> None:
    assert run(RULE, (0, seen(None, "warning"))) == (None, [])


def test_severity_rises_and_falls_within_one_alert() -> None:
    _, changes = run(
        RULE,
        (0, seen("warning")),
        (1, seen("critical")),
        (2, seen("warning", "critical")),  # held: no flicker
        (3, seen("warning")),
        (4, seen("critical")),
        (5, seen(None)),
    )
    severities = ["warning", "critical", "warning", "critical"]
    assert told(changes) == [*(("firing", severity) for severity in severities), ("resolved", "critical")]
    assert {change.started_at_ms for change in changes} == {START}
    assert [change.revision for change in changes] == [0, 1, 2, 3, 3]
    assert len({alert_id(change) for change in changes}) == len(changes)
    assert [change.threshold for change in changes[:2]] == [0.8, 0.9]


def test_the_state_is_the_last_change_and_survives_its_encoding() -> None:
    state, changes = run(RULE, (0, seen("warning")))
    assert state == AlertState(changes[-1])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState) == state


def test_the_state_is_the_same_object_where_nothing_changed() -> None:
    """So that a table is written only where something did."""
    state, _ = run(RULE, (0, seen("warning")))
    assert advance(RULE, state, seen("warning"), "all", "all", START + 1)[0] is state


def test_a_waiting_rule_is_pending_first_and_fires_at_the_wait() -> None:
    state, changes = run(WAITING, (0, seen("warning")), (9, seen("critical")))
    assert told(changes) == [("pending", "warning")]
    state, change = advance(WAITING, state, seen("critical"), "all", "all", START + 10 * MINUTE_MS)
    assert change is not None
    assert (change.state, change.severity, change.started_at_ms) == (
        "firing",
        "critical",
        START + 10 * MINUTE_MS,
    )


@pytest.mark.parametrize("relief", [seen(None), seen(None, "warning")], ids=["healthy", "in between"])
def test_a_pending_alert_that_comes_to_nothing_ends_untold(relief: Observation) -> None:
    state, changes = run(WAITING, (0, seen("warning")), (5, relief), (20, relief))
    assert told(changes) == [("pending", "warning")]
    assert state is None


def test_an_alert_does_not_end_in_the_instant_it_began() -> None:
    """Late events can move the counts without moving time; the id would be used twice."""
    state, changes = run(RULE, (0, seen("warning")), (0, seen(None)))
    assert told(changes) == [("firing", "warning")]
    _, change = advance(RULE, state, seen(None), "all", "all", START + 1)
    assert change is not None
    assert change.state == "resolved"


def test_a_pending_alert_does_not_end_in_the_instant_it_began_either() -> None:
    _, changes = run(WAITING, (0, seen("warning")), (0, seen(None)), (0, seen("warning")))
    assert told(changes) == [("pending", "warning")]


def test_a_second_alert_of_the_same_kind_has_new_ids_and_the_old_fingerprint() -> None:
    _, changes = run(RULE, (0, seen("warning")), (1, seen(None)), (1, seen("warning")), (2, seen(None)))
    assert len({alert_id(change) for change in changes}) == 4
    assert {change.fingerprint for change in changes} == {fingerprint("abandonment-high", "all", "all")}


CALM = seen(None)
STEADY = replace(RULE, keep_firing_ms=10 * MINUTE_MS)


def test_an_alert_that_flickers_is_one_alert() -> None:
    bad = seen("warning")
    state, changes = run(
        STEADY, (0, bad), (1, CALM), (5, bad), (6, CALM), (15, CALM), (15.5, bad), (20, CALM)
    )
    assert told(changes) == [("firing", "warning")]
    assert state is not None and state.calm_since_ms == START + 20 * MINUTE_MS


def test_an_alert_resolves_when_the_calm_has_lasted() -> None:
    state, changes = run(STEADY, (0, seen("warning")), (1, CALM), (10, CALM), (11, CALM))
    assert told(changes) == [("firing", "warning"), ("resolved", "warning")]
    assert changes[-1].ended_at_ms == START + 11 * MINUTE_MS
    assert state is None


def test_a_calm_survives_a_restart() -> None:
    state, _ = run(STEADY, (0, seen("warning")), (1, CALM))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState)
    _, change = advance(STEADY, again, CALM, "all", "all", START + 11 * MINUTE_MS)
    assert change is not None and change.state == "resolved"


def test_a_firing_alert_is_told_again_after_its_interval() -> None:
    often = replace(RULE, repeat_ms=60 * MINUTE_MS)
    bad = seen("warning")
    _, changes = run(
        often, (0, bad), (59, bad), (61, bad), (100, bad), (121, bad), (122, seen("critical")), (130, CALM)
    )
    assert told(changes) == [*[("firing", "warning")] * 3, ("firing", "critical"), ("resolved", "critical")]
    assert [change.repeated for change in changes] == [False, True, True, False, False]
    assert [change.as_of_ms for change in changes[:3]] == [START + n * MINUTE_MS for n in (0, 61, 121)]
    assert len({alert_id(change) for change in changes}) == len(changes)
    assert {change.started_at_ms for change in changes} == {START}


def test_a_state_from_before_the_newest_fields_is_still_read() -> None:
    """What a journal of an earlier version holds: the fields at the end are missing."""
    state, _ = run(RULE, (0, seen("warning")))
    (fields,) = msgspec.msgpack.decode(msgspec.msgpack.encode(state))[:1]
    older = msgspec.msgpack.encode([fields[: AlertChange.__struct_fields__.index("condition")]])
    assert msgspec.msgpack.decode(older, type=AlertState) == state


def test_an_alert_whose_rule_is_gone_is_retired() -> None:
    firing, _ = run(RULE, (0, seen("warning")))
    assert firing is not None
    change = retire(firing, START + HOUR_MS)
    assert change is not None
    assert (change.state, change.ended_at_ms) == ("resolved", START + HOUR_MS)
    pending, _ = run(WAITING, (0, seen("warning")))
    assert pending is not None
    assert retire(pending, START + HOUR_MS) is None


def test_a_rule_that_lost_a_level_still_takes_its_alert_on() -> None:
    state, _ = run(RULE, (0, seen("critical")))
    milder = replace(RULE, levels=(("warning", 0.8),))
    _, change = advance(milder, state, seen("warning"), "all", "all", START + 1)
    assert change is not None
    assert (change.state, change.severity, change.threshold) == ("firing", "warning", 0.8)


def test_fingerprints_are_stable_and_tell_alerts_apart() -> None:
    assert fingerprint("optout-spike", "campaign", "spring-sale") == "edab9345aebf1354"
    names = [
        ("a", "all", "b"),
        ("a", "all", "c"),
        ("a", "segment", "b"),
        ("b", "all", "b"),
        ("a", "all", "Zürich"),
    ]
    assert len({fingerprint(*name) for name in names}) == len(names)


def score(value: float) -> Assessment:
    return Assessment(value, ("a reason",))


def follow(
    *steps: tuple[float, bool], rule: ChurnRule = CHURN
) -> tuple[AlertState | None, list[AlertChange]]:
    """Take a customer through (score, opted out), a minute apart."""
    state, changes = None, []
    for minute, (value, opted_out) in enumerate(steps):
        state, change = advance_churn(rule, state, score(value), "c-1", START + minute * MINUTE_MS, opted_out)
        changes += [change] if change else []
    return state, changes


def test_churn_fires_rises_and_resolves() -> None:
    state, changes = follow(*((value, False) for value in (0.2, 0.69, 0.7, 0.8, 0.95, 0.75, 0.92, 0.5, 0.44)))
    assert [(change.state, change.band, change.severity) for change in changes] == [
        ("firing", "at_risk", "warning"),
        ("firing", "lost", "critical"),  # once, though the score falls and rises again
        ("resolved", None, "critical"),
    ]
    assert state is not None and state.last.state == "resolved", "it cools off"
    assert {change.started_at_ms for change in changes} == {START + 2 * MINUTE_MS}
    assert [change.value for change in changes] == [0.7, 0.95, 0.44]
    assert len({alert_id(change) for change in changes}) == 3
    assert {(change.dimension, change.key, change.kind) for change in changes} == {
        ("customer", "c-1", "churn")
    }


def test_who_opted_out_never_fires() -> None:
    assert follow((0.95, True), (0.99, True)) == (None, [])


def test_an_optout_resolves_at_once_even_in_the_same_instant() -> None:
    state, _ = follow((0.95, False))
    state, change = advance_churn(CHURN, state, score(0.99), "c-1", START, opted_out=True)
    assert state is None
    assert change is not None
    assert (change.state, change.opted_out, change.ended_at_ms) == ("resolved", True, START)


def test_a_churn_alert_does_not_end_in_the_instant_it_began() -> None:
    state, changes = None, []
    for value in (0.95, 0.1, 0.95):
        state, change = advance_churn(CHURN, state, score(value), "c-1", START, opted_out=False)
        changes += [change] if change else []
    assert told(changes) == [("firing", "critical")]


def test_who_engages_again_is_back_whatever_the_score() -> None:
    state, _ = follow((0.95, False))
    _, still = advance_churn(
        CHURN, state, score(0.9)._replace(engaged_ms=START - 1), "c-1", START + MINUTE_MS, opted_out=False
    )
    assert still is None
    _, back = advance_churn(
        CHURN, state, score(0.9)._replace(engaged_ms=START + 1), "c-1", START + MINUTE_MS, opted_out=False
    )
    assert back is not None
    assert (back.state, back.value) == ("resolved", 0.9)
    assert "has engaged again" in alert_json(back)["summary"]


def test_who_is_back_raises_no_alert_until_the_cool_off_is_over() -> None:
    state, _ = follow((0.95, False), (0.1, False))
    for after_ms, fires in ((CHURN.cool_off_ms - 1, False), (CHURN.cool_off_ms, True)):
        _, change = advance_churn(
            CHURN, state, score(0.95), "c-1", START + MINUTE_MS + after_ms, opted_out=False
        )
        assert (change is not None) == fires


def test_without_a_silence_there_is_no_alert() -> None:
    nobody = score(0.99)._replace(is_silent=False)
    assert advance_churn(CHURN, None, nobody, "c-1", START, opted_out=False) == (None, None)


def test_churn_can_alert_from_another_band() -> None:
    watch = replace(
        CHURN,
        alert_from="watch",
        severities=(("watch", "warning"), ("at_risk", "warning"), ("lost", "critical")),
    )
    _, changes = follow((0.5, False), (0.7, False), rule=watch)
    assert [change.band for change in changes] == ["watch", "at_risk"]
