"""The batch oracle against METRICS.md's worked examples, its tricky definitions, and the real data."""

import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import (
    END_OF_TIME,
    PANE_MS,
    Contribution,
    Rate,
    Record,
    Result,
    Settings,
    compute,
    rates,
    time_ms,
)
from tests.oracle.windows import COUNTS, wilson

HOUR = 3_600_000
CHAT = 120_000
T0 = 1_700_000_000_000 // PANE_MS * PANE_MS
TOPICS = {
    "email.delivered": "email.deliveries",
    "email.bounced": "email.deliveries",
    "email.opened": "email.opens",
    "email.clicked": "email.clicks",
    "email.opted_out": "email.optouts",
    "email.complained": "email.optouts",
    "chat": "chats",
    "cart": "carts",
    "ticket": "tickets",
}
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "signals-2019.ndjson.gz"

Bodies = list[dict[str, Any]]


def body(event_type: str, at: int | str, customer: str = "ann", **fields: object) -> dict[str, Any]:
    """An event `at` milliseconds after T0 (or at a time as text), with its family's id unless given."""
    family = event_type.split(".")[0]
    ids = {"email": {"campaign_id": "c1"}} if family == "email" else {family: {f"{family}_id": "x1"}}
    event_time = at if isinstance(at, str) else T0 + at
    return {
        "event_type": event_type,
        "event_time": event_time,
        "customer_id": customer,
        **ids[family],
        **fields,
    }


def topic_of(event_type: str) -> str:
    """The topic that carries this type."""
    return TOPICS.get(event_type) or TOPICS[event_type.split(".")[0]]


def records(bodies: Iterable[dict[str, Any]], partition: int = 0) -> list[Record]:
    """The events as records, in this order, each with an id of its own unless it has one."""
    offsets: Counter[str] = Counter()
    result = []
    for number, event in enumerate(bodies):
        topic = topic_of(event["event_type"])
        result.append(Record(topic, partition, offsets[topic], {"event_id": f"e{number}", **event}))
        offsets[topic] += 1
    return result


def run(*bodies: dict[str, Any], now: int | None = END_OF_TIME) -> Result:
    """The oracle over these events, in order of arrival, `now` milliseconds after T0."""
    return compute(records(bodies), settings=Settings(), now_ms=None if now is None else T0 + now)


def nonzero(result: Result, key: str = "all:all") -> dict[str, object]:
    """The counts of a key that are not 0."""
    return {count: value for count, value in result.total(*key.split(":")).items() if value}


def when(result: Result, count: str, key: str = "all:all") -> list[int]:
    """The times, after T0, of everything that a count consists of."""
    dimension, name = key.split(":")
    contributions = result.contributions.get((dimension, name), [])
    return [item.time - T0 for item in contributions if item.count == count]


def everyone(event_type: str, at: int, customers: Iterable[int], **fields: object) -> Bodies:
    """The same event of many customers."""
    return [body(event_type, at, f"p{number}", **fields) for number in customers]


def rate_of(result: Result, name: str, key: str = "all:all") -> Rate:
    """A rate of a key's total."""
    return rates(result.total(*key.split(":")))[name]


# --- METRICS.md's worked examples


def test_example_ctr() -> None:
    result = run(*everyone("email.delivered", 0, range(1000)), *everyone("email.clicked", HOUR, range(100)))
    for key in ("all:all", "campaign:c1"):
        ctr = rate_of(result, "ctr", key)
        assert ctr[:3] == (0.1, 100, 1000)
        assert (ctr.low, ctr.high) == pytest.approx((0.083, 0.12), abs=5e-4)


