"""Puts into Redis what workers would show there, by the very commands that they send."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import redis

from stream_app.clock import now_ms, to_rfc3339
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import slot_of
from stream_app.metrics.snapshots import Snapshot, take_snapshot
from stream_app.metrics.windows import MergedKey
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options
from stream_app.sinks.redis_commands import CustomerRisk, FiringAlert, commands_of
from stream_app.sinks.worker_report import WorkerReport, report_commands

Command = tuple[Any, ...]


def snapshot(full_key: str, counts: Mapping[str, int]) -> Snapshot:
    """A key's snapshot of now, with these counts in every window."""
    merged = MergedKey()
    merged.reach(now_ms())
    cell = {slot_of(name): count for name, count in counts.items()}
    merged.change_total(dict(cell))
    merged.change_pane(now_ms() // PANE_MS, dict(cell))
    return take_snapshot(full_key, merged, now_ms() - 30_000)


def campaign(deliveries: int, clicks: int = 0, optouts: int = 0) -> dict[str, int]:
    """The counts of a campaign."""
    return {
        "deliveries": deliveries,
        "clicks": clicks,
        "unique_clicks": clicks,
        "unique_engaged": clicks,
        "optouts": optouts,
    }


def firing(fingerprint: str, summary: str, key: str) -> FiringAlert:
    """An alert on a campaign that fires."""
    about = {"dimension": "campaign", "key": key, "kind": "optout", "severity": "critical"}
    alert = about | {"summary": summary, "started_at": to_rfc3339(now_ms())}
    return FiringAlert(fingerprint, json.dumps(alert).encode())


def report(name: str, **changes: Any) -> WorkerReport:
    """A worker's report of now."""
    given: dict[str, Any] = {
        "name": name,
        "started_ms": now_ms() - 60_000,
        "as_of_ms": now_ms(),
        "shards": [0, 1],
        "mergers": [0, 1],
        "lag": 7,
        "watermark_ms": now_ms() - 630_000,
        "events": {"chats": 120},
        "dead_letters": {"late": 3},
    }
    return WorkerReport(**given | changes)


def show(settings: Settings, *items: Snapshot | FiringAlert | CustomerRisk | WorkerReport) -> None:
    """Write items to Redis as the view does."""
    prefix = settings.redis_prefix
    with redis.Redis.from_url(**redis_options(settings)) as client, client.pipeline() as pipeline:
        for item in items:
            commands: Iterable[Command] = (
                report_commands(item, prefix)
                if isinstance(item, WorkerReport)
                else commands_of(item, prefix, now_ms())
            )
            for command in commands:
                pipeline.execute_command(*command)
        pipeline.execute()
