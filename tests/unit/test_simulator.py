"""The simulated traffic: the same for the same seed, well-formed, life-like, and its story is told in time."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

import orjson
import pytest

from stream_app.alerts.detection import observe
from stream_app.alerts.rules import Rule, load_rules
from stream_app.churn.facts import ChurnFacts
from stream_app.churn.model import assess
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.dev.demo_traffic import HISTORY_MS, SPEED, Pace
from stream_app.dev.simulation_story import ADA, CHAPTERS, SEGMENTS, Chapter, title_at
from stream_app.dev.simulator import Arrival, simulate
from stream_app.ingest.decode import Reason, Rejected, decode
from stream_app.ingest.events import EVENT_TYPES, EmailClicked, EmailOpened
from stream_app.ingest.machines import AGENT, told_by
from stream_app.metrics.catalogue import TOTAL, WINDOWS
from tests.oracle import Record, Result, Settings, compute

MIDNIGHT = 20_000 * DAY_MS
START = MIDNIGHT + 6 * HOUR_MS
SEED = 7
NINETY_SECONDS = 90 * SECOND_MS * SPEED
DEMO = Settings(cart_timeout_ms=30 * MINUTE_MS, chat_timeout_ms=2 * MINUTE_MS)
# What the demo needs before an alert can be seen: the worker's start, and a shard's lag behind the traffic.
SLACK_MS = 10 * SECOND_MS * SPEED


@cache
def arrivals() -> tuple[Arrival, ...]:
    """The first 90 seconds of the demo."""
    return tuple(simulate(SEED, START, START + NINETY_SECONDS))


@cache
def good() -> tuple[Arrival, ...]:
    return tuple(arrival for arrival in arrivals() if arrival.refused is None)


@cache
def counted() -> Result:
    """What the batch oracle counts of the good records."""
    records = []
    for offset, arrival in enumerate(good()):
        event = orjson.loads(arrival.value)
        if event["event_type"] in ("email.opened", "email.clicked"):
            decoded = decode(arrival.topic, arrival.key, arrival.value)
            assert isinstance(decoded, EmailOpened | EmailClicked)
            if told_by(decoded) == AGENT:  # which the oracle does not judge
                event["machine"] = True
        records.append(Record(arrival.topic, 0, offset, event))
    return compute(records, settings=DEMO, now_ms=START + NINETY_SECONDS)


@cache
def times_of(dimension: str, key: str, count: str) -> list[int]:
    """When a key's count went up, in order."""
    contributions = counted().contributions[dimension, key]
    return sorted(one.time for one in contributions if one.count == count)


# --- Well-formed -------------------------------------------------------------------------------------------


def test_same_seed_same_events() -> None:
    again = tuple(simulate(SEED, START, START + 2 * HOUR_MS))
    assert again == arrivals()[: len(again)]
    assert again != tuple(simulate(SEED + 1, START, START + 2 * HOUR_MS))


def test_end_only_says_where_to_stop() -> None:
    for end_ms in (START + HOUR_MS, START + HOUR_MS + 17 * MINUTE_MS):
        part = tuple(simulate(SEED, START, end_ms))
        assert part == arrivals()[: len(part)]
        assert part[-1].time_ms < end_ms <= arrivals()[len(part)].time_ms


def test_in_order_of_arrival() -> None:
    times = [arrival.time_ms for arrival in arrivals()]
    assert times == sorted(times)
    assert times[0] >= START


def test_every_good_record_decodes() -> None:
    for arrival in good():
        event = decode(arrival.topic, arrival.key, arrival.value)
        underway = arrival.time_ms - event.time_ms()
        assert event.topic == arrival.topic
        assert 0 <= underway <= (2 if arrival.repeated else 1) * MINUTE_MS


def test_all_event_types_are_there() -> None:
    seen = {orjson.loads(arrival.value)["event_type"] for arrival in good()}
    assert seen == set(EVENT_TYPES)


def test_ids_are_unique_but_for_duplicates() -> None:
    first, repeated = Counter[str](), Counter[str]()
    values: dict[str, bytes] = {}
    for arrival in good():
        event_id = orjson.loads(arrival.value)["event_id"]
        (repeated if arrival.repeated else first)[event_id] += 1
        assert values.setdefault(event_id, arrival.value) == arrival.value
    assert set(first.values()) == {1}
    assert repeated.keys() <= first.keys()
    assert 0.005 < len(repeated) / len(first) < 0.015


def test_bad_records_are_refused_for_their_reasons() -> None:
    reasons = Counter(arrival.refused for arrival in arrivals() if arrival.refused is not None)
    assert set(reasons) == set(Reason) - {Reason.TOO_LARGE}
    assert 20 < reasons.total() < 100
    for arrival in arrivals():
        if arrival.refused in (None, Reason.LATE, Reason.FUTURE):  # the last two are wrong in time only
            continue
        with pytest.raises(Rejected) as refusal:
            decode(arrival.topic, arrival.key, arrival.value)
        assert refusal.value.reason == arrival.refused


