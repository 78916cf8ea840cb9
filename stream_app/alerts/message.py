"""What a subscriber receives: an alert's change as a CloudEvents 1.0 record, with words for a person (``wording``).

Stands between ``lifecycle`` and the sinks. A record is a pure function of the change, so that telling it
again after a crash gives the same bytes and the same ``ce_id``. Source of the mapping: the CloudEvents
Kafka protocol binding 1.0, section 3.2 (binary content mode), and the project's CONTRACT, section 2.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from stream_app.alerts.lifecycle import FIRING, AlertChange
from stream_app.alerts.rule import CHURN
from stream_app.alerts.wording import reasons, summary
from stream_app.clock import to_rfc3339

TYPE_PREFIX: Final = "engagement.alert"
"""What ``ce_type`` starts with; the kind and the state follow."""


class AlertRecord(NamedTuple):
    """A record for the alert topic of ``kind``."""

    kind: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def alert_record(change: AlertChange, source: str) -> AlertRecord:
    """The Kafka record of a change; ``source`` is a URI reference that names who tells it."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": alert_id(change),
        "ce_source": source,
        "ce_type": f"{TYPE_PREFIX}.{change.kind}.{change.state}",
        "ce_time": to_rfc3339(change.as_of_ms),
        "ce_subject": f"{change.dimension}:{change.key}",
        "content-type": "application/json",
    }
    headers = [(name, text.encode()) for name, text in attributes.items()]
    return AlertRecord(change.kind, change.fingerprint.encode(), orjson.dumps(alert_json(change)), headers)


def alert_id(change: AlertChange) -> str:
    """The id of a change: fingerprint, state and ``started_at``, and for what is told again within a
    firing alert its number and the severity (for churn the band), so that the first id stays as it is."""
    plain = f"{change.fingerprint}-{change.state}-{change.started_at_ms}"
    if change.state != FIRING or change.revision == 0:
        return plain
    return f"{plain}-{change.revision}-{change.band or change.severity}"


def alert_json(change: AlertChange) -> dict[str, Any]:
    """The alert as CONTRACT words it, ready for JSON. ``score``, ``band`` and ``segment`` are in churn alerts only,
    ``metric`` and ``condition`` in all others, ``runbook`` where the rule has one; what a rule does not know is None."""
    ended = None if change.ended_at_ms is None else to_rfc3339(change.ended_at_ms)
    data: dict[str, Any] = {
        "fingerprint": change.fingerprint,
        "rule": change.rule,
        "kind": change.kind,
        "state": change.state,
        "severity": change.severity,
        "dimension": change.dimension,
        "key": change.key,
        "window": change.window,
        "value": change.value,
        "threshold": change.threshold,
        "baseline": change.baseline,
        "numerator": _whole(change.numerator),
        "denominator": _whole(change.denominator),
        "low": change.low,
        "high": change.high,
        "started_at": to_rfc3339(change.started_at_ms),
        "ended_at": ended,
        "as_of": to_rfc3339(change.as_of_ms),
        "summary": summary(change),
        "reasons": reasons(change),
    }
    if change.kind == CHURN:
        data |= {"score": change.value, "band": change.band, "segment": change.segment}
    else:
        data |= {"metric": change.metric, "condition": change.condition}
    if change.suspected is not None:
        data["suspected"] = _whole(change.suspected)
    if change.runbook:
        data["runbook"] = change.runbook
    return data


def _whole(number: float | None) -> float | int | None:
    """Counts are whole and are written so, also after a float has held them."""
    return int(number) if number is not None and float(number).is_integer() else number
