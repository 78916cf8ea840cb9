"""The look that spares most customers an assessment is never wrong on the other side: whoever it passes over is in no band."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_app.churn.facts import facts_of, may_be_silent
from stream_app.clock import DAY_MS, HOUR_MS
from stream_app.state.customers import Customer
from stream_app.state.slices import MemoryStore
from tests.support.pipeline import START_MS, Pipeline
from tests.support.strategies import examples, world_settings
from tests.support.traffic import event

KINDS = (
    "email.delivered",
    "email.delivered",
    "email.opened",
    "email.clicked",
    "email.opened",
    "cart.purchased",
)
GAPS_MS = (0, HOUR_MS, 30 * HOUR_MS, 9 * DAY_MS)
LATER_MS = (0, 10 * DAY_MS, 40 * DAY_MS, 200 * DAY_MS)
CLOCK_MS = START_MS + 400 * DAY_MS  # behind which nothing lies

Draw = tuple[int, int, int]
draws = st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 3), st.integers(0, len(GAPS_MS) - 1))


def story(drawn: list[Draw]) -> Customer:
    """What is kept of a customer who got mails of four campaigns, opened, clicked and bought."""
    made = Pipeline(world_settings(allowed_lateness=DAY_MS), 1, CLOCK_MS, store=MemoryStore())
    time_ms = START_MS
    for kind, number, gap in drawn:
        time_ms += GAPS_MS[gap]
        is_mail = KINDS[kind].startswith("email")
        about: dict[str, Any] = {"campaign_id": f"m{number}"} if is_mail else {"cart_id": "x", "value": 1}
        made.send(event(KINDS[kind], "ann", time_ms, **about))
    made.settle()
    customer = made.shards[0].shard.customers.get("ann")
    assert customer is not None
    return customer


def is_silent(customer: Customer) -> bool:
    """Whether there is a silence to speak of, now or later; without one there is no band."""
    return any(facts_of(customer, customer.last_seen_ms + later).is_silent for later in LATER_MS)


@examples()
@given(st.lists(draws, min_size=1, max_size=12))
def test_whoever_is_passed_over_is_in_no_band(drawn: list[Draw]) -> None:
    customer = story(drawn)
    assert may_be_silent(customer) or not is_silent(customer)


def test_the_stories_know_both() -> None:
    chance = Random(1)
    stories = [
        story([(chance.randrange(len(KINDS)), chance.randrange(4), chance.randrange(4)) for _ in range(8)])
        for _ in range(60)
    ]
    assert 10 < sum(map(is_silent, stories)) < 50
    assert 5 < sum(not may_be_silent(customer) for customer in stories) < 55