def test_wrong_times_are_far_off() -> None:
    for arrival in arrivals():
        if arrival.refused in (Reason.LATE, Reason.FUTURE):
            behind = arrival.time_ms - decode(arrival.topic, arrival.key, arrival.value).time_ms()
            # More than any watermark lags, or further ahead than a demo's start lies back.
            assert (
                behind > 4 * HOUR_MS
                if arrival.refused is Reason.LATE
                else behind < -(HISTORY_MS + 2 * DAY_MS)
            )


# --- Like life ---------------------------------------------------------------------------------------------


def rate(result: Result, key: str, numerator: str, denominator: str) -> float:
    counts = result.total(*key.split(":"))
    return float(counts[numerator]) / float(counts[denominator])  # type: ignore[arg-type]


def test_rates_are_about_as_told() -> None:
    result = counted()
    assert 0.28 < rate(result, "campaign:spring-sale", "unique_opens", "deliveries") < 0.36
    assert 0.03 < rate(result, "campaign:spring-sale", "unique_clicks", "deliveries") < 0.05
    assert 0.0 <= rate(result, "campaign:spring-sale", "optouts", "deliveries") < 0.003
    assert 0.03 < rate(result, "campaign:winback-last-chance", "optouts", "deliveries") < 0.05
    assert 0.10 < rate(result, "campaign:spring-sale", "machine_opens", "deliveries") < 0.2
    assert 0.005 < rate(result, "all:all", "bounces", "deliveries") < 0.02
    assert 0.05 < rate(result, "all:all", "chats_missed", "chats_started") < 0.15
    assert 0.02 < rate(result, "all:all", "tickets_reopened", "tickets_resolved") < 0.08
    assert 0.6 < rate(result, "all:all", "ratings_positive", "ratings") < 0.9


def test_counts_of_everything_are_above_nought() -> None:
    total = counted().total("all", "all")
    nought = [name for name, number in total.items() if not number]
    of_days = [name for name in nought if name.startswith(("stage_", "became_"))]
    assert nought == ["machine_by_agent", *of_days], "no oracle judges agents, and no day is over"
    assert float(total["reached"]) > 0.9 * sum(segment.customers for segment in SEGMENTS)  # type: ignore[arg-type]


def test_campaigns_go_out_in_bursts_and_opens_take_hours() -> None:
    result = counted()
    begin, end = MIDNIGHT + 7 * HOUR_MS, MIDNIGHT + 24 * HOUR_MS
    first_half_hour = result.window("campaign", "spring-sale", begin + 30 * MINUTE_MS, 30 * MINUTE_MS)
    total = result.window("campaign", "spring-sale", end, 17 * HOUR_MS)
    assert first_half_hour["deliveries"] == total["deliveries"]
    assert 0.1 < float(first_half_hour["unique_opens"]) / float(total["unique_opens"]) < 0.5  # type: ignore[arg-type]
    third_hour = result.window("campaign", "spring-sale", begin + 3 * HOUR_MS, HOUR_MS)
    eighth_hour = result.window("campaign", "spring-sale", begin + 8 * HOUR_MS, HOUR_MS)
    assert float(third_hour["unique_opens"]) > 2 * float(eighth_hour["unique_opens"]) > 0  # type: ignore[arg-type]


def test_who_opted_out_gets_no_more_mail() -> None:
    left: dict[str, int] = {}
    for arrival in good():
        event = decode(arrival.topic, arrival.key, arrival.value)
        if "opted_out" in orjson.loads(arrival.value)["event_type"]:
            left.setdefault(event.customer_id, event.time_ms())
    for arrival in good():
        event = decode(arrival.topic, arrival.key, arrival.value)
        if "delivered" in orjson.loads(arrival.value)["event_type"]:
            # What was being sent at that moment still arrives.
            assert event.time_ms() <= left.get(event.customer_id, event.time_ms()) + 20 * MINUTE_MS


def test_every_day_has_its_own_campaigns() -> None:
    next_morning = MIDNIGHT + DAY_MS + 7 * HOUR_MS
    names = {
        orjson.loads(arrival.value).get("campaign_id")
        for arrival in simulate(SEED, MIDNIGHT + 23 * HOUR_MS, next_morning)
        if arrival.refused is None
    }
    assert "members-morning-2" in names and "members-morning" not in names


# --- The story ---------------------------------------------------------------------------------------------


def hours(*, until: float) -> Iterator[int]:
    """Every five minutes of the first day, from the demo's start."""
    yield from range(START + 5 * MINUTE_MS, MIDNIGHT + round(until * HOUR_MS), 5 * MINUTE_MS)


def rules_of(chapter: Chapter) -> Rule:
    """The shipped rule that tells a chapter first."""
    return next(rule for rule in load_rules().rules if rule.kind == chapter.kind)


