"""The JSON Schema of an alert, and those of the headers of alerts and dead letters.

Stands beside ``alerts/`` and ``ingest/decode.py``, which names the reasons of dead letters. Fields may
be added to what goes out, so nothing here forbids unknown ones.
"""

from __future__ import annotations

from stream_app.alerts.rules import SEVERITIES
from stream_app.ingest import topics
from stream_app.metrics.catalogue import Dimension
from stream_app.schemas.events import JSON_SCHEMA
from stream_app.schemas.fields import ALERT_HEADERS, REASON_MEANINGS, Json
from stream_app.schemas.snapshots import ALL_WINDOWS, EMITTED_TIME, SHARE


def alert_schema() -> Json:
    """The value of a record on the four alert topics: a change of an alert's state."""
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
    number: Json = {"type": ["number", "null"]}
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
        "key": {"description": "the campaign, segment, channel or customer", "type": "string"},
        "window": {"description": "the window that the rule looks at", "enum": list(ALL_WINDOWS)},
        "value": {"description": "what was measured; null where there is no denominator", **number},
        "threshold": {"description": "what the rule allows", **number},
        "baseline": {"description": "what is usual, where that is known", **number},
        "numerator": {"description": "of the value", **number},
        "denominator": {"description": "of the value", **number},
        "low": {"description": "the interval's lower bound, where there is one", **number},
        "high": {"description": "the interval's upper bound, where there is one", **number},
        "score": {"description": "churn: how likely the customer is to leave", **SHARE, "type": "number"},
        "band": {
            "description": "churn: the band of the score; null below the lowest",
            "type": ["string", "null"],
        },
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


def _alert_examples() -> list[Json]:
    times: Json = {
        "started_at": "2026-11-22T09:58:20.000Z",
        "ended_at": None,
        "as_of": "2026-11-22T10:00:10.000Z",
    }
    firing: Json = {
        "fingerprint": "optout-spike:campaign:spring-sale",
        "rule": "optout-spike",
        "kind": "optout",
    }
    firing |= {"state": "firing", "severity": "critical", "dimension": "campaign", "key": "spring-sale"}
    firing |= {"window": "1h", "value": 0.021, "threshold": 0.01, "baseline": 0.002}
    firing |= {"numerator": 31, "denominator": 1480, "low": 0.0148, "high": 0.0296, **times}
    firing["summary"] = (
        "Campaign spring-sale: 31 of 1,480 opted out in the last hour, 2.1 % where 1 % is too many."
    )
    firing["reasons"] = ["the interval's lower bound, 1.5 %, is above 1 %"]
    over = {"state": "resolved", "value": 0.0, "numerator": 0, "low": 0.0, "high": 0.0026}
    over |= {"ended_at": "2026-11-22T11:05:00.000Z", "as_of": "2026-11-22T11:05:00.000Z"}
    over |= {"summary": "Campaign spring-sale: nobody opted out in the last hour.", "reasons": []}
    churn: Json = {"fingerprint": "churn-risk:customer:customer-1042", "rule": "churn-risk", "kind": "churn"}
    churn |= {"state": "firing", "severity": "warning", "dimension": "customer", "key": "customer-1042"}
    churn |= {
        "score": 0.74,
        "band": "at_risk",
        **times,
        "summary": "Customer customer-1042 is slipping away.",
    }
    return [firing, {**firing, **over}, {**churn, "reasons": ["six messages in a row unopened"]}]


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
        }
    )


def _headers(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}
