"""Examples of docs/machines.md, each through the whole pipeline: who clicked, by the times of a customer's events."""

from __future__ import annotations

from itertools import count, permutations
from typing import Any

import pytest

from stream_app.settings import Settings
from stream_app.state.customers import Customer
from tests.support.pipeline import DAY_MS, START_MS, Pipeline

Json = dict[str, Any]
HOUR_MS = 3_600_000
NUMBERS = count(1)
MAIL = {"customer_id": "ann", "campaign_id": "spring", "segment": "vip"}


def delivered(at_ms: int, **fields: Any) -> Json:
    return {"event_type": "email.delivered", "at": at_ms, **fields}


def clicked(at_ms: int, link: str | None = "/offer", **fields: Any) -> Json:
    return {"event_type": "email.clicked", "at": at_ms, "link_url": link, **fields}


def opted_out(at_ms: int, **fields: Any) -> Json:
    return {"event_type": "email.opted_out", "at": at_ms, **fields}


def opened(at_ms: int, **fields: Any) -> Json:
    return {"event_type": "email.opened", "at": at_ms, **fields}


def told(*events: Json, settings: Settings | None = None) -> Pipeline:
    return tell_more(Pipeline(settings or Settings(), 1, START_MS + DAY_MS), *events)


def tell_more(pipeline: Pipeline, *events: Json) -> Pipeline:
    for event in events:
        send(pipeline, event)
    pipeline.settle()
    assert not pipeline.dead_letters
    return pipeline


def send(pipeline: Pipeline, event: Json) -> None:
    fields = {name: value for name, value in event.items() if name != "at"}
    pipeline.send({"event_id": f"e{next(NUMBERS)}", **MAIL, **fields, "event_time": START_MS + event["at"]})


def verdicts(*events: Json, settings: Settings | None = None) -> Json:
    return verdicts_of(told(*events, settings=settings))


def verdicts_of(pipeline: Pipeline) -> Json:
    """The counts that are about machines and are not 0."""
    counts = pipeline.counts("campaign:spring")
    names = ("clicks", "unique_clicks", "machine_clicks", "optouts", "optouts_suspected")
    return {
        name: number
        for name, number in counts.items()
        if number and (name in names or name.startswith("machine_by"))
    }


HASTE = {"machine_clicks": 1, "machine_by_haste": 1}
PERSON = {"clicks": 1, "unique_clicks": 1}


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [(-2_000, PERSON), (-1_999, HASTE), (0, HASTE), (1_999, HASTE), (2_000, PERSON)],
)
def test_a_click_within_two_seconds_of_its_delivery_is_suspected(at_ms: int, expected: Json) -> None:
    assert verdicts(delivered(5_000), clicked(5_000 + at_ms)) == expected
    assert verdicts(clicked(5_000 + at_ms), delivered(5_000)) == expected


def test_a_click_soon_after_the_delivery_of_another_mail_is_a_persons() -> None:
    assert verdicts(delivered(0, campaign_id="other"), clicked(500)) == PERSON


def test_how_soon_is_a_setting() -> None:
    patient = Settings(machine_click_within=5_000)
    assert verdicts(delivered(0), clicked(4_999), settings=patient) == HASTE
    assert verdicts(delivered(0), clicked(0), settings=Settings(machine_click_within=0)) == PERSON


def test_what_the_sender_says_is_not_doubted() -> None:
    assert verdicts(delivered(0), clicked(0, machine=False)) == PERSON
    links = [clicked(HOUR_MS, f"/{n}", machine=False) for n in range(5)]
    assert verdicts(*links) == {"clicks": 5, "unique_clicks": 1}
    by_flag = {"machine_clicks": 1, "machine_by_flag": 1}
    assert verdicts(delivered(0), clicked(0, machine=True), opened(HOUR_MS)) == by_flag


def test_three_links_within_a_second_are_a_burst_and_two_are_not() -> None:
    burst = [clicked(HOUR_MS, "/a"), clicked(HOUR_MS + 500, "/b"), clicked(HOUR_MS + 999, "/c")]
    expected = {"machine_clicks": 3, "machine_by_burst": 3}
    for order in permutations(burst):
        assert verdicts(*order) == expected
    assert verdicts(*burst[:2]) == {"clicks": 2, "unique_clicks": 1}
    for order in permutations([*burst[:2], clicked(HOUR_MS + 1_000, "/c")]):
        assert verdicts(*order) == {"clicks": 3, "unique_clicks": 1}
    assert verdicts(*(clicked(HOUR_MS, "/a") for _ in range(9))) == {"clicks": 9, "unique_clicks": 1}
    assert verdicts(*(clicked(HOUR_MS, None) for _ in range(9))) == {"clicks": 9, "unique_clicks": 1}