def test_example_echo_chamber() -> None:
    first = [
        *everyone("email.delivered", 0, range(1000)),
        *everyone("email.clicked", HOUR, range(100)),
        *everyone("email.opted_out", HOUR, range(900, 1000)),
    ]
    second = [
        *everyone("email.delivered", 3 * HOUR, range(900), campaign_id="c2"),
        *everyone("email.clicked", 4 * HOUR, range(100), campaign_id="c2"),
    ]
    result = run(*first, *second)
    assert rate_of(result, "ctr", "campaign:c1").value == 0.1
    assert rate_of(result, "ctr_adjusted", "campaign:c1").value == 0.1
    assert rate_of(result, "optout_rate", "campaign:c1").value == 0.1
    assert rate_of(result, "ctr", "campaign:c2").value == pytest.approx(1 / 9)
    assert rate_of(result, "ctr_adjusted", "campaign:c2")[:3] == (0.1, 100, 1000)
    assert rate_of(result, "disengagement_rate").value == 0.1


def test_example_disengagement() -> None:
    result = run(*everyone("email.delivered", 0, range(1000)), *everyone("email.opted_out", 9, range(250)))
    assert rate_of(result, "disengagement_rate")[:3] == (0.25, 250, 1000)


def test_example_one_person_opens_five_times() -> None:
    counts = nonzero(run(*[body("email.opened", at) for at in range(5)]))
    assert counts == {"opens": 5, "unique_opens": 1, "unique_engaged": 1}


def test_example_a_proxy_opens() -> None:
    opened = everyone("email.opened", 9, range(600), machine=True)
    result = run(*everyone("email.delivered", 0, range(1000)), *opened)
    assert nonzero(result) == {
        "deliveries": 1000,
        "machine_opens": 600,
        "machine_by_flag": 600,
        "reached": 1000,
    }
    assert rate_of(result, "open_rate").value == 0


def test_example_ten_carts() -> None:
    carts = [body("cart.updated", 0, cart_id=f"k{number}", value=1) for number in range(8)]
    carts += [body("cart.updated", 2 * HOUR, cart_id=f"k{number}", value=1) for number in (8, 9)]
    carts += [body("cart.purchased", 9, cart_id=f"k{number}", value=1) for number in range(3)]
    result = run(*carts, now=2 * HOUR + 1)
    assert rate_of(result, "abandonment_rate")[:3] == (5 / 8, 5, 8)


# --- times, duplicates, shards


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2019-01-02T12:03:50.379Z", 1_546_430_630_379),
        ("2019-01-02T13:33:50.379+01:30", 1_546_430_630_379),
        ("2019-01-02T09:03:50.379-03:00", 1_546_430_630_379),
        ("2019-01-02t12:03:50.3799999z", 1_546_430_630_379),
        ("2019-01-02T12:03:50.3Z", 1_546_430_630_300),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    assert time_ms(text) == time_ms(milliseconds) == milliseconds


def test_the_first_record_of_an_id_is_the_event() -> None:
    result = run(
        body("email.opened", 50, event_id="same"),
        body("email.opened", 10, event_id="same"),
        body("email.clicked", 20, event_id="same"),
    )
    assert (when(result, "opens"), when(result, "clicks")) == ([50], [20])


def test_the_first_record_is_that_of_the_smallest_offset() -> None:
    given = records([body("email.opened", 50, event_id="same"), body("email.opened", 10, event_id="same")])
    assert when(compute(reversed(given), now_ms=None), "opens") == [50]


def test_arrival_out_of_order_changes_nothing() -> None:
    events = [
        body("cart.updated", 0, value=1),
        body("cart.updated", HOUR, value=2),
        body("cart.purchased", HOUR + 5),
    ]
    assert nonzero(run(*events)) == nonzero(run(*reversed(events)))


def test_each_shard_has_its_own_watermark() -> None:
    cart = [body("cart.updated", 0, value=1)]
    shards = [*records(cart, 0), *records(cart, 1), *records(cart, 2)]
    result = compute(shards, settings=Settings(), now_ms={0: T0 + HOUR, 1: T0 + HOUR + 1})
    assert result.total("all", "all")["carts_abandoned"] == 1


def test_the_timeouts_are_settings() -> None:
    given = records([body("cart.updated", 0, value=1), body("chat.started", 0)])
    settings = Settings(cart_timeout_ms=7, chat_timeout_ms=9)
    result = compute(given, settings=settings, now_ms=T0 + 9)
    assert (when(result, "carts_abandoned"), when(result, "chats_missed")) == ([7], [])
    result = compute(given, settings=settings, now_ms=T0 + 10)
    assert (when(result, "carts_abandoned"), when(result, "chats_missed")) == ([7], [9])


