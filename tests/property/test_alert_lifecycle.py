"""Laws of an alert's life, whatever is observed and however often a worker starts again."""

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.detection import observe
from stream_app.alerts.lifecycle import AlertChange, AlertState, Step, advance, advance_churn
from stream_app.alerts.message import alert_id, alert_record
from stream_app.alerts.observation import Evidence, Observation
from stream_app.alerts.rules import SEVERITIES, Rule, load_rules
from stream_app.churn.model import Assessment

RULES = load_rules()
RULE = next(rule for rule in RULES.rules if rule.name == "abandonment-high")
START = 1_763_719_200_000
PANE_MS = 10_000

# A severity that is breached is always held, so the pair rises from (none, none) on.
_PAIRS = [
    (breached, held)
    for breached in (None, *SEVERITIES)
    for held in (None, *SEVERITIES)
    if (0, *SEVERITIES).index(breached or 0) <= (0, *SEVERITIES).index(held or 0)
]
observations = st.sampled_from(_PAIRS).map(
    lambda pair: Observation(0.8, 80.0, 100.0, 0.71, 0.87, None, Evidence.ENOUGH, *pair)
)
panes = st.sampled_from([0, 0, 1, 3])  # 0: late events move the counts, not the time
steps = st.lists(st.tuples(panes, observations), max_size=40)
waits = st.sampled_from([0, PANE_MS, 5 * PANE_MS])
variants = st.builds(
    replace,
    st.just(RULE),
    wait_ms=waits,
    keep_firing_ms=st.sampled_from([0, PANE_MS, 4 * PANE_MS]),
    repeat_ms=st.sampled_from([0, 2 * PANE_MS]),
)
churn_steps = st.lists(
    st.tuples(
        panes,
        st.sampled_from([0.0, 0.44, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0]),
        st.integers(0, 9).map(lambda number: number == 0),
    ),
    max_size=40,
)


def play(rule: Rule, taken: list[tuple[int, Observation]]) -> list[AlertChange]:
    """All changes; the state goes through its encoding at every step, as a table's value does."""
    state, changes, now = None, [], START
    for pane, observation in taken:
        now += pane * PANE_MS
        state, change = reread(advance(rule, state, observation, "all", "all", now))
        changes += [change] if change else []
    return changes


def play_churn(taken: list[tuple[int, float, bool]]) -> list[AlertChange]:
    assert RULES.churn is not None
    state, changes, now, gone = None, [], START, False
    for pane, score, opts_out in taken:
        now += pane * PANE_MS
        gone = gone or opts_out
        assessed = Assessment(score, ("a reason",))
        state, change = reread(advance_churn(RULES.churn, state, assessed, "c-1", now, gone))
        changes += [change] if change else []
    return changes


def reread(step: Step) -> Step:
    state, change = step
    if state is None:
        return None, change
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState)
    assert stored == state
    assert alert_record(stored.last, "/e") == alert_record(state.last, "/e")
    return stored, change


def check_form(changes: list[AlertChange]) -> None:
    """Pending comes before firing, resolved after it; a further firing differs in severity or band, or is a repeat."""
    before: AlertChange | None = None
    for change in changes:
        firing_before = before is not None and before.state == "firing"
        if change.state == "resolved":
            assert firing_before
            assert change.ended_at_ms is not None
            assert change.ended_at_ms >= change.started_at_ms
        else:
            assert change.ended_at_ms is None
        if change.state == "pending":
            assert not firing_before
        if firing_before and before is not None:
            assert change.started_at_ms == before.started_at_ms
            same = (change.severity, change.band) == (before.severity, before.band)
            assert change.state == "resolved" or not same or change.repeated
        before = change
    ids = [alert_id(change) for change in changes]
    assert len(set(ids)) == len(ids)
    assert len({change.fingerprint for change in changes}) <= 1


@given(variants, steps)
def test_any_observations_give_a_well_formed_life(rule: Rule, taken: list[tuple[int, Observation]]) -> None:
    changes = play(rule, taken)
    check_form(changes)
    assert all(change.state != "pending" for change in changes) or rule.wait_ms > 0


@given(variants, steps)
def test_a_replay_tells_the_same(rule: Rule, taken: list[tuple[int, Observation]]) -> None:
    first = [alert_record(change, "/e") for change in play(rule, taken)]
    assert [alert_record(change, "/e") for change in play(rule, taken)] == first


@given(variants, steps)
def test_a_waiting_alert_fires_only_after_its_wait(rule: Rule, taken: list[tuple[int, Observation]]) -> None:
    pending_since = None
    for change in play(rule, taken):
        if change.state == "pending":
            pending_since = change.started_at_ms
        elif change.state == "firing" and change.revision == 0 and rule.wait_ms:
            assert pending_since is not None
            assert change.started_at_ms - pending_since >= rule.wait_ms


@given(variants, steps)
def test_without_a_reason_every_alert_ends(rule: Rule, taken: list[tuple[int, Observation]]) -> None:
    calm = Observation(0.1, 10.0, 100.0, 0.05, 0.17, None, Evidence.ENOUGH, None, None)
    changes = play(rule, [*taken, (1, calm), (5, calm)])
    assert not changes or changes[-1].state in ("resolved", "pending")


@given(variants, steps)
def test_calm_shorter_than_the_hold_ends_no_alert(rule: Rule, taken: list[tuple[int, Observation]]) -> None:
    """Every alert that resolves had been without a reason for as long as its rule asks."""
    now, calm_since, ends = START, None, []
    for pane, observation in taken:
        now += pane * PANE_MS
        calm_since = (now if calm_since is None else calm_since) if observation.may_resolve else None
        ends.append((now, calm_since))
    for change in play(rule, taken):
        if change.state == "resolved":
            since = [begun for time_ms, begun in ends if time_ms == change.as_of_ms and begun is not None]
            assert since and change.as_of_ms - min(since) >= rule.keep_firing_ms


@given(churn_steps)
def test_any_scores_give_a_well_formed_churn_alert(taken: list[tuple[int, float, bool]]) -> None:
    changes = play_churn(taken)
    check_form(changes)
    assert all(change.state != "pending" for change in changes)
    assert changes == play_churn(taken)


@given(churn_steps)
def test_after_an_optout_nothing_fires(taken: list[tuple[int, float, bool]]) -> None:
    left = next((index for index, step in enumerate(taken) if step[2]), len(taken))
    before, after = play_churn(taken[:left]), play_churn(taken)[len(play_churn(taken[:left])) :]
    assert [change.state for change in after] in ([], ["resolved"])
    still_firing = bool(before) and before[-1].state == "firing"
    assert (len(after) == 1) == (still_firing and left < len(taken))


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_what_is_breached_is_held(abandoned: int, purchased: int) -> None:
    seen = observe(RULE, lambda _: {"carts_abandoned": abandoned, "carts_purchased": purchased})
    ranks = [(None, *SEVERITIES).index(severity) for severity in (seen.severity, seen.held)]
    assert ranks[0] <= ranks[1]
    assert seen.severity is None or (seen.low is not None and seen.low > dict(RULE.levels)[seen.severity])
