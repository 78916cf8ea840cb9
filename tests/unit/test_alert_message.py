"""Alerts on the wire: CONTRACT's fields, CloudEvents headers, and sentences with the numbers."""

from typing import Any

import msgspec
import orjson
import pytest

from stream_app.alerts.lifecycle import AlertChange, fingerprint
from stream_app.alerts.message import alert_id, alert_json, alert_record
from stream_app.alerts.wording import reasons, summary
from stream_app.clock import HOUR_MS, MINUTE_MS

START = 1_795_341_600_000  # 2026-11-22T10:00:00Z
FIELDS = [
    *("fingerprint", "rule", "kind", "state", "severity", "dimension", "key", "window", "value", "threshold"),
    *("baseline", "numerator", "denominator", "low", "high", "started_at", "ended_at", "as_of", "summary"),
    "reasons",
]

SPIKE = AlertChange(
    fingerprint=fingerprint("optout-spike", "campaign", "spring-sale"),
    rule="optout-spike",
    kind="optout",
    state="firing",
    severity="critical",
    dimension="campaign",
    key="spring-sale",
    started_at_ms=START,
    as_of_ms=START,
    metric="optout_rate",
    window="1h",
    denominator_window="total",
    value=31 / 1480,
    threshold=0.01,
    resolve=0.003,
    baseline=0.002,
    numerator=31.0,
    denominator=1480.0,
    low=0.0148,
    high=0.0296,
    evidence="enough",
)
SURGE = AlertChange(
    fingerprint=fingerprint("complaints", "all", "all"),
    rule="complaints",
    kind="optout",
    condition="spike",
    state="firing",
    severity="warning",
    dimension="all",
    key="all",
    started_at_ms=START,
    as_of_ms=START,
    metric="complaints",
    window="5m",
    denominator_window="5m",
    value=31.0,
    numerator=31.0,
    baseline=4.2,
    chance=0.0004,
    evidence="enough",
)
SILENCE = AlertChange(
    fingerprint=fingerprint("carts-silent", "all", "all"),
    rule="carts-silent",
    kind="abandonment",
    condition="no_data",
    state="firing",
    severity="critical",
    dimension="all",
    key="all",
    started_at_ms=START,
    as_of_ms=START,
    metric="carts_started",
    window="24h",
    denominator_window="24h",
    value=11_400.0,
    numerator=1_200.0,
    threshold=10_800.0,
    evidence="enough",
)
LOST = AlertChange(
    fingerprint=fingerprint("churn-risk", "customer", "c-1"),
    rule="churn-risk",
    kind="churn",
    state="firing",
    severity="critical",
    dimension="customer",
    key="c-1",
    started_at_ms=START,
    as_of_ms=START,
    value=0.93,
    threshold=0.9,
    resolve=0.45,
    band="lost",
    reasons=("no open or click in the last 8 messages; opened or clicked before", "1 ticket is unresolved"),
)


def changed(change: AlertChange, **fields: Any) -> AlertChange:
    return msgspec.structs.replace(change, **fields)


def test_the_value_has_exactly_the_contracts_fields() -> None:
    value = orjson.loads(alert_record(SPIKE, "/engagement").value)
    assert list(value) == [*FIELDS, "metric", "condition"]
    assert value["started_at"] == "2026-11-22T10:00:00.000Z"
    assert value["ended_at"] is None
    assert (value["numerator"], value["denominator"]) == (31, 1480)
    assert b'"numerator":31,"denominator":1480,' in alert_record(SPIKE, "/engagement").value


def test_churn_has_score_band_and_segment_beside_them() -> None:
    value = orjson.loads(alert_record(LOST, "/engagement").value)
    assert set(value) == {*FIELDS, "score", "band", "segment"}
    assert value["segment"] is None
    assert alert_json(changed(LOST, segment="returning"))["segment"] == "returning"
    assert (value["score"], value["band"], value["dimension"], value["window"]) == (
        0.93,
        "lost",
        "customer",
        None,
    )
    assert value["reasons"] == list(LOST.reasons)


def test_a_runbook_is_told_where_there_is_one() -> None:
    assert alert_json(changed(SPIKE, runbook="https://example.com/r"))["runbook"] == "https://example.com/r"