# --- keys, windows, rates


def test_an_event_counts_in_what_it_bears() -> None:
    result = run(
        body("email.delivered", 0, segment="vip", channel="web"),
        body("chat.rated", 0, segment="vip", channel="web", campaign_id="c9", rating=5),
        body("cart.updated", 0, campaign_id="c9", channel="phone", value=1),
    )
    assert result.keys() == [("all", "all"), ("campaign", "c1"), ("channel", "web"), ("segment", "vip")]
    assert nonzero(result, "campaign:c1") == {"deliveries": 1}
    assert nonzero(result, "segment:vip") == {
        "deliveries": 1,
        "reached": 1,
        "ratings": 1,
        "ratings_positive": 1,
    }
    assert nonzero(result, "channel:web") == {"ratings": 1, "ratings_positive": 1}


def test_a_campaign_in_a_segment_is_a_key_of_its_own_where_that_is_asked_for() -> None:
    bodies = [
        body("email.opened", 50_000, segment="a/b", campaign_id="é 1"),
        body("email.opened", 10_000, segment="new", campaign_id="é 1"),
        body("email.opted_out", 0, segment="new", campaign_id=None),
        body("email.delivered", 0),
        body("chat.rated", 0, segment="new", campaign_id="c9", rating=5),
    ]
    result = compute(records(bodies), settings=Settings(campaign_segments=True), now_ms=END_OF_TIME)
    pairs = [key for dimension, key in result.keys() if dimension == "campaign_segment"]  # noqa: SIM118
    assert pairs == ["%C3%A9%201/a%2Fb", "%C3%A9%201/new"]
    assert nonzero(result, "campaign_segment:%C3%A9%201/a%2Fb") == {"opens": 1}
    assert nonzero(result, "campaign_segment:%C3%A9%201/new") == {
        "opens": 1,
        "unique_opens": 1,
        "unique_engaged": 1,
    }
    assert not any(dimension == "campaign_segment" for dimension, _ in run(*bodies).keys())  # noqa: SIM118


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    result = run(*[body("email.opened", at) for at in (-1, 0, PANE_MS - 1, PANE_MS)])
    window = result.window("all", "all", T0 + PANE_MS, PANE_MS)
    assert (window["opens"], window["unique_opens"]) == (2, 0)
    assert list(window) == COUNTS["all"]


def test_as_of_is_the_first_edge_after_the_newest_event() -> None:
    assert run(body("email.opened", -1)).as_of("all", "all") == T0
    assert run(body("email.opened", 0)).as_of("all", "all") == T0 + PANE_MS
    assert run().as_of("all", "all") is None


def test_newest_is_of_events_that_bear_the_key_and_of_counts_that_came_true() -> None:
    result = run(
        body("cart.updated", 0, segment="a", value=1),
        body("cart.checkout_started", 5, segment="b"),
        body("email.opened", 7, segment="c"),
    )
    assert result.newest("segment", "a") == T0
    assert result.newest("segment", "b") == result.newest("all", "all") == T0 + 5 + HOUR
    assert result.newest("segment", "c") == T0 + 7
    assert result.newest("segment", "d") is None


def test_rates_of_each_dimension() -> None:
    rate_names = {dimension: set(rates(dict.fromkeys(counts, 0))) for dimension, counts in COUNTS.items()}
    email = {"open_rate", "ctr", "ctor", "optout_rate", "complaint_rate", "bounce_rate"}
    assert rate_names["campaign"] == email | {"ctr_adjusted"}
    assert rate_names["campaign_segment"] == email
    assert rate_names["segment"] == rate_names["all"] and len(rate_names["all"]) == 16
    assert len(rate_names["channel"]) == 7 and "ctr_adjusted" not in rate_names["all"]


def test_a_rate_of_nothing_is_none() -> None:
    assert rate_of(run(), "ctr") == Rate(None, 0, 0, None, None)


