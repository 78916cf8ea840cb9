"""Machines are told from people by the events alone: in any order, batches and repeats, and after any crash.

The worlds are crowded with what the verdicts hang on: deliveries, clicks on different links and opt-outs of one or two
customers, a millisecond around every threshold. ``tests/oracle`` says what is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.settings import Settings
from stream_app.state.slices import SliceStore
from stream_app.state.suspicion import MOST_KEPT
from tests.support.comparison import differences
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.stores import stores
from tests.support.strategies import examples

Json = dict[str, Any]

WITHIN_MS = 2_000
DISORDER_MS = 20 * 60_000
_GAPS = (0, 0, 300, 1_000, WITHIN_MS, DISORDER_MS)
GAPS = sorted({max(0, gap + shift) for gap in _GAPS for shift in (-1, 0, 1)})
KINDS = (
    *("email.clicked",) * 6,
    *("email.delivered",) * 2,
    *("email.opted_out",) * 2,
    "email.opened",
)
LINKS = ("/a", "/b", "/c", "/d", None)
MACHINE = (None, None, None, None, None, True, False)


class Draw(NamedTuple):
    """The numbers that an event is made of."""

    kind: int
    gap: int
    customer: int
    campaign: int
    link: int
    machine: int
    repeat: int


draws = st.builds(
    Draw,
    kind=st.integers(0, len(KINDS) - 1),
    gap=st.integers(0, len(GAPS) - 1),
    customer=st.integers(0, 3),
    campaign=st.integers(0, 5),
    link=st.integers(0, len(LINKS) - 1),
    machine=st.integers(0, len(MACHINE) - 1),
    repeat=st.integers(0, 9),
)


def event_of(draw: Draw, time_ms: int, event_id: str) -> Json:
    """The event that a draw stands for, at a time."""
    kind = KINDS[draw.kind]
    event = {
        "event_id": event_id,
        "event_type": kind,
        "event_time": time_ms,
        "customer_id": f"c{draw.customer // 3}",
        "campaign_id": f"m{draw.campaign // 4}",
        "segment": (None, "vip", "new")[draw.link % 3],
    }
    if kind == "email.clicked":
        event |= {"link_url": LINKS[draw.link], "machine": MACHINE[draw.machine]}
    if kind == "email.opened":
        event["machine"] = MACHINE[draw.machine]
    if kind == "email.opted_out" and draw.campaign == 5:
        event["campaign_id"] = None
    return event


def make_world(drawn: Sequence[Draw], seed: int) -> list[Json]:
    """Events in order of arrival, no later than the disorder allows, some of them twice."""
    random, now, events = Random(seed), START_MS, []
    for number, draw in enumerate(drawn):
        now += GAPS[draw.gap]
        events.append(event_of(draw, now, f"e{number}"))
        if draw.repeat == 0:
            events.append(dict(events[-1]))
    times = [event["event_time"] + random.choice((0, random.randrange(DISORDER_MS))) for event in events]
    return [events[place] for place in sorted(range(len(events)), key=times.__getitem__)]


worlds = st.builds(make_world, st.lists(draws, min_size=2, max_size=25), st.integers(0, 1 << 16))
steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1 << 16)), max_size=25)


def pipeline(
    world: list[Json],
    lateness_ms: int = DISORDER_MS,
    store: SliceStore | None = None,
    within_ms: int = WITHIN_MS,
) -> Pipeline:
    settings = Settings(allowed_lateness=lateness_ms, machine_click_within=within_ms)
    made = Pipeline(settings, 2, START_MS + 60 * DAY_MS, store=store)
    for event in world:
        made.send(event)
    return made


def take(made: Pipeline, kind: int, number: int) -> None:
    """One step of a run: mostly deliveries of records, else time, flushes and crashes."""
    if kind <= 4:
        waiting = [place for place, records in made.topics.items() if made.read[place] < len(records)]
        if waiting:
            made.deliver(*waiting[number % len(waiting)], (1, 2, 3, None)[number % 4])
    elif kind == 5:
        made.tick((0, 1_000, 30_000, 31_000)[number % 4])
    elif kind <= 7:
        made.flush()
    elif kind == 8:
        made.crash((0, 1, 3, 1_000)[number % 4], (None, 0, 1, 2, 3, 5)[(number >> 4) % 6])
    else:
        made.compact(Random(number))


@examples()
@given(stores, worlds, steps, st.sampled_from((WITHIN_MS, WITHIN_MS, 300, 0)))
def test_any_interleaving_and_any_crash_give_the_batch_counts(
    store: SliceStore, world: list[Json], taken: list[tuple[int, int]], within_ms: int
) -> None:
    made = pipeline(world, store=store, within_ms=within_ms)
    for step in taken:
        take(made, *step)
    made.settle()
    assert not made.rejected()
    assert differences(made.snapshots, made.batch()) == []


@examples()
@given(worlds, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_batch_counts(world: list[Json], random: Random) -> None:
    random.shuffle(world)
    made = pipeline(world, lateness_ms=60 * DAY_MS)
    made.settle()
    assert differences(made.snapshots, made.batch()) == []


@examples()
@given(worlds, steps)
def test_a_verdict_is_that_of_what_has_arrived(world: list[Json], taken: list[tuple[int, int]]) -> None:
    """At every moment, not only in the end."""
    made = pipeline(world)
    for kind, number in taken:
        take(made, min(kind, 5), number)
    made.flush()
    made.topics = {place: records[: made.read[place]] for place, records in made.topics.items()}
    assert differences(made.merged(), made.batch()) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_long_life_gives_the_batch_counts(seed: int) -> None:
    """What is settled long ago counts on: mails of one campaign come again and again, and hasty clicks after each."""
    random = Random(seed)
    world = make_world([_one_after_the_other(random, number) for number in range(600)], seed)
    made = pipeline([])
    made.tick(made.settings.idle_timeout)  # so that nothing is waited for but mail
    for start in range(0, len(world), 10):
        for event in world[start : start + 10]:
            made.send(event)
        made.deliver_all()
        take(made, random.choice((0, 6, 8)), random.randrange(1 << 16))
    made.settle()
    expected = made.batch()
    assert not made.rejected()
    assert differences(made.snapshots, expected) == []
    total = Counter({name: n for name, n in expected.total("all", "all").items() if isinstance(n, int)})
    assert min(total[f"machine_by_{why}"] for why in ("flag", "haste", "burst")) > 3
    assert total["optouts_suspected"] < total["optouts"]
    kept = [owner.shard.customers.get(name) for owner in made.shards for name in ("c0", "c1")]
    unsettled = [len(customer.recent.clicks) for customer in kept if customer and customer.recent]
    assert unsettled and max(unsettled) < 50


def _one_after_the_other(random: Random, number: int) -> Draw:
    """A draw of a campaign that the thirty around it share; every third draw is twenty minutes after the one before."""
    limits = (len(KINDS), len(GAPS) - 3, 4, 6, len(LINKS), len(MACHINE), 10)
    draw = Draw(*(random.randrange(limit) for limit in limits))
    gaps = (0, GAPS.index(300), GAPS.index(300), draw.gap, len(GAPS) - 1, len(GAPS) - 1)
    return draw._replace(campaign=number // 30 * 4, gap=random.choice(gaps))


def test_however_many_clicks_come_at_once_few_are_kept() -> None:
    """Of more than a thousand within the lateness the oldest are settled early, and in order nothing is lost."""
    clicks = [Draw(0, GAPS.index(301), 0, 0, number % 2, 0, 9) for number in range(1_300)]
    made = pipeline([event_of(draw, START_MS + 301 * n, f"e{n}") for n, draw in enumerate(clicks)])
    made.deliver_all()
    made.flush()
    assert differences(made.snapshots, made.batch()) == []
    customer = next(filter(None, (owner.shard.customers.get("c0") for owner in made.shards)))
    assert customer.recent is not None
    assert len(customer.recent.clicks) <= MOST_KEPT + 1
