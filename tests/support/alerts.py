"""Alerts as they stand on the alert topics, written down from CONTRACT, section 2, and not from the code under test."""

from __future__ import annotations

import json
from typing import Any

from kafka import KafkaProducer

from stream_app.notifiers.notice import Notice, notice_of
from stream_app.settings import Settings

Headers = list[tuple[str, bytes]]


def alert_record(**changed: Any) -> tuple[bytes, Headers]:
    """The value and headers of a change; what is given takes the place of what is usual. ``ce_id`` may be given, too."""
    ce_id = changed.pop("ce_id", None)
    data: dict[str, Any] = {
        "fingerprint": "0123456789abcdef",
        "rule": "optout-spike",
        "kind": "optout",
        "state": "firing",
        "severity": "warning",
        "dimension": "campaign",
        "key": "spring-sale",
        "window": "1h",
        "value": 0.021,
        "threshold": 0.01,
        "baseline": 0.002,
        "numerator": 31,
        "denominator": 1480,
        "low": 0.0148,
        "high": 0.0296,
        "started_at": "2026-11-22T10:00:00.000Z",
        "ended_at": None,
        "as_of": "2026-11-22T10:00:10.000Z",
        "summary": "Warning: opt-out rate of campaign spring-sale is 2.09 %.",
        "reasons": ["31 opt-outs in 1h against 1,480 deliveries in total"],
    } | changed
    if data["state"] == "resolved" and data["ended_at"] is None:
        data["ended_at"] = "2026-11-22T11:00:00.000Z"
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": ce_id or f"{data['fingerprint']}-{data['state']}-{data['started_at']}-{data['severity']}",
        "ce_source": "/engagement.worker",
        "ce_type": f"engagement.alert.{data['kind']}.{data['state']}",
        "ce_time": data["as_of"],
        "ce_subject": f"{data['dimension']}:{data['key']}",
        "content-type": "application/json",
    }
    return json.dumps(data).encode(), [(name, str(text).encode()) for name, text in attributes.items()]


def notice(**changed: Any) -> Notice:
    """The same change as a notice."""
    return notice_of(*alert_record(**changed))


def publish(settings: Settings, *changes: dict[str, Any]) -> None:
    """Write changes of alerts to their topics, as a worker does; each is ``alert_record``'s arguments."""
    with KafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False) as producer:
        for change in changes:
            value, headers = alert_record(**change)
            data = json.loads(value)
            topic = settings.topic(f"alerts.{data['kind']}")
            producer.send(topic, value, data["fingerprint"].encode(), headers).get(10)