def test_intervals() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert (wilson(0, 10)[0], wilson(10, 10)[1]) == (0.0, 1.0)
    assert wilson(11, 10) == (None, None)
    result = run(body("chat.started", 0), body("chat.answered", 500))
    assert rate_of(result, "mean_chat_wait") == Rate(0.5, 0.5, 1, None, None)


# --- uniques


def test_a_unique_count_belongs_to_the_earliest_event_also_when_it_arrives_last() -> None:
    result = run(body("email.opened", 50_000, segment="late"), body("email.opened", 10_000, segment="early"))
    assert when(result, "unique_opens") == [10_000]
    assert nonzero(result, "segment:late") == {"opens": 1}
    assert nonzero(result, "segment:early") == {"opens": 1, "unique_opens": 1, "unique_engaged": 1}


def test_uniques_at_the_same_time_go_by_offset() -> None:
    result = run(body("email.clicked", 5, segment="first"), body("email.clicked", 5, segment="second"))
    assert nonzero(result, "segment:first")["unique_clicks"] == 1
    assert "unique_clicks" not in nonzero(result, "segment:second")


def test_unique_is_per_customer_and_campaign() -> None:
    events = [
        body("email.opened", 0, customer, campaign_id=campaign)
        for customer in ("ann", "bob")
        for campaign in ("c1", "c2")
    ]
    assert nonzero(run(*events, *events))["unique_opens"] == 4


def test_engaged_is_the_earlier_of_open_and_click_by_people() -> None:
    result = run(body("email.opened", 5, machine=True), body("email.clicked", 20), body("email.opened", 30))
    assert when(result, "unique_engaged") == [20]
    assert nonzero(result)["unique_engaged"] == 1


def test_engaged_at_the_same_time_is_the_open() -> None:
    result = run(
        body("email.clicked", 5, segment="click"),
        body("email.opened", 0, "bob"),
        body("email.opened", 5, segment="open"),
    )
    assert when(result, "unique_engaged", "segment:open") == [5]
    assert when(result, "unique_engaged", "segment:click") == []


def test_a_person_is_whom_nobody_called_a_machine() -> None:
    result = run(
        body("email.opened", 0, machine=False), body("email.clicked", 0, user_agent="GoogleImageProxy")
    )
    assert nonzero(result) == {
        "opens": 1,
        "clicks": 1,
        "unique_opens": 1,
        "unique_clicks": 1,
        "unique_engaged": 1,
    }


def test_an_optout_by_a_machine_counts() -> None:
    result = run(body("email.clicked", 0, machine=True), body("email.opted_out", 0, machine=True))
    machine = {"machine_clicks": 1, "machine_by_flag": 1, "optouts_suspected": 1}
    assert nonzero(result) == {**machine, "optouts": 1, "disengaged": 1}


def test_a_click_within_two_seconds_of_its_delivery_is_hasty() -> None:
    sent = [body("email.delivered", 0), body("email.delivered", 0, campaign_id="c2")]
    for at, hasty in ((-2000, 0), (-1999, 1), (1999, 1), (2000, 0)):
        counts = nonzero(run(*sent, body("email.clicked", at)))
        assert (counts.get("machine_by_haste", 0), counts.get("clicks", 0)) == (hasty, 1 - hasty)
    assert "machine_clicks" not in nonzero(run(sent[1], body("email.clicked", 5)))


def test_three_links_within_a_second_are_a_burst_of_all_that_lies_in_it() -> None:
    def links(*ats: int) -> list[int]:
        clicks = [body("email.clicked", at, link_url=f"/{n % 3}") for n, at in enumerate(ats)]
        return when(run(*clicks), "machine_by_burst")

    assert links(0, 500, 999) == [0, 500, 999]
    assert links(0, 500, 1000) == []
    assert links(0, 500, 999, 1000) == [0, 500, 999, 1000]
    assert links(0, 600, 800, 1200, 5000) == [0, 600, 800, 1200]


