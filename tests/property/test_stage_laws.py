"""The stages of customers are those of the batch, over weeks in which they fall silent, come back and are forgotten.

As in ``test_exactness.py``, whatever the order, the batches and the crashes; there the days are few, and nobody is
forgotten. Compared is how many are at each stage, in total and in every window, and the moves in every window.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_app.settings import Settings
from stream_app.state.slices import SliceStore
from tests import oracle
from tests.support.comparison import differences
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.stores import stores
from tests.support.strategies import examples

Json = dict[str, Any]

HOUR_MS = 3_600_000

GAPS = (0, 500, HOUR_MS, 5 * HOUR_MS, 20 * HOUR_MS, DAY_MS, 2 * DAY_MS, 3 * DAY_MS, 5 * DAY_MS, 9 * DAY_MS)
WHAT: tuple[tuple[str, Json], ...] = (
    ("email.delivered", {}),
    ("email.delivered", {}),
    ("email.opened", {}),
    ("email.opened", {"machine": True}),
    ("email.clicked", {}),
    ("email.clicked", {}),
    ("email.clicked", {"machine": False}),
    ("email.opted_out", {}),
    ("email.complained", {}),
    ("email.bounced", {}),
    ("cart.purchased", {"cart_id": "x", "value": 1}),
    ("cart.updated", {"cart_id": "x", "value": 1}),
    ("ticket.opened", {"ticket_id": "t"}),
)
SEGMENTS = (None, "vip", "new", "x")
LEAVE = ("email.opted_out", "email.complained")

draws = st.tuples(
    st.integers(0, len(WHAT) - 1),
    st.integers(0, len(GAPS) - 1),
    st.integers(0, 3),
    st.integers(0, len(SEGMENTS) - 1),
    st.integers(0, 3),
)


def settings_with(lateness_ms: int) -> Settings:
    """Settings with stages of a few days."""
    return Settings(
        stage_new=2 * DAY_MS,
        stage_cooling=2 * DAY_MS,
        stage_dormant=4 * DAY_MS,
        retention=7 * DAY_MS,
        allowed_lateness=lateness_ms,
        duplicate_window=30 * DAY_MS,
    )


def make_weeks(
    drawn: list[tuple[int, int, int, int, int]], seed: int, lateness_ms: int
) -> tuple[Settings, list[Json]]:
    """Events in order of arrival, each a gap after the one before; few of the customers leave."""
    chance, now, events = Random(seed), START_MS, []
    for number, (what, gap, customer, segment, campaign) in enumerate(drawn):
        now += GAPS[gap]
        event_type, fields = WHAT[what]
        event = {"event_id": f"e{number}", "event_time": now, "customer_id": f"c{customer}", **fields}
        event["event_type"] = "email.opened" if event_type in LEAVE and customer else event_type
        if event["event_type"].startswith("email."):
            event["campaign_id"] = f"m{campaign}"
        if SEGMENTS[segment]:
            event["segment"] = SEGMENTS[segment]
        events.append(event)
    times = [event["event_time"] + chance.randint(0, lateness_ms) for event in events]
    arrived = [events[place] for place in sorted(range(len(events)), key=lambda place: times[place])]
    return settings_with(lateness_ms), arrived


weeks = st.builds(
    make_weeks,
    st.lists(draws, min_size=1, max_size=40),
    st.integers(0, 1 << 16),
    st.sampled_from([0, HOUR_MS, DAY_MS]),
)
steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1 << 16)), max_size=40)


def take(made: Pipeline, kind: int, number: int) -> None:
    """One step of a run: mostly deliveries, else time, a flush or a crash."""
    waiting = [place for place, records in made.topics.items() if made.read[place] < len(records)]
    if kind <= 5 and waiting:
        made.deliver(*waiting[number % len(waiting)], (1, 2, 3, 7, None)[number % 5])
    elif kind == 6:
        made.tick((1_000, 31_000, HOUR_MS)[number % 3])
    elif kind == 7:
        made.flush()
    elif kind == 8:
        made.flush_shards()
    else:
        made.crash((0, 1, 1_000)[number % 3], (None, 0, 1, 2, 3, 5)[(number >> 4) % 6])


def wrong_stages(made: Pipeline) -> list[str]:
    """Where the stages are not those of the batch. The oracle knows no retention: it remembers the moves of segments
    whose customers are all forgotten, and what is in no window any more."""
    found = []
    for line in differences(made.merged(), made.batch()):
        in_total = " total." in line
        if ".stage_" in line or (".became_" in line and not in_total):
            found.append(line)
    return found


def wrong_stages_so_far(made: Pipeline) -> list[str]:
    """The same amid the stream, of all customers together."""
    accepted = made.accepted(delivered_only=True)
    expected = oracle.compute(accepted, settings=made.oracle_settings(), now_ms=made.watermarks())
    return [line for line in differences(made.merged(), expected) if ".stage_" in line]


@examples(1.5)
@given(stores, weeks, steps)
def test_over_weeks_and_crashes_the_stages_are_those_of_the_batch(
    store: SliceStore, given_weeks: tuple[Settings, list[Json]], taken: list[tuple[int, int]]
) -> None:
    settings, events = given_weeks
    made = Pipeline(settings, 2, START_MS + 500 * DAY_MS, store=store)
    for event in events:
        made.send(event)
    for kind, number in taken:
        take(made, kind, number)
        if kind == 7:
            assert wrong_stages_so_far(made) == []
    made.settle()
    assert not made.rejected()
    assert wrong_stages(made) == []
    for days in (1, 3, 5):
        made.tick(days * DAY_MS)
        made.crash(during_flush=days % 3)
        made.flush()
        assert wrong_stages(made) == []
    made.tick(10 * DAY_MS)
    made.flush()
    left = [name for name, n in made.counts("all:all").items() if n and name.startswith("stage_")]
    assert left == [], "everybody is forgotten"


def test_the_weeks_see_every_stage() -> None:
    chance, seen = Random(3), set[str]()
    for seed in range(30):
        drawn = [tuple(chance.randint(0, most) for most in (12, 9, 3, 3, 3)) for _ in range(40)]
        settings, events = make_weeks(drawn, seed, DAY_MS)  # type: ignore[arg-type]
        made = Pipeline(settings, 1, START_MS + 500 * DAY_MS)
        for event in events:
            made.send(event)
        made.settle()
        counts = made.counts("all:all")
        seen |= {name for name, number in counts.items() if number and name.startswith("became_")}
    assert seen == {
        f"became_{stage}" for stage in ("new", "active", "cooling", "dormant", "left", "returned")
    }
