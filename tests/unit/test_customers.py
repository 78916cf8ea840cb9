"""What is remembered of a customer is the same whatever the order in which events of a time arrived."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.churn.size import MOST_BYTES, churn_bytes, fullest_customer, size_line
from stream_app.state.customers import Customer
from stream_app.state.habits import PERIODS
from stream_app.state.signs import STREAK_KEPT
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.strategies import world_settings

Json = dict[str, Any]


def told(*events: Json) -> Pipeline:
    pipeline = Pipeline(world_settings(allowed_lateness=DAY_MS), 1, START_MS + DAY_MS)
    for number, event in enumerate(events):
        base = {"event_id": f"e{number}", "customer_id": "ann"}
        pipeline.send({**base, **event, "event_time": START_MS + event["event_time"]})
    pipeline.settle()
    return pipeline


def ann(pipeline: Pipeline) -> Customer:
    customer = pipeline.shards[0].shard.customers.get("ann")
    assert customer is not None
    return customer


def ticket(kind: str, at_ms: int, **fields: Any) -> Json:
    return {"event_type": f"ticket.{kind}", "event_time": at_ms, "ticket_id": "t", **fields}


LIVES = [
    ([ticket("opened", 0), ticket("resolved", 10)], 0),
    ([ticket("opened", 0), ticket("resolved", 10), ticket("reopened", 20)], 1),
    ([ticket("opened", 0, segment="a"), ticket("opened", 5, segment="b"), ticket("resolved", 10)], 0),
    ([ticket("opened", 0), ticket("resolved", 10), ticket("reopened", 20), ticket("resolved", 30)], 0),
]


@pytest.mark.parametrize(("life", "still_open"), LIVES)
def test_open_tickets_are_the_same_in_any_order_of_arrival(life: list[Json], still_open: int) -> None:
    found = {
        order: ann(told(*(life[n] for n in order))).felt().tickets_open
        for order in permutations(range(len(life)))
    }
    assert found == dict.fromkeys(found, still_open)


def test_deliveries_since_the_last_engagement_are_the_unanswered_ones_in_any_order() -> None:
    mails = [
        {"event_type": "email.delivered", "event_time": 0, "campaign_id": "a"},
        {"event_type": "email.delivered", "event_time": 20_000, "campaign_id": "b"},
        {"event_type": "email.opened", "event_time": 10_000, "campaign_id": "a"},
    ]
    for order in permutations(mails):
        assert ann(told(*order)).mail.times_s == [START_MS // 1000 + 20]


seen = st.tuples(st.integers(0, 3), st.sampled_from([None, "", "a", "b"]))


@given(st.lists(seen, max_size=6), st.randoms())
def test_a_customers_segment_is_the_latest_by_event_time_whatever_comes_first(
    events: list[tuple[int, str | None]], chance: Random
) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    customer, other = Customer(), Customer()
    for held, order in ((customer, events), (other, shuffled)):
        for time_ms, segment in order:
            held.see(time_ms, segment)
    assert customer == other
    assert customer.last_seen_ms == max((time_ms for time_ms, _ in events), default=0)
    borne = [(time_ms, segment) for time_ms, segment in events if segment]
    if borne:
        assert (customer.last_seen_ms - customer.segment_age_ms, customer.segment) == max(borne)
    else:
        assert (customer.segment, customer.segment_age_ms) == (None, 0)


def test_a_unique_count_moves_to_the_pane_and_segment_of_an_earlier_event() -> None:
    late = {"event_type": "email.clicked", "event_time": 3_600_000, "campaign_id": "m", "segment": "late"}
    early = {**late, "event_time": 0, "segment": "early"}
    pipeline = told(late, early)
    assert pipeline.counts("campaign:m")["unique_clicks"] == 1
    assert pipeline.counts("campaign:m", "1m")["unique_clicks"] == 0
    assert pipeline.counts("campaign:m", "1m")["clicks"] == 1
    assert pipeline.counts("segment:late")["unique_clicks"] == 0
    assert pipeline.counts("segment:early")["unique_clicks"] == 1


def test_what_churn_remembers_of_a_customer_is_small_with_every_list_full() -> None:
    fullest = fullest_customer()
    signs = fullest.felt()
    assert len(fullest.mail.times_s) == STREAK_KEPT
    assert len(signs.carts.times_s) == len(signs.chats.times_s) == len(signs.ratings.times_s) > 1
    assert len(fullest.used_to().received) == PERIODS
    assert churn_bytes(fullest) <= MOST_BYTES
    assert churn_bytes(Customer()) < 10
    print(size_line([Customer(), fullest]))
