"""A worker's report of itself in Redis: what the console's pipeline page and ``top`` read. Pure.

Stands behind the view, which writes it about once a second. ``<prefix>workers`` is a sorted set of worker names by the
time of the last report, ``<prefix>workers:<name>`` a hash that expires soon after the last one: a worker that is gone is
soon gone from there. All counts are since the worker's start, so a reader takes differences, and begins anew where
``started_at`` differs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

import orjson

from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.sinks.redis_commands import Command

REPORT_EVERY_MS = SECOND_MS
REPORT_EXPIRY_SECONDS = 10
"""A worker that has not reported for so long is taken for gone."""


@dataclass(frozen=True)
class WorkerReport:
    """How a worker is at one moment. Counts are since its start."""

    name: str
    started_ms: int
    as_of_ms: int
    shards: list[int]
    mergers: list[int]
    lag: int
    """Records that wait unread in its partitions, as of the watchdog's last look, a few seconds old at most."""
    watermark_ms: int | None
    """The event time of its slowest shard; None where no shard has had an event."""
    events: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    batches: int = 0
    batch_records: int = 0
    flush_seconds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """How many flushes there were, and how long they took together, by whose they were."""
    redis_errors: int = 0
    churn_held_back: int = 0
    """Churn alerts that wait for a later hour, now; see ``most_per_hour`` in the rules."""

    def fields(self) -> dict[str, bytes | str]:
        """The fields of its hash: texts and numbers as text, and JSON where there are several."""
        watermark = "" if self.watermark_ms is None else to_rfc3339(self.watermark_ms)
        return {
            "name": self.name,
            "started_at": to_rfc3339(self.started_ms),
            "as_of": to_rfc3339(self.as_of_ms),
            "watermark": watermark,
            "lag": str(self.lag),
            "shards": orjson.dumps(self.shards),
            "mergers": orjson.dumps(self.mergers),
            "events": orjson.dumps(dict(self.events)),
            "dead_letters": orjson.dumps(dict(self.dead_letters)),
            "batches": str(self.batches),
            "batch_records": str(self.batch_records),
            "flush_seconds": orjson.dumps(dict(self.flush_seconds)),
            "redis_errors": str(self.redis_errors),
            "churn_held_back": str(self.churn_held_back),
        }


def worker_name() -> str:
    """A name for this process that a person finds again (host and process id) and no other process bears."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:4]}"


class Reporter:
    """Says when a report is due, as what the view writes also."""

    def __init__(self, report: Callable[[], WorkerReport], prefix: str) -> None:
        self._report = report
        self._prefix = prefix
        self._reported_ms = 0

    def commands(self, clock_ms: int) -> list[Command]:
        """What shows a report, once a second."""
        if clock_ms - self._reported_ms < REPORT_EVERY_MS:
            return []
        self._reported_ms = clock_ms
        return list(report_commands(self._report(), self._prefix))


def report_commands(report: WorkerReport, prefix: str) -> Iterator[Command]:
    """What shows a report, and takes those away that have not reported for long."""
    fields = [part for pair in report.fields().items() for part in pair]
    oldest_ms = report.as_of_ms - REPORT_EXPIRY_SECONDS * SECOND_MS
    yield "HSET", f"{prefix}workers:{report.name}", *fields
    yield "EXPIRE", f"{prefix}workers:{report.name}", REPORT_EXPIRY_SECONDS
    yield "ZADD", f"{prefix}workers", report.as_of_ms, report.name
    yield "ZREMRANGEBYSCORE", f"{prefix}workers", "-inf", f"({oldest_ms}"