def test_the_record_is_a_cloudevent_in_binary_mode() -> None:
    record = alert_record(changed(SPIKE, key="früh", as_of_ms=START + 10_000), "/engagement/alerts")
    assert (record.kind, record.key) == ("optout", SPIKE.fingerprint.encode())
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": f"{SPIKE.fingerprint}-firing-{START}".encode(),
        "ce_source": b"/engagement/alerts",
        "ce_type": b"engagement.alert.optout.firing",
        "ce_time": b"2026-11-22T10:00:10.000Z",
        "ce_subject": "campaign:früh".encode(),
        "content-type": b"application/json",
    }


def test_an_id_rests_on_fingerprint_state_and_start_alone() -> None:
    """What else changes between two tellings of one change must not change the id."""
    again = changed(SPIKE, value=0.5, numerator=700, as_of_ms=START + HOUR_MS, severity="warning")
    assert alert_id(again) == alert_id(SPIKE)


def test_a_change_of_severity_has_its_own_id() -> None:
    risen = changed(SPIKE, revision=1)
    assert alert_id(risen) == f"{SPIKE.fingerprint}-firing-{START}-1-critical"
    assert alert_id(changed(LOST, revision=1)) == f"{LOST.fingerprint}-firing-{START}-1-lost"
    over = changed(risen, state="resolved", ended_at_ms=START + 1)
    assert alert_id(over) == f"{SPIKE.fingerprint}-resolved-{START}"


ENDED = {"state": "resolved", "ended_at_ms": START + 80 * MINUTE_MS, "as_of_ms": START + 80 * MINUTE_MS}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            SPIKE,
            "Critical: opt-out rate of campaign spring-sale is 2.09 % (31 opt-outs in 1h against 1,480 deliveries "
            "in total), above the level of 1 %.",
        ),
        (
            changed(SPIKE, **ENDED, numerator=1, value=1 / 1480, low=0.0001, high=0.0038),
            "Resolved after 1 h 20 min: opt-out rate of campaign spring-sale is 0.0676 % (1 opt-out in 1h against "
            "1,480 deliveries in total), its 95 % interval reaching down to 0.01 %, past the resolve level of 0.3 %.",
        ),
        (
            changed(SPIKE, **ENDED, window="total", evidence="quiet"),
            "Resolved after 1 h 20 min: opt-out rate of campaign spring-sale has had no new deliveries for 24h, "
            "so there is nothing left to stop.",
        ),
        (
            changed(
                SPIKE,
                metric="ctr",
                kind="ctr",
                state="pending",
                severity="warning",
                direction="below",
                window="total",
                value=0.0004,
                numerator=1,
                denominator=2500,
                threshold=0.002,
            ),
            "Pending warning: click-through rate of campaign spring-sale is 0.04 % (1 unique click of 2,500 "
            "deliveries in total), below the level of 0.2 %, and fires if it stays so.",
        ),
        (
            changed(
                SPIKE,
                **ENDED,
                metric="abandonment_rate",
                dimension="all",
                key="all",
                denominator_window="1h",
                value=None,
                numerator=0,
                denominator=0,
                evidence="thin",
            ),
            "Resolved after 1 h 20 min: abandonment rate of all customers has too little left to judge "
            "(0 abandoned carts of 0 ended carts in 1h).",
        ),
        (
            changed(
                SPIKE,
                metric="mean_chat_wait",
                dimension="channel",
                key="web",
                denominator_window="1h",
                value=93.25,
                threshold=90,
                numerator=932.5,
                denominator=10,
            ),
            "Critical: mean chat wait of channel web is 93.2 s (932.5 chat wait seconds of 10 chats answered "
            "in 1h), above the level of 90 s.",
        ),
        (
            changed(SPIKE, condition="change", value=0.012, threshold=0.0105, baseline=0.01),
            "Critical: opt-out rate of campaign spring-sale is 1.2 % (31 opt-outs in 1h against 1,480 deliveries "
            "in total), 20 % above the usual 1 %.",
        ),
        (
            SURGE,
            "Warning: all customers: 31 complaints in 15 min, where 4.2 are usual.",
        ),
        (
            changed(SURGE, **ENDED, value=3.0),
            "Resolved after 1 h 20 min: complaints of all customers are near to what is usual (3 complaints in 15 min, "
            "4.2 are usual).",
        ),
        (
            changed(SURGE, **ENDED, value=3.0, evidence="thin"),
            "Resolved after 1 h 20 min: complaints of all customers have too little left to judge "
            "(3 complaints in 15 min).",
        ),
        (
            SILENCE,
            "Critical: no carts started of all customers for 3 h 10 min, longer than the level of 3 h.",
        ),
        (
            changed(SILENCE, state="pending"),
            "Pending critical: no carts started of all customers for 3 h 10 min, longer than the level of 3 h, and "
            "fires if it stays so.",
        ),
        (
            changed(SILENCE, **ENDED, value=0.0),
            "Resolved after 1 h 20 min: carts started of all customers are coming again.",
        ),
        (
            changed(SILENCE, **ENDED, value=None, evidence="quiet"),
            "Resolved after 1 h 20 min: carts started of all customers have not come for 24h, so that silence is what "
            "is usual now.",
        ),
        (
            LOST,
            'Critical: customer c-1 is in band "lost", churn score 0.93: no open or click in the last 8 messages; '
            "opened or clicked before.",
        ),
        (
            changed(LOST, **ENDED, value=0.12, band=None, reasons=()),
            "Resolved after 1 h 20 min: customer c-1 is back, churn score 0.12, below 0.45.",
        ),
        (
            changed(LOST, **ENDED, opted_out=True),
            "Resolved after 1 h 20 min: customer c-1 has left, by an opt-out or a complaint: there is no risk left to watch.",
        ),
    ],
)
def test_a_summary_is_one_sentence_with_the_numbers(change: AlertChange, sentence: str) -> None:
    assert summary(change) == sentence