def test_every_indicator_of_a_click_is_counted() -> None:
    burst = [clicked(1_000, f"/{n}") for n in range(4)]
    assert verdicts(delivered(0), *burst) == {
        "machine_clicks": 4,
        "machine_by_haste": 4,
        "machine_by_burst": 4,
    }


def test_a_later_click_by_the_person_makes_the_hasty_one_theirs_and_moves_the_unique_count() -> None:
    events = [delivered(0), clicked(1_000, segment="new"), clicked(HOUR_MS)]
    for order in permutations(events):
        pipeline = told(*order, settings=Settings(allowed_lateness=DAY_MS))
        assert pipeline.counts("campaign:spring")["clicks"] == 2
        assert pipeline.counts("campaign:spring")["machine_by_haste"] == 0
        assert pipeline.counts("campaign:spring", "1m")["unique_clicks"] == 0
        assert pipeline.counts("segment:new")["unique_clicks"] == 1
        assert pipeline.counts("segment:vip")["unique_clicks"] == 0


def test_an_open_proves_no_click_and_nothing_proves_a_burst() -> None:
    assert verdicts(delivered(0), clicked(1_000), opened(HOUR_MS)) == HASTE
    burst = [clicked(1_000, f"/{n}") for n in range(3)]
    found = verdicts(delivered(0), *burst, clicked(HOUR_MS))
    assert found == {"machine_clicks": 3, "machine_by_haste": 3, "machine_by_burst": 3, **PERSON}


@pytest.mark.parametrize(
    "events", [[delivered(0), opted_out(500)], [clicked(0, machine=True), opted_out(900)]]
)
def test_an_optout_by_a_machine_counts_and_is_tagged(events: list[Json]) -> None:
    for order in (events, events[::-1]):
        pipeline = told(*order)
        counts = pipeline.counts("campaign:spring")
        assert (counts["optouts"], counts["optouts_suspected"]) == (1, 1)
        assert pipeline.counts("all:all")["disengaged"] == 1


def test_an_optout_beside_a_burst_is_tagged_and_one_beside_a_hasty_click_alone_is_not() -> None:
    burst = [clicked(HOUR_MS, f"/{n}") for n in range(3)]
    assert verdicts(*burst, opted_out(HOUR_MS - 500))["optouts_suspected"] == 1
    assert verdicts(*burst, opted_out(HOUR_MS, campaign_id=None)) == {
        "machine_clicks": 3,
        "machine_by_burst": 3,
    }
    assert "optouts_suspected" not in verdicts(delivered(0), clicked(1_900), opted_out(2_100))


def test_an_optout_that_the_person_repeats_is_tagged_no_more() -> None:
    events = [delivered(0), opted_out(500), opted_out(5 * HOUR_MS)]
    for order in permutations(events):
        found = verdicts(*order, settings=Settings(allowed_lateness=DAY_MS))
        assert found == {"optouts": 1}


def test_a_click_that_turns_out_to_be_a_machines_answers_no_delivery() -> None:
    mails = [delivered(0, campaign_id="a"), delivered(HOUR_MS, campaign_id="b")]
    assert ann(told(*mails, clicked(2 * HOUR_MS, campaign_id="b"))).unanswered() == (0, True)
    hasty = clicked(HOUR_MS + 500, campaign_id="b")
    for order in permutations([*mails, hasty]):
        assert ann(told(*order, settings=Settings(allowed_lateness=DAY_MS))).unanswered() == (2, False)


def test_a_settled_click_answers_what_came_before_it_and_a_hasty_one_waits_for_the_person() -> None:
    pipeline = told(
        delivered(0), clicked(500), delivered(0, campaign_id="b"), clicked(HOUR_MS, campaign_id="b")
    )
    tell_more(pipeline, delivered(9 * HOUR_MS, campaign_id="c"))
    customer = ann(pipeline)
    assert customer.clicks == {"b": (START_MS + HOUR_MS, "vip")}
    assert customer.unanswered() == (1, True)
    assert customer.recent is not None and not customer.recent.clicks
    assert pipeline.counts("campaign:spring")["machine_by_haste"] == 1
    tell_more(pipeline, clicked(12 * HOUR_MS))
    assert pipeline.counts("campaign:spring")["machine_by_haste"] == 0
    assert pipeline.counts("campaign:spring", "1m")["unique_clicks"] == 0
    assert pipeline.counts("campaign:spring")["unique_clicks"] == 1


