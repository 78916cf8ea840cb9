"""The worked examples of METRICS, each through the whole pipeline: bytes in, snapshots out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.pipeline import DAY_MS, START_MS, Pipeline

HOUR_MS = 3_600_000


class Story:
    """A pipeline that is told events at times after the start."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(clock_ms=START_MS + DAY_MS)
        self._count = 0

    def tell(self, event_type: str, at_ms: int, customer: str, **fields: Any) -> None:
        self._count += 1
        place = {"event_id": f"e{self._count}", "event_time": START_MS + at_ms, "customer_id": customer}
        self.pipeline.send({"event_type": event_type, **place, **fields})

    def tell_all(
        self, event_type: str, at_ms: int, people: Iterable[int], campaign: str, **fields: Any
    ) -> None:
        for number in people:
            self.tell(event_type, at_ms, f"p{number}", campaign_id=campaign, **fields)

    def end(self) -> Pipeline:
        self.pipeline.settle()
        assert not self.pipeline.dead_letters
        return self.pipeline


def assert_rate(rate: dict[str, Any], numerator: int, denominator: int, low: float, high: float) -> None:
    assert (rate["numerator"], rate["denominator"]) == (numerator, denominator)
    assert rate["value"] == pytest.approx(numerator / denominator)
    assert (rate["low"], rate["high"]) == pytest.approx((low, high), abs=5e-4)


def test_of_1000_delivered_100_click_so_the_ctr_is_10_percent() -> None:
    story = Story()
    story.tell_all("email.delivered", 0, range(1000), "spring")
    story.tell_all("email.clicked", 9_000, range(100), "spring")
    told = story.end()
    for key in ("campaign:spring", "all:all"):
        for window in ("1m", "5m", "1h", "24h", "total"):
            assert_rate(told.rate(key, "ctr", window), 100, 1000, 0.083, 0.120)
            assert told.counts(key, window)["unique_clicks"] == 100
    assert told.snapshot("all:all")["as_of"] == "2025-11-21T10:00:10.000Z"


def test_the_echo_chamber_the_ctr_rises_and_nothing_improved() -> None:
    story = Story()
    story.tell_all("email.delivered", 0, range(1000), "one")
    story.tell_all("email.clicked", HOUR_MS, range(100), "one")
    story.tell_all("email.opted_out", HOUR_MS, range(900, 1000), "one")
    story.tell_all("email.delivered", 10 * HOUR_MS, range(900), "two")
    story.tell_all("email.clicked", 11 * HOUR_MS, range(100), "two")
    told = story.end()
    assert_rate(told.rate("campaign:one", "ctr"), 100, 1000, 0.083, 0.120)
    assert_rate(told.rate("campaign:one", "ctr_adjusted"), 100, 1000, 0.083, 0.120)
    assert_rate(told.rate("campaign:one", "optout_rate"), 100, 1000, 0.083, 0.120)
    assert_rate(told.rate("campaign:two", "ctr"), 100, 900, 0.0922, 0.1333)
    assert_rate(told.rate("campaign:two", "ctr_adjusted"), 100, 1000, 0.083, 0.120)
    assert told.counts("campaign:two")["lost_before"] == 100
    assert told.counts("campaign:one")["lost_before"] == 0
    assert_rate(told.rate("all:all", "disengagement_rate"), 100, 1000, 0.083, 0.120)


def test_of_1000_reached_250_opted_out_so_the_disengagement_rate_is_25_percent() -> None:
    story = Story()
    story.tell_all("email.delivered", 0, range(1000), "a", segment="vip")
    story.tell_all("email.delivered", 1_000, range(1000), "b", segment="vip")
    story.tell_all("email.opted_out", HOUR_MS, range(250), "a", segment="vip")
    story.tell_all("email.complained", HOUR_MS, range(100), "b", segment="vip")
    told = story.end()
    for key in ("segment:vip", "all:all"):
        assert_rate(told.rate(key, "disengagement_rate"), 250, 1000, 0.2242, 0.2778)
    assert told.counts("all:all")["reached"] == 1000


def test_one_person_opens_five_times_and_is_one_unique_open() -> None:
    story = Story()
    story.tell("email.delivered", 0, "ann", campaign_id="a")
    for number in range(5):
        story.tell("email.opened", 1_000 * number, "ann", campaign_id="a")
    told = story.end()
    assert (told.counts("campaign:a")["opens"], told.counts("campaign:a")["unique_opens"]) == (5, 1)
    assert_rate(told.rate("campaign:a", "open_rate"), 1, 1, 0.2065, 1)


def test_a_proxy_opens_for_600_of_1000_and_the_open_rate_is_0() -> None:
    story = Story()
    story.tell_all("email.delivered", 0, range(1000), "a")
    story.tell_all("email.opened", 1_000, range(300), "a", machine=True)
    story.tell_all("email.opened", 1_000, range(300, 600), "a", user_agent="Mozilla/5.0")
    told = story.end()
    counts = told.counts("campaign:a")
    assert (counts["machine_opens"], counts["opens"], counts["unique_opens"]) == (600, 0, 0)
    assert_rate(told.rate("campaign:a", "open_rate"), 0, 1000, 0, 0.0038)


def test_of_10_carts_3_bought_5_left_and_2_open_the_abandonment_rate_is_5_of_8() -> None:
    story = Story()
    for number in range(10):
        at_ms = 0 if number < 8 else 2 * HOUR_MS  # the last two are too young to be abandoned
        story.tell("cart.updated", at_ms, f"p{number}", cart_id=f"k{number}", value=20, currency="EUR")
    for number in range(3):
        story.tell("cart.purchased", 1_000, f"p{number}", cart_id=f"k{number}", value=20, currency="EUR")
    story.tell_all("email.delivered", 2 * HOUR_MS, range(10), "m")  # time goes on in every shard
    pipeline = story.pipeline
    pipeline.deliver_all()
    pipeline.tick(pipeline.settings.idle_timeout)
    pipeline.flush()
    assert_rate(pipeline.rate("all:all", "abandonment_rate"), 5, 8, 0.3057, 0.8632)
    counts = pipeline.counts("all:all")
    assert (counts["carts_started"], counts["carts_purchased"], counts["carts_abandoned"]) == (10, 3, 5)
    assert (counts["purchased_value"], counts["abandoned_value"]) == ({"EUR": 60.0}, {"EUR": 100.0})


def test_the_carts_that_are_still_open_are_abandoned_a_millisecond_after_the_timeout() -> None:
    story = Story()
    story.tell("cart.updated", 0, "ann", cart_id="k", value=20)
    pipeline = story.pipeline
    settings = pipeline.settings
    pipeline.deliver_all()
    pipeline.tick(settings.idle_timeout + settings.allowed_lateness + settings.cart_timeout)
    pipeline.flush()
    assert pipeline.counts("all:all")["carts_abandoned"] == 0
    pipeline.tick(1)
    pipeline.flush()
    assert pipeline.counts("all:all")["carts_abandoned"] == 1
    assert pipeline.counts("all:all")["abandoned_value"] == {"": 20.0}
    assert pipeline.snapshot("all:all")["as_of"] == "2025-11-21T11:00:10.000Z"