def test_reasons_of_a_rule_are_its_numbers() -> None:
    assert reasons(SPIKE) == [
        "31 opt-outs in 1h against 1,480 deliveries in total",
        "95 % interval from 1.48 % to 2.96 %",
        "0.2 % before this window",
    ]
    assert reasons(changed(SPIKE, revision=1))[-1] == (
        "firing since 2026-11-22T10:00:00.000Z, the severity is now critical"
    )


def test_optouts_that_machines_may_have_made_are_told_beside_the_others() -> None:
    """Both rates: with them in the summary, without them behind it."""
    doubtful = changed(SPIKE, suspected=12.0)
    assert reasons(doubtful)[1] == "12 of them maybe by machines; 1.28 % without these"
    assert alert_json(doubtful)["suspected"] == 12
    assert reasons(changed(SPIKE, suspected=0.0)) == reasons(SPIKE)


def test_reasons_of_a_repeat_say_that_it_still_fires() -> None:
    again = changed(SPIKE, revision=1, repeated=True)
    assert reasons(again)[-1] == "firing since 2026-11-22T10:00:00.000Z, the severity is still critical"


def test_reasons_of_the_conditions_over_the_past_and_over_counts() -> None:
    moved = changed(SPIKE, condition="change", threshold=0.0105)
    assert reasons(moved)[-2:] == ["0.2 % before this window", "fires when it is above 1.05 %"]
    assert reasons(SURGE) == [
        "31 complaints in 15 min, 4.2 are usual",
        "of the days without a spike, 0.04 % hold such a count",
    ]
    assert reasons(SILENCE) == [
        "1,200 carts started in the last 24h",
        "no carts started of all customers for 3 h 10 min",
    ]


def test_a_campaign_in_a_segment_is_told_by_both_names() -> None:
    pair = changed(SPIKE, dimension="campaign_segment", key="Caf%C3%A9%2F1/new%20ones")
    assert summary(pair).startswith("Critical: opt-out rate of campaign Café/1 in segment new ones is 2.09 %")


def test_reasons_of_an_optout_come_first() -> None:
    over = changed(LOST, **ENDED, opted_out=True)
    assert reasons(over) == [
        "the customer has left, by an opt-out or a complaint: a fact, and no longer a risk",
        *LOST.reasons,
    ]