def test_what_a_click_by_the_person_has_stood_for_once_is_theirs_for_good() -> None:
    pipeline = told(delivered(0), clicked(500), clicked(600, segment="new"), clicked(700))
    for hours in (5, 10, 15, 20):
        tell_more(pipeline, clicked(hours * HOUR_MS))
        counts = pipeline.counts("campaign:spring")
        assert (counts["clicks"], counts["machine_clicks"]) == (3 + hours // 5, 0)
        assert pipeline.counts("segment:new")["clicks"] == 1
    assert pipeline.counts("segment:vip")["unique_clicks"] == 1
    customer = ann(pipeline)
    assert customer.clicks == {"spring": (START_MS + 500, "vip")}
    assert customer.recent is not None and not customer.recent.hasty


def test_an_optout_once_the_persons_is_never_suspected_again() -> None:
    pipeline = told(delivered(0), opted_out(HOUR_MS))
    tell_more(pipeline, delivered(5 * HOUR_MS), opted_out(5 * HOUR_MS + 100))
    tell_more(pipeline, delivered(9 * HOUR_MS), opted_out(9 * HOUR_MS + 100), opted_out(15 * HOUR_MS))
    counts = pipeline.counts("campaign:spring")
    assert (counts["optouts"], counts["optouts_suspected"]) == (1, 0)


def test_an_optout_stays_suspected_after_it_is_settled_until_the_person_repeats_it() -> None:
    pipeline = told(delivered(0), opted_out(500))
    for hours, suspected in ((5, 1), (9, 1)):
        tell_more(pipeline, delivered(hours * HOUR_MS), opted_out(hours * HOUR_MS + 100))
        assert pipeline.counts("campaign:spring")["optouts_suspected"] == suspected
    tell_more(pipeline, opted_out(15 * HOUR_MS))
    assert pipeline.counts("campaign:spring")["optouts_suspected"] == 0


LINKS = [clicked(HOUR_MS + 999, "/a"), clicked(HOUR_MS + 999, "/b"), clicked(HOUR_MS + 1_998, "/c")]
AT_LAST = [
    ([clicked(HOUR_MS)], [delivered(HOUR_MS + 1_999)], HASTE),
    ([delivered(HOUR_MS)], [delivered(HOUR_MS + 1_999, campaign_id="b"), clicked(HOUR_MS + 1_999)], HASTE),
    (
        [opted_out(HOUR_MS), *LINKS[:2]],
        LINKS[2:],
        {"machine_clicks": 3, "machine_by_burst": 3, "optouts": 1, "optouts_suspected": 1},
    ),
]


@pytest.mark.parametrize(("early", "at_last", "expected"), AT_LAST)
def test_what_comes_at_the_last_moment_bears_on_all_that_it_may(
    early: list[Json], at_last: list[Json], expected: Json
) -> None:
    """It is as old as the watermark; a millisecond older, and it were late. Others have moved time on."""
    within_ms = 0 if early[0]["event_type"] == "email.opted_out" else 2_000
    pipeline = Pipeline(Settings(machine_click_within=within_ms), 1, START_MS + DAY_MS)
    pipeline.tick(pipeline.settings.idle_timeout)
    now_ms = at_last[-1]["at"] + pipeline.settings.allowed_lateness
    others = {"customer_id": "bob", "campaign_id": "others"}
    for events in (early, [say(now_ms, **others) for say in (delivered, clicked, opted_out)], at_last):
        for event in events:
            send(pipeline, event)
        pipeline.deliver_all()
    assert pipeline.shards[0].shard.watermark.current_ms == START_MS + at_last[-1]["at"]
    pipeline.flush()
    assert not pipeline.dead_letters
    assert verdicts_of(pipeline) == expected


def ann(pipeline: Pipeline) -> Customer:
    customer = pipeline.shards[0].shard.customers.get("ann")
    assert customer is not None
    return customer