def test_a_later_click_by_the_person_makes_a_hasty_one_theirs() -> None:
    hasty = [body("email.delivered", 0), body("email.clicked", 5)]
    assert when(run(*hasty, body("email.opened", HOUR)), "unique_clicks") == []
    assert when(run(*hasty, body("email.clicked", HOUR)), "unique_clicks") == [5]
    assert when(run(*hasty, body("email.clicked", HOUR, machine=True)), "unique_clicks") == []
    burst = [body("email.clicked", 5, link_url=f"/{n}") for n in range(3)]
    assert when(run(*burst, body("email.clicked", HOUR)), "unique_clicks") == [HOUR]


def test_an_optout_is_suspected_beside_its_delivery_or_a_machines_click_until_the_person_repeats_it() -> None:
    def suspected(*given: dict[str, Any]) -> list[int]:
        return when(run(*given), "optouts_suspected")

    burst = [body("email.clicked", HOUR, link_url=f"/{n}") for n in range(3)]
    assert suspected(body("email.delivered", 0), body("email.opted_out", 1999)) == [1999]
    assert suspected(body("email.delivered", 0), body("email.opted_out", 2000)) == []
    assert suspected(*burst, body("email.opted_out", HOUR + 999)) == [HOUR + 999]
    assert suspected(*burst, body("email.opted_out", HOUR + 1000)) == []
    assert suspected(*burst, body("email.opted_out", HOUR, campaign_id="c2")) == []
    assert suspected(*burst, body("email.opted_out", HOUR, campaign_id=None)) == [HOUR]
    again = body("email.opted_out", 3 * HOUR)
    assert suspected(*burst, body("email.opted_out", HOUR), again) == []


def test_optouts_without_a_campaign_share_one() -> None:
    result = run(
        body("email.opted_out", 0, segment="a", campaign_id=None),
        body("email.opted_out", 1, segment="b", campaign_id=None),
        body("email.opted_out", 2, segment="b"),
    )
    assert nonzero(result) == {"optouts": 2, "disengaged": 1}
    assert nonzero(result, "segment:a") == {"optouts": 1, "disengaged": 1}
    assert nonzero(result, "segment:b") == {"optouts": 1, "disengaged": 1}
    assert nonzero(result, "campaign:c1") == {"optouts": 1}


def test_reached_and_disengaged_are_per_customer_in_each_dimension() -> None:
    result = run(
        body("email.delivered", 0, segment="a"),
        body("email.delivered", 1, segment="b", campaign_id="c2"),
        body("email.delivered", 2, segment="b", campaign_id="c3"),
        body("email.complained", 3, segment="b"),
        body("email.opted_out", 4, segment="a"),
    )
    assert (when(result, "reached"), when(result, "disengaged")) == ([0], [3])
    assert (when(result, "reached", "segment:b"), when(result, "disengaged", "segment:a")) == ([1], [4])


def test_lost_before_is_strictly_before_the_first_delivery_and_of_optouts_only() -> None:
    result = run(
        body("email.opted_out", 4, "before", campaign_id="c0"),
        body("email.opted_out", 9, "before", campaign_id=None),
        body("email.opted_out", 5, "at"),
        body("email.complained", 0, "complained"),
        body("email.delivered", 5, "ann"),
        body("email.delivered", 9, "bob"),
    )
    assert when(result, "lost_before", "campaign:c1") == [5]
    assert nonzero(result, "campaign:c1")["lost_before"] == 1
    assert "lost_before" not in result.total("all", "all")


def test_lost_before_is_counted_in_each_shard_with_a_delivery() -> None:
    gone = body("email.opted_out", 4, "gone", campaign_id="c0")
    shards = [
        *records([gone, body("email.delivered", 5)], 0),
        *records([gone, body("email.delivered", 4)], 1),
        *records([gone], 2),
    ]
    assert nonzero(compute(shards, now_ms=None), "campaign:c1")["lost_before"] == 1


# --- carts


def test_a_cart_is_open_at_the_timeout_and_abandoned_after_it() -> None:
    cart = body("cart.updated", 0, value=12.5, currency="EUR")
    assert nonzero(run(cart, now=None)) == nonzero(run(cart, now=HOUR)) == {"carts_started": 1}
    abandoned = run(cart, now=HOUR + 1)
    assert nonzero(abandoned)["abandoned_value"] == {"EUR": Decimal("12.5")}
    assert when(abandoned, "carts_abandoned") == [HOUR]


