"""The JSON Schema of an alert, and those of the headers of alerts and dead letters.

Stands beside ``alerts/`` and ``ingest/decode.py``, which names the reasons of dead letters. Fields may
be added to what goes out, so nothing here forbids unknown ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from stream_app.alerts.lifecycle import AlertChange, fingerprint
from stream_app.alerts.message import alert_json
from stream_app.alerts.rules import SEVERITIES, Condition
from stream_app.ingest import topics
from stream_app.metrics.catalogue import Dimension
from stream_app.schemas.events import JSON_SCHEMA
from stream_app.schemas.fields import ALERT_HEADERS, REASON_MEANINGS, Json
from stream_app.schemas.snapshots import ALL_WINDOWS, EMITTED_TIME, SHARE


def alert_schema() -> Json:
    """The value of a record on the alert topics: a change of an alert's state."""
    kinds = [name.removeprefix("alerts.") for name in topics.ALERT_TOPICS]
    measured = {
        "required": ["window", "value", "threshold", "baseline", "numerator", "denominator", "low", "high"]
    }
    return {
        "$schema": JSON_SCHEMA,
        "title": "Alert",
        "description": "A change of an alert's state. The fingerprint names the rule and what it is about, "
        "never a number that changes.",
        "type": "object",
        "required": [
            *("fingerprint", "rule", "kind", "state", "severity", "dimension", "key"),
            *("started_at", "ended_at", "as_of", "summary", "reasons"),
        ],
        "properties": _alert_properties(kinds),
        "additionalProperties": True,
        "if": {"properties": {"kind": {"const": "churn"}}},
        "then": {"properties": {"dimension": {"const": "customer"}}, "required": ["score", "band"]},
        "else": measured,
        "examples": _alert_examples(),
    }


def _alert_properties(kinds: list[str]) -> Json:
    return {
        "fingerprint": {
            "description": "the same for every state of one alert",
            "type": "string",
            "minLength": 1,
        },
        "rule": {"description": "the rule's name", "type": "string", "minLength": 1},
        "kind": {"description": "names the topic, such as alerts.ctr for ctr", "enum": kinds},
        "state": {"description": "pending where a rule waits", "enum": ["pending", "firing", "resolved"]},
        "severity": {"description": "how urgent it is", "enum": list(SEVERITIES)},
        "dimension": {
            "description": "what the key is one of; customer for churn",
            "enum": [*(str(one) for one in Dimension), "customer"],
        },
        "key": {
            "description": "the campaign, segment, channel or customer; <campaign>/<segment>, each "
            "percent-encoded, for campaign_segment",
            "type": "string",
        },
        "window": {
            "description": "the window that the rule looks at; null for churn",
            "enum": [*ALL_WINDOWS, None],
        },
        **_numbers(),
        **_of_a_customer(),
        "metric": {"description": "the rate or count; not in churn alerts", "type": ["string", "null"]},
        "condition": {
            "description": "what makes the rule fire; not in churn alerts",
            "enum": [str(condition) for condition in Condition],
        },
        "suspected": {
            "description": "over opt-outs: how many of the numerator may be the work of machines",
            "type": ["number", "null"],
        },
        "runbook": {"description": "what to do, where the rule says so", "type": "string"},
        "started_at": {"description": "when it began", **EMITTED_TIME},
        "ended_at": {
            "description": "when it was over; null until then",
            **EMITTED_TIME,
            "type": ["string", "null"],
        },
        "as_of": {"description": "the event time that the numbers are from", **EMITTED_TIME},
        "summary": {"description": "one sentence for a person", "type": "string", "minLength": 1},
        "reasons": {"description": "why", "type": "array", "items": {"type": "string"}},
    }


def _of_a_customer() -> Json:
    return {
        "score": {"description": "churn: how likely the customer is to leave", **SHARE, "type": "number"},
        "band": {
            "description": "churn: the band of the score; null below the lowest",
            "type": ["string", "null"],
        },
        "segment": {
            "description": "churn: the customer's latest segment; null where no event bore one",
            "type": ["string", "null"],
        },
    }


def _numbers() -> Json:
    number: Json = {"type": ["number", "null"]}
    return {
        "value": {
            "description": "what was measured: the rate, the count, or the seconds of silence; null where there is none",
            **number,
        },
        "threshold": {
            "description": "what the rule allows, as a value; null for a spike, whose level is a chance",
            **number,
        },
        "baseline": {"description": "what is usual, where that is known", **number},
        "numerator": {"description": "of the value", **number},
        "denominator": {"description": "of the value", **number},
        "low": {"description": "the interval's lower bound, where there is one", **number},
        "high": {"description": "the interval's upper bound, where there is one", **number},
    }


def _alert_examples() -> list[Json]:
    """What the code that writes alerts makes of an opt-out spike, its end, and a customer at risk."""
    started_ms = 1_795_341_500_000
    firing = AlertChange(
        fingerprint=fingerprint("optout-spike", "campaign", "spring-sale"),
        rule="optout-spike",
        kind="optout",
        state="firing",
        severity="critical",
        dimension="campaign",
        key="spring-sale",
        started_at_ms=started_ms,
        as_of_ms=started_ms,
        metric="optout_rate",
        window="1h",
        denominator_window="total",
        value=31 / 1480,
        threshold=0.01,
        resolve=0.003,
        baseline=0.002,
        numerator=31,
        denominator=1480,
        low=0.0148,
        high=0.0296,
        evidence="enough",
    )
    end_ms = started_ms + 3_600_000
    over = {"state": "resolved", "value": 0.0, "numerator": 0, "low": 0.0, "high": 0.0026}
    resolved = replace(firing, as_of_ms=end_ms, ended_at_ms=end_ms, **over)
    churn = AlertChange(
        fingerprint=fingerprint("churn-risk", "customer", "customer-1042"),
        rule="churn-risk",
        kind="churn",
        state="firing",
        severity="warning",
        dimension="customer",
        key="customer-1042",
        started_at_ms=started_ms,
        as_of_ms=started_ms,
        value=0.74,
        threshold=0.7,
        resolve=0.45,
        band="at_risk",
        reasons=("6 newsletters in a row unopened",),
        segment="returning",
    )
    return [alert_json(change) for change in (firing, resolved, churn)]


def alert_headers_schema() -> Json:
    """The headers of an alert: CloudEvents 1.0 in Kafka's binary mode."""
    return _headers({name: {"description": text, "type": "string"} for name, text in ALERT_HEADERS.items()})


def dead_letter_headers_schema() -> Json:
    """The headers of a dead letter; all are text in UTF-8."""
    number = {"type": "string", "pattern": "^[0-9]+$"}
    return _headers(
        {
            "reason": {
                "description": "why it is not counted",
                "enum": [str(reason) for reason in REASON_MEANINGS],
            },
            "detail": {"description": "what is wrong, for a person", "type": "string"},
            "topic": {"description": "where the record came from", "type": "string"},
            "partition": {"description": "where the record came from", **number},
            "offset": {"description": "where the record came from", **number},
            "truncated": {
                "description": "which of value, key and headers are left out because the record is too large for this topic",
                "type": "string",
            },
        },
        optional=("truncated",),
    )


def _headers(properties: Json, optional: Sequence[str] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}