def is_firing(rule: Rule, key: str, until_ms: int, firing: bool) -> bool:
    """Whether a rule's level is breached, or held if it fires, as the oracle counts it up to a time."""

    def counts(window: str) -> Mapping[str, float]:
        begin = 0 if window == TOTAL else until_ms - WINDOWS[window]
        return {name: count(name, begin) for name in (rule.rate.numerator, *rule.rate.denominator)}

    def count(name: str, begin: int) -> float:
        times = times_of(str(rule.dimension), key, name)
        return bisect_left(times, until_ms) - bisect_left(times, begin)

    seen = observe(rule, counts)
    return not seen.may_resolve if firing else seen.severity is not None


@pytest.mark.parametrize(
    "chapter", [c for c in CHAPTERS if c.kind != "churn"], ids=lambda c: f"{c.kind}-{c.begin}"
)
def test_alert_fires_and_resolves_in_time(chapter: Chapter) -> None:
    rule = rules_of(chapter)
    breached_since: int | None = None
    fired_at = resolved_at = None
    for time_ms in hours(until=chapter.resolves_by):
        if fired_at is not None and not is_firing(rule, chapter.about, time_ms, firing=True):
            resolved_at = time_ms
            break
        breached = is_firing(rule, chapter.about, time_ms, firing=False)
        breached_since = (breached_since or time_ms) if breached else None
        if fired_at is None and breached_since is not None and time_ms - breached_since >= rule.wait_ms:
            fired_at = time_ms
    assert fired_at is not None and fired_at <= MIDNIGHT + chapter.fires_by * HOUR_MS
    assert resolved_at is not None
    assert resolved_at + SLACK_MS <= START + NINETY_SECONDS


def test_ada_slips_away_and_comes_back() -> None:
    churn = load_rules().churn
    assert churn is not None
    at_risk = dict(churn.bands)[churn.alert_from]
    chapter = next(chapter for chapter in CHAPTERS if chapter.kind == "churn")
    scores = [
        (time_ms, assess(ada_at(time_ms), churn.model).score) for time_ms in hours(until=chapter.resolves_by)
    ]
    fired = [time_ms for time_ms, score in scores if score >= at_risk and ada_at(time_ms).is_silent]
    assert fired and fired[0] <= MIDNIGHT + chapter.fires_by * HOUR_MS
    back = [time_ms for time_ms, _ in scores if time_ms > fired[-1] and not ada_at(time_ms).is_silent]
    assert back and back[0] + SLACK_MS <= START + NINETY_SECONDS


@cache
def adas_events() -> list[tuple[int, str]]:
    """When what happened to Ada arrived."""
    hers = [arrival for arrival in good() if arrival.key == ADA.encode() and not arrival.repeated]
    return [(arrival.time_ms, orjson.loads(arrival.value)["event_type"]) for arrival in hers]


def ada_at(until_ms: int) -> ChurnFacts:
    """What is known of Ada by a time."""
    types = [event_type for time_ms, event_type in adas_events() if time_ms < until_ms]
    engaged = [place for place, name in enumerate(types) if name in ("email.opened", "email.clicked")]
    since = types[engaged[-1] + 1 :] if engaged else types
    tickets = Counter(name for name in types if name.startswith("ticket."))
    return ChurnFacts(
        unanswered=min(12, since.count("email.delivered")),
        answered_before=bool(engaged),
        received=types.count("email.delivered"),
        answered=min(1, len(engaged)),  # all of it is one campaign
        recently_received=float(types.count("email.delivered")),
        recently_answered=float(min(1, len(engaged))),
        tickets_open=tickets["ticket.opened"] + tickets["ticket.reopened"] - tickets["ticket.resolved"],
        tickets_reopened=tickets["ticket.reopened"],
        carts_abandoned=int("cart.updated" in types and "cart.purchased" not in types),
    )


def test_only_ada_slips_away_far() -> None:
    """Her chapter must not drown among others: hardly anyone else has so many reasons to leave."""
    reopened = Counter(
        arrival.key for arrival in good() if orjson.loads(arrival.value)["event_type"] == "ticket.reopened"
    )
    assert len(reopened) < 60


def test_every_hour_has_a_title() -> None:
    titles = [title_at(hour / 4) for hour in range(96)]
    assert all(titles)
    assert {chapter.title for chapter in CHAPTERS} <= set(titles)


# --- The demo's clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hour", [0.0, 5.9, 6.0, 6.1, 12.0, 23.9])
def test_pace_begins_in_the_morning_and_never_passes_the_clock(hour: float) -> None:
    clock_ms = 20_100 * DAY_MS + round(hour * HOUR_MS)
    pace = Pace.begin(clock_ms)
    assert pace.start_ms % DAY_MS == 6 * HOUR_MS
    assert HISTORY_MS <= clock_ms - pace.start_ms < HISTORY_MS + DAY_MS
    assert pace.simulated_ms(clock_ms + 1000) == pace.start_ms + 1000 * SPEED
    reached = clock_ms + HISTORY_MS + DAY_MS
    assert pace.simulated_ms(reached) == reached