def test_an_event_at_the_timeout_keeps_the_episode_and_one_after_it_starts_another() -> None:
    first = body("cart.updated", 0, value=1)
    assert nonzero(run(first, body("cart.updated", HOUR, value=2), now=None)) == {"carts_started": 1}
    result = run(first, body("cart.checkout_started", HOUR + 1), now=None)
    assert when(result, "carts_started") == [0, HOUR + 1]
    assert when(result, "carts_abandoned") == [HOUR]


def test_a_purchase_after_an_abandonment_recovers_once() -> None:
    result = run(
        body("cart.updated", 0, value=1),
        body("cart.purchased", HOUR + 1, value=3),
        body("cart.purchased", HOUR + 2, value=4),
    )
    assert nonzero(result) == {
        "carts_started": 1, "carts_abandoned": 1, "carts_purchased": 2, "carts_recovered": 1,
        "abandoned_value": {"": Decimal(1)}, "purchased_value": {"": Decimal(7)},
    }  # fmt: skip


def test_a_purchase_of_a_new_episode_recovers_nothing() -> None:
    result = run(
        body("cart.updated", 0, value=1),
        body("cart.updated", 2 * HOUR, value=1),
        body("cart.purchased", 2 * HOUR + 1, value=1),
    )
    assert "carts_recovered" not in nonzero(result)


def test_an_emptied_cart_counts_nowhere() -> None:
    result = run(
        body("cart.updated", 0, value=1, items=1),
        body("cart.updated", 1, value=0, items=0),
        body("cart.purchased", 2, value=9, currency="EUR"),
    )
    assert nonzero(result) == {
        "carts_started": 1,
        "carts_purchased": 1,
        "purchased_value": {"EUR": Decimal(9)},
    }


def test_emptying_without_an_open_episode_is_nothing_and_leaves_an_abandonment_recoverable() -> None:
    assert nonzero(run(body("cart.updated", 0, value=0, items=0))) == {}
    result = run(
        body("cart.updated", 0, value=0),
        body("cart.updated", HOUR + 1, value=0, items=0),
        body("cart.purchased", HOUR + 2, value=0),
    )
    assert nonzero(result) == {
        "carts_started": 1, "carts_abandoned": 1, "carts_purchased": 1, "carts_recovered": 1,
    }  # fmt: skip


def test_an_abandoned_cart_counts_in_the_latest_segment_and_value_of_its_episode() -> None:
    result = run(
        body("cart.updated", 0, segment="a", value=0.1, currency="EUR"),
        body("cart.updated", 1, segment="b", value=0.2, currency="USD"),
        body("cart.checkout_started", 2),
    )
    assert nonzero(result, "segment:a") == {"carts_started": 1}
    assert nonzero(result, "segment:b") == {"carts_abandoned": 1, "abandoned_value": {"USD": Decimal("0.2")}}
    assert when(result, "abandoned_value") == [2 + HOUR]


def test_a_new_episode_remembers_nothing_of_the_last() -> None:
    result = run(body("cart.updated", 0, segment="a", value=5), body("cart.checkout_started", HOUR + 1))
    assert nonzero(result)["carts_abandoned"] == 2
    assert nonzero(result)["abandoned_value"] == {"": Decimal(5)}
    assert nonzero(result, "segment:a")["carts_abandoned"] == 1


def test_money_is_exact_and_per_currency() -> None:
    purchases = [
        body("cart.purchased", at, value=value, currency=currency)
        for at, (value, currency) in enumerate(
            [(0.1, "EUR"), (0.2, "EUR"), (1e20, "USD"), (0.01, "USD"), (0, "CHF")]
        )
    ]
    assert nonzero(run(*purchases))["purchased_value"] == {
        "EUR": Decimal("0.3"),
        "USD": Decimal("100000000000000000000.01"),
    }


def test_carts_are_those_of_a_customer() -> None:
    result = run(body("cart.updated", 0, "ann", value=1), body("cart.purchased", 1, "bob", value=1))
    assert nonzero(result)["carts_abandoned"] == 1


