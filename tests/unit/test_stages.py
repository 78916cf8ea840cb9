"""Stages of customers: what each means, and that they are a matter of days and not of who looks when."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from stream_app.settings import Settings, SettingsError, load_settings
from stream_app.state.customers import Customer
from stream_app.state.stage_counts import stage_on
from stream_app.state.stages import Course, Limits, Mark, Stage, advance, last_day_over, over_at_ms
from tests.support.pipeline import Pipeline
from tests.support.strategies import examples
from tests.support.traffic import event

Json = dict[str, Any]
LIMITS = Limits(new=30, cooling=30, dormant=90, forgotten=400)
TODAY = 20_000


def course_of(*days: tuple[int, Mark], segment: str | None = None) -> Course:
    """A customer with an event on some days, counted from today."""
    course = Course()
    for day, mark in days:
        course.see((TODAY + day) * DAY_MS, segment)
        course.mark((TODAY + day) * DAY_MS, mark)
    return course


def stages_of(course: Course, limits: Limits = LIMITS, days: int = 500) -> list[tuple[int, str]]:
    """At the end of which days which stages begin, up to so many days from today."""
    moves = advance(course, TODAY + days, limits)[1]
    return [(move.day - TODAY, move.stage.word) for move in moves]


SEEN, ENGAGED, LEFT = Mark.SEEN, Mark.ENGAGED, Mark.LEFT


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        pytest.param([(0, SEEN)], [(0, "new"), (30, "cooling"), (90, "dormant"), (400, "")], id="never engaged"),
        pytest.param(
            [(0, ENGAGED), (20, ENGAGED)],
            [(0, "new"), (30, "active"), (50, "cooling"), (110, "dormant"), (420, "")],
            id="engaged once more",
        ),
        pytest.param(
            [(0, ENGAGED), (60, SEEN), (70, ENGAGED)],
            [(0, "new"), (30, "cooling"), (70, "active"), (100, "cooling"), (160, "dormant"), (470, "")],
            id="who was cooling does not return, but is active",
        ),
        pytest.param(
            [(0, ENGAGED), (90, SEEN), (100, ENGAGED), (120, ENGAGED)],
            [
                *[(0, "new"), (30, "cooling"), (90, "dormant"), (100, "returned"), (130, "active")],
                *[(150, "cooling"), (210, "dormant"), (520, "")],
            ],
            id="engaged again after having been dormant",
        ),
        pytest.param(
            [(0, ENGAGED), (90, ENGAGED)],
            [(0, "new"), (30, "cooling"), (90, "active"), (120, "cooling"), (180, "dormant"), (490, "")],
            id="on the day that would have made dormant",
        ),
        pytest.param(
            [(0, ENGAGED), (10, LEFT), (11, ENGAGED), (300, ENGAGED)],
            [(0, "new"), (10, "left"), (700, "")],
            id="whatever comes after it, who has left has left",
        ),
        pytest.param(
            [(0, ENGAGED), (399, SEEN), (800, ENGAGED)],
            [(0, "new"), (30, "cooling"), (90, "dormant"), (799, ""), (800, "new"), (830, "cooling"), (890, "dormant")],
            id="who was forgotten is new",
        ),
    ],
)  # fmt: skip
def test_stages(days: list[tuple[int, Mark]], expected: list[tuple[int, str]]) -> None:
    assert stages_of(course_of(*days), days=900) == expected


def test_a_day_is_over_a_minute_after_its_end() -> None:
    edge_ms = (TODAY + 1) * DAY_MS + MINUTE_MS
    assert (last_day_over(edge_ms - 1), last_day_over(edge_ms)) == (TODAY - 1, TODAY)
    assert over_at_ms(TODAY) == edge_ms


histories = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from([0, 0, HOUR_MS, DAY_MS - 1]),
        st.sampled_from([None, "vip", "new", "x"]),
        st.sampled_from([SEEN, SEEN, ENGAGED, ENGAGED, ENGAGED, LEFT]),
    ),
    max_size=12,
)
limits = st.builds(
    lambda new, cooling, longer, forgotten: Limits(new, cooling, cooling + longer, forgotten),
    *(st.integers(1, 60), st.integers(1, 40), st.integers(1, 60), st.sampled_from([5, 30, 100, 400])),
)


def told(history: list[tuple[int, int, str | None, Mark]]) -> Course:
    course = Course()
    for day, at_ms, segment, mark in history:
        time_ms = (TODAY + day) * DAY_MS + at_ms
        course.see(time_ms, segment)
        course.mark(time_ms, mark)
    return course


@examples(5)
@given(histories, limits, st.lists(st.integers(0, 1000), max_size=6))
def test_through_one_day_and_then_another_is_the_same_as_at_once(
    history: list[tuple[int, int, str | None, Mark]], limits: Limits, looks: list[int]
) -> None:
    at_once, moves = advance(told(history), TODAY + 1000, limits)
    course, step_by_step = told(history), []
    for day in [*sorted(looks), 1000]:
        course, more = advance(course, TODAY + day, limits)
        step_by_step += more
    assert (course, step_by_step) == (at_once, moves)
    assert course == Course() or not course.days


@examples(3)
@given(histories, st.integers(0, 1 << 16))
def test_the_order_of_arrival_changes_nothing(
    history: list[tuple[int, int, str | None, Mark]], seed: int
) -> None:
    shuffled = list(history)
    Random(seed).shuffle(shuffled)
    assert told(shuffled) == told(history)


@examples(3)
@given(histories, limits)
def test_every_move_begins_where_the_last_one_ended(
    history: list[tuple[int, int, str | None, Mark]], limits: Limits
) -> None:
    moves = advance(told(history), TODAY + 2_000, limits)[1]
    before: tuple[Stage, str | None] = (Stage.NONE, None)
    for move in moves:
        assert (move.stage_before, move.segment_before) == before
        before = (move.stage, move.segment)
    assert before == (Stage.NONE, None), "in the end everybody is forgotten"
    assert [move.day for move in moves] == sorted({move.day for move in moves}), "one a day at most"


# --- In a shard ---

DAY_0 = TODAY * DAY_MS
SETTINGS = Settings(retention=400 * DAY_MS, allowed_lateness=0, idle_timeout=1)


def scene(*events: tuple[str, int, Json]) -> Pipeline:
    """A pipeline that has read events of a customer, each at a time after the beginning of the first day."""
    made = Pipeline(SETTINGS, 1, DAY_0 + 1_000 * DAY_MS)
    for event_type, at_ms, fields in events:
        made.send(event(event_type, "ada", DAY_0 + at_ms, **fields))
        made.deliver_all()
    made.flush()
    return made


def later(made: Pipeline, days: float) -> None:
    """Time goes on."""
    made.tick(1)
    made.tick(round(days * DAY_MS))
    made.flush()


def stages(made: Pipeline, key: str = "all:all", window: str = "total") -> dict[str, int]:
    """The counts of stages that are not 0."""
    counts = made.counts(key, window)
    return {name: n for name, n in counts.items() if n and name.startswith(("stage_", "became_"))}


def test_a_customer_counts_in_the_pane_that_begins_with_the_next_day() -> None:
    made = scene(("email.delivered", HOUR_MS, {"campaign_id": "m", "segment": "vip"}))
    assert stages(made) == {}, "the day is not over"
    later(made, 1)
    assert stages(made) == stages(made, "segment:vip") == {"stage_new": 1, "became_new": 1}
    assert made.snapshot("all:all")["as_of"].startswith("2024-10-05T00:00:10")
    later(made, 31)
    assert stages(made) == {"stage_cooling": 1, "became_new": 1, "became_cooling": 1}
    assert stages(made, window="24h") == {}, "a day later it is no move of the last day any more"


def test_a_segment_that_changes_takes_the_customer_with_it_and_is_no_move() -> None:
    made = scene(
        ("email.opened", HOUR_MS, {"campaign_id": "m", "segment": "vip"}),
        ("email.opened", 40 * HOUR_MS, {"campaign_id": "n", "segment": "gold"}),
    )
    later(made, 2)
    assert stages(made) == {"stage_new": 1, "became_new": 1}
    assert stages(made, "segment:vip") == {"became_new": 1}
    assert stages(made, "segment:gold") == {"stage_new": 1}


def test_a_complaint_is_a_leave_too() -> None:
    made = scene(("email.delivered", 0, {"campaign_id": "m"}), ("email.complained", HOUR_MS, {}))
    later(made, 1)
    assert stages(made) == {"stage_left": 1, "became_left": 1}


def test_before_its_day_is_over_a_stage_is_what_is_known_of_it() -> None:
    made = scene(("email.opened", HOUR_MS, {"campaign_id": "m"}), ("email.opted_out", 2 * HOUR_MS, {}))
    customer = made.shards[0].shard.customers.get("ada")
    assert customer is not None
    assert stage_on(customer, TODAY - 1, LIMITS) is Stage.NONE
    assert stage_on(customer, TODAY, LIMITS) is Stage.LEFT
    assert stages(made) == {}, "looking decides nothing"


def test_a_segment_is_not_forgotten_while_anybody_is_counted_there() -> None:
    made = scene(("email.delivered", HOUR_MS, {"campaign_id": "m", "segment": "vip"}))
    for day in range(1, 900, 100):  # the customer is seen all the time, the segment never again
        made.send(event("email.delivered", "ada", DAY_0 + day * DAY_MS, campaign_id="m"))
        made.deliver_all()
        made.tick(2)
        for _ in range(70):  # while the journals come round
            made.tick(HOUR_MS)
            made.flush()
    held = made.merged()["segment:vip"]["windows"]["total"]["counts"]
    assert held["stage_dormant"] == 1
    later(made, 402)
    assert stages(made, "segment:vip")["became_dormant"] == 1
    assert "stage_dormant" not in stages(made, "segment:vip")


def test_a_click_that_a_delivery_of_the_next_day_makes_a_machines_is_no_engagement() -> None:
    said = {"campaign_id": "m"}
    made = scene(("email.delivered", 0, said), ("ticket.opened", 29 * DAY_MS, {"ticket_id": "t"}))
    made.send(event("email.clicked", "ada", DAY_0 + 31 * DAY_MS - 500, campaign_id="n"))
    made.send(event("email.delivered", "ada", DAY_0 + 31 * DAY_MS + 500, campaign_id="n"))
    made.deliver_all()
    later(made, 1)
    assert stages(made) == {"stage_cooling": 1, "became_new": 1, "became_cooling": 1}


@pytest.mark.parametrize("what_comes_after", [[], ["email.delivered"], ["email.clicked", "email.delivered"]])
def test_a_click_by_a_person_is_an_engagement_settled_or_not(what_comes_after: list[str]) -> None:
    clicked_ms = 40 * DAY_MS + HOUR_MS
    made = scene(
        ("email.delivered", 0, {"campaign_id": "m"}), ("email.clicked", clicked_ms, {"campaign_id": "m"})
    )
    for event_type in what_comes_after:
        made.send(event(event_type, "ada", DAY_0 + clicked_ms + HOUR_MS, campaign_id="n", machine=True))
        made.deliver_all()
        later(made, 0.2)
    later(made, 1)
    assert stages(made)["stage_active"] == 1


def test_who_is_only_looked_at_is_not_written() -> None:
    made = scene(("email.opened", HOUR_MS, {"campaign_id": "m"}))
    later(made, 1)
    shard = made.shards[0].shard
    for day in range(10):
        made.tick(DAY_MS)
        assert shard.review_is_due()
        shard.flush()
        assert list(shard.take_reviewed()) == ["ada"]
        written = [key for key, _ in made.shards[0].journal.shelf.write_down()]
        assert "u:ada" not in written, day


def test_who_is_forgotten_leaves_their_stage_and_nothing_stays() -> None:
    made = scene(("email.opened", HOUR_MS, {"campaign_id": "m", "segment": "vip"}))
    later(made, 400)
    assert stages(made)["stage_dormant"] == stages(made, "segment:vip")["stage_dormant"] == 1
    later(made, 2)
    assert not [name for name in stages(made) if name.startswith("stage_")]
    for _ in range(70):  # until the journal has come round
        made.tick(HOUR_MS)
        made.send(event("email.bounced", "other", DAY_0 + 402 * DAY_MS, campaign_id="m"))
        made.deliver_all()
        made.flush()
    assert made.shards[0].shard.customers.get("ada") is None


def test_who_comes_on_the_day_that_would_have_forgotten_them_is_known_still() -> None:
    made = scene(("email.opened", 18 * HOUR_MS, {"campaign_id": "m"}))
    evening_ms = DAY_0 + 400 * DAY_MS + 20 * HOUR_MS
    made.send(event("email.delivered", "other", evening_ms, campaign_id="n"))
    made.deliver_all()
    later(made, 0.01)
    assert made.shards[0].shard.watermark.current_ms - DAY_0 - 18 * HOUR_MS > SETTINGS.retention
    made.send(event("email.opened", "ada", evening_ms + HOUR_MS, campaign_id="n"))
    made.deliver_all()
    later(made, 1)
    held = stages(made)
    assert (held["stage_returned"], held["stage_new"], held["became_new"]) == (1, 1, 2)


def test_an_old_journal_without_stages_is_read() -> None:
    old = msgspec.msgpack.encode(msgspec.structs.astuple(Customer(last_seen_ms=5))[:-1])
    held = msgspec.msgpack.decode(old, type=Customer)
    assert held.last_seen_ms == 5
    assert held.stages == Course()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("stage_dormant", "30d", "write more than stage_cooling, 30d"),
        ("stage_cooling", "90d", "write more than stage_cooling, 90d"),
        ("stage_new", "36h", "write whole days, such as 30d"),
        ("stage_new", "1h", "at least 1d"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(None, **{setting: value})
