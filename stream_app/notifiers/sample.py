"""A sample alert and its end, to see whether targets can be told: ``stream-app notify --test``. Pure."""

from __future__ import annotations

import orjson

from stream_app.alerts.lifecycle import FIRING, RESOLVED
from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.notifiers.notice import Notice, notice_of
from stream_app.settings import Settings


def sample_notices(settings: Settings, now_ms: int) -> list[Notice]:
    """One that fires and its end, which say that they are a test; no rule has this name."""
    start_ms = now_ms - SECOND_MS
    firing = _notice(settings, start_ms, FIRING, {"summary": "Test: this is no alert, nothing is wrong."})
    ended = {"summary": "Test: the end of what was no alert.", "ended_at": to_rfc3339(now_ms)}
    return [firing, _notice(settings, start_ms, RESOLVED, ended)]


def _notice(settings: Settings, start_ms: int, state: str, more: dict[str, str]) -> Notice:
    data = {
        "fingerprint": "0" * 16,
        "rule": "stream-app-test",
        "kind": "test",
        "state": state,
        "severity": "warning",
        "dimension": "all",
        "key": "all",
        "started_at": to_rfc3339(start_ms),
        "reasons": ["sent by stream-app notify --test"],
    }
    headers = {
        "ce_id": f"{data['fingerprint']}-{state}-{start_ms}",
        "ce_source": f"/{settings.prefix}notify",
        "ce_type": f"engagement.alert.test.{state}",
        "ce_time": to_rfc3339(start_ms),
        "ce_subject": "all:all",
    }
    return notice_of(orjson.dumps(data | more), [(name, text.encode()) for name, text in headers.items()])