# --- chats


def test_a_chat_answered_at_the_timeout_is_not_missed() -> None:
    result = run(body("chat.started", 0), body("chat.message", CHAT, author="agent"))
    assert nonzero(result) == {"chats_started": 1, "chats_answered": 1, "chat_wait_seconds": 120.0}


def test_a_late_answer_takes_no_miss_back() -> None:
    result = run(body("chat.started", 0), body("chat.answered", CHAT + 1))
    assert nonzero(result) == {
        "chats_started": 1, "chats_answered": 1, "chats_missed": 1, "chat_wait_seconds": 120.001,
    }  # fmt: skip
    assert (when(result, "chats_missed"), when(result, "chats_answered")) == ([CHAT], [CHAT + 1])


def test_a_chat_is_missed_once_the_watermark_is_past_the_timeout() -> None:
    chat = [body("chat.started", 0), body("chat.answered", CHAT + 1)]
    assert "chats_missed" not in nonzero(run(*chat, now=CHAT))
    assert nonzero(run(*chat, now=CHAT + 1))["chats_missed"] == 1


def test_a_customers_message_or_one_before_the_start_is_no_answer() -> None:
    result = run(
        body("chat.message", -1, author="agent"),
        body("chat.started", 0),
        body("chat.message", 1, author="customer"),
    )
    assert nonzero(result) == {"chats_started": 1, "chats_missed": 1}


def test_an_answer_at_the_time_of_the_start_is_one_whichever_arrived_first() -> None:
    result = run(body("chat.answered", 0), body("chat.started", 0))
    assert nonzero(result) == {"chats_started": 1, "chats_answered": 1}


def test_a_chat_counts_once_in_the_dimensions_of_its_first_start() -> None:
    result = run(
        body("chat.message", 0, channel="phone", segment="z", author="customer"),
        body("chat.started", 5, channel="social", segment="b"),
        body("chat.started", 1, channel="web", segment="a"),
        body("chat.ended", 9, channel="social"),
        body("chat.ended", 8, channel="social"),
        body("chat.rated", 10, channel="social", rating=4),
        body("chat.rated", 11, channel="social", rating=3),
    )
    expected = {"chats_started": 1, "chats_missed": 1, "chats_ended": 1, "ratings": 2, "ratings_positive": 1}
    assert nonzero(result) == nonzero(result, "channel:web") == nonzero(result, "segment:a") == expected
    assert nonzero(result, "channel:social") == nonzero(result, "channel:phone") == {}
    assert result.newest("channel", "social") == T0 + 11
    assert (when(result, "chats_started"), when(result, "chats_ended")) == ([1], [8])


def test_a_chat_without_a_start_is_neither_answered_nor_missed() -> None:
    result = run(
        body("chat.message", 0, channel="web", author="agent"),
        body("chat.answered", 1, channel="phone"),
        body("chat.ended", 2, channel="phone"),
        body("chat.rated", 3, channel="phone", rating=5),
    )
    assert nonzero(result, "channel:web") == {"chats_ended": 1, "ratings": 1, "ratings_positive": 1}


# --- tickets


def test_a_ticket_with_one_reply_is_resolved_at_first_contact() -> None:
    result = run(
        body("ticket.opened", 0),
        body("ticket.replied", 1_500, author="agent"),
        body("ticket.replied", 1_600, author="customer"),
        body("ticket.resolved", 3_250),
        body("ticket.replied", 4_000, author="agent"),
    )
    assert nonzero(result) == {
        "tickets_opened": 1, "tickets_replied": 1, "ticket_reply_seconds": 1.5, "tickets_resolved": 1,
        "ticket_resolution_seconds": 3.25, "tickets_first_contact": 1,
    }  # fmt: skip


def test_two_replies_before_the_resolution_are_no_first_contact() -> None:
    replies = [body("ticket.replied", 5, author="agent"), body("ticket.replied", 5, author="agent")]
    assert "tickets_first_contact" not in nonzero(run(*replies, body("ticket.resolved", 5)))
    assert nonzero(run(replies[0], body("ticket.resolved", 5), replies[1]))["tickets_first_contact"] == 1


