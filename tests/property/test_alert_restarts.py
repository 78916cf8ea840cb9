"""Whatever comes, and whenever a worker takes over from another: the shipped rules tell the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.alerts.message import alert_id
from stream_app.alerts.rules import load_rules
from stream_app.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from tests.support.rule_scene import START, Scene

RULES = load_rules().rules
# What a few minutes may bring to a key: a usual time of it, a bad one, and nothing.
HAPPENINGS = {
    "campaign:spring-sale": (
        {"deliveries": 2_000, "unique_clicks": 40, "optouts": 2},
        {"deliveries": 10, "optouts": 60, "complaints": 20, "bounces": 400},
    ),
    "segment:new": (
        {"deliveries": 500, "unique_clicks": 20, "carts_abandoned": 70, "carts_purchased": 30},
        {"deliveries": 4_000, "unique_clicks": 5, "carts_abandoned": 150},
    ),
    "channel:web": (
        {"chats_started": 30, "chats_missed": 1, "tickets_resolved": 30, "tickets_reopened": 1},
        {"chats_started": 60, "chats_missed": 40, "tickets_resolved": 40, "tickets_reopened": 30},
    ),
    "all:all": (
        {"carts_started": 400, "carts_abandoned": 140, "carts_purchased": 60, "tickets_opened": 8},
        {"carts_abandoned": 200, "tickets_opened": 90},
    ),
}
STEPS = (10 * SECOND_MS, 5 * MINUTE_MS, 40 * MINUTE_MS, 3 * HOUR_MS, 13 * HOUR_MS)

moments = st.lists(
    st.tuples(
        st.sampled_from(STEPS),
        st.sampled_from([None, *HAPPENINGS]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)


def play(taken: list[tuple[int, str | None, bool, bool]], restarts: bool) -> Scene:
    scene, now_ms = Scene(*RULES), START
    for step_ms, key, is_bad, takes_over in taken:
        now_ms += step_ms
        happened = [] if key is None else [scene.counted(key, HAPPENINGS[key][is_bad], now_ms)]
        scene.hear(now_ms, happened)
        if restarts and takes_over:
            scene.restart()
    return scene


@settings(max_examples=60, deadline=None)
@given(moments)
def test_a_takeover_changes_nothing(taken: list[tuple[int, str | None, bool, bool]]) -> None:
    steady, shaken = play(taken, restarts=False), play(taken, restarts=True)
    assert shaken.changes == steady.changes
    ids = [alert_id(change) for change in steady.changes]
    assert len(set(ids)) == len(ids)


def test_every_condition_over_numbers_is_played() -> None:
    """The law above would be empty if nothing fired."""
    day = [(5 * MINUTE_MS, key, False, True) for key in HAPPENINGS for _ in range(24)]
    week = [(HOUR_MS, key, False, True) for _ in range(40) for key in HAPPENINGS]
    bad = [(5 * MINUTE_MS, key, True, True) for _ in range(4) for key in HAPPENINGS]
    silence = [(MINUTE_MS * 30, None, False, True)] * 60
    told = play([*day, *week, *bad, *silence], restarts=True).changes
    fired = {change.condition for change in told if change.state == "firing"}
    assert fired >= {"threshold", "change", "no_data"}