def test_a_reopening_takes_the_first_contact_back() -> None:
    resolved, reopened = body("ticket.resolved", 5), body("ticket.reopened", 5)
    assert "tickets_first_contact" not in nonzero(run(resolved, reopened, body("ticket.resolved", 9)))
    assert nonzero(run(reopened, resolved))["tickets_first_contact"] == 1


def test_each_resolution_counts_with_its_time_since_the_opening() -> None:
    result = run(
        body("ticket.resolved", -1_000, channel="web"),
        body("ticket.opened", 0, channel="phone"),
        body("ticket.resolved", 1_000),
        body("ticket.reopened", 2_000),
        body("ticket.reopened", 2_500),
        body("ticket.resolved", 3_000),
    )
    assert nonzero(result, "channel:phone") == {
        "tickets_opened": 1, "tickets_resolved": 3, "tickets_reopened": 2, "ticket_resolution_seconds": 4.0,
    }  # fmt: skip
    assert nonzero(result, "channel:web") == {}


def test_a_ticket_without_an_opening_has_no_times() -> None:
    result = run(
        body("ticket.replied", 0, channel="web", author="agent"),
        body("ticket.resolved", 1),
        body("ticket.rated", 2, rating=3),
    )
    assert nonzero(result, "channel:web") == {"tickets_resolved": 1, "tickets_first_contact": 1, "ratings": 1}


def test_a_ticket_is_opened_and_replied_to_once_and_not_before() -> None:
    result = run(
        body("ticket.replied", -1, author="agent"),
        body("ticket.opened", 0),
        body("ticket.opened", 5),
        body("ticket.replied", 7, author="agent"),
        body("ticket.replied", 9, author="agent"),
    )
    assert nonzero(result) == {"tickets_opened": 1, "tickets_replied": 1, "ticket_reply_seconds": 0.007}


def test_a_reply_at_the_time_of_the_opening_is_one_whichever_arrived_first() -> None:
    result = run(body("ticket.replied", 0, author="agent"), body("ticket.opened", 0))
    assert nonzero(result) == {"tickets_opened": 1, "tickets_replied": 1}


# --- the real data


def signals() -> list[Record]:
    """The records of signals-2019 in four partitions, as they arrived; two days later a delivery in each."""
    offsets: defaultdict[tuple[str, int], int] = defaultdict(int)
    result = []

    def append(partition: int, event: dict[str, Any]) -> None:
        topic = topic_of(event["event_type"])
        result.append(Record(topic, partition, offsets[topic, partition], event))
        offsets[topic, partition] += 1

    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            append(zlib.crc32(event["customer_id"].encode()) % 4, event)
    end = time_ms(result[-1].event["event_time"]) + 48 * HOUR
    for partition in range(4):
        sentinel = body("email.delivered", end - T0, f"sentinel{partition}", campaign_id="sentinel")
        append(partition, {"event_id": "sentinel", **sentinel})
    return result


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.exists(), reason=f"{DATA} is missing: the real data does not come with the project"
)
def test_signals_2019() -> None:
    given = signals()
    now = time_ms(given[-1].event["event_time"]) - 600_000
    total = compute(given, settings=Settings(), now_ms=now).total("all", "all")
    expected = {
        "deliveries": 121_819 + 4, "unique_opens": 21_291, "unique_clicks": 1_907, "optouts": 1_401,
        "carts_started": 5_409, "carts_abandoned": 5_334, "carts_recovered": 246,
        "chats_started": 4_518, "chats_missed": 2_593,
        "tickets_opened": 24_918, "tickets_resolved": 25_250, "tickets_reopened": 332,
        "tickets_first_contact": 24_351,
    }  # fmt: skip
    assert {count: total[count] for count in expected} == expected


def test_contributions_are_plain() -> None:
    result = run(body("cart.purchased", 0, value=2, currency="EUR"))
    assert result.contributions["all", "all"] == [
        Contribution(T0, "carts_purchased", 1),
        Contribution(T0, "purchased_value", Decimal(2), "EUR"),
    ]
