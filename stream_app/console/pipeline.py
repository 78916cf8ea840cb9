"""The pipeline itself, from the workers' reports: events a second, lag, how far behind time is, dead letters. Pure.

Stands between ``reading`` and ``hub``. Reports hold counts since a worker's start; speed is the difference between
two reports of the same start over the time between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from stream_app.clock import SECOND_MS
from stream_app.console.numbers import number_of, time_of
from stream_app.ingest.topics import INPUT_TOPICS

SPEED_OVER_MS = 5 * SECOND_MS
"""Over about how long a speed is taken, so that it does not jump."""

_Counts = Mapping[str, int]


class Pipeline:
    """Remembers the last reports of each worker, and sums up."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], list[tuple[int, _Counts]]] = {}

    def take(self, reports: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """What the reports say together, and each worker by itself."""
        workers = [self._worker(report) for report in reports]
        current = {(worker["name"], worker["started_at"]) for worker in workers}
        self._reports = {name: held for name, held in self._reports.items() if name in current}
        speeds = Counter(dict.fromkeys(INPUT_TOPICS, 0.0))
        letters: Counter[str] = Counter()
        for worker in workers:
            speeds.update(worker["speeds"])
            letters.update(worker["dead_letters"])
        known = [worker["watermark"] for worker in workers if worker["watermark"] is not None]
        return {
            "workers": sorted(workers, key=lambda worker: str(worker["name"])),
            "speeds": {topic: round(speed, 1) for topic, speed in speeds.items()},
            "speed": round(sum(speeds.values()), 1),
            "lag": sum(worker["lag"] for worker in workers),
            "watermark": min(known, default=None),
            "dead_letters": dict(letters),
            "churn_held_back": sum(worker["churn_held_back"] for worker in workers),
        }

    def _worker(self, report: Mapping[str, str]) -> dict[str, Any]:
        name, started_at = report.get("name", ""), report.get("started_at", "")
        as_of = time_of(report.get("as_of")) or 0
        events = _counts(report.get("events"))
        flushes = _counts_of_pairs(report.get("flush_seconds"))
        batches = number_of(report.get("batches"))
        return {
            "name": name,
            "started_at": started_at,
            "as_of": as_of,
            "watermark": time_of(report.get("watermark")),
            "lag": number_of(report.get("lag")),
            "shards": _list(report.get("shards")),
            "mergers": _list(report.get("mergers")),
            "events": sum(events.values()),
            "speeds": self._speeds((name, started_at), as_of, events),
            "dead_letters": _counts(report.get("dead_letters")),
            "batch_size": number_of(report.get("batch_records")) / batches if batches else None,
            "flush_seconds": flushes,
            "redis_errors": number_of(report.get("redis_errors")),
            "churn_held_back": number_of(report.get("churn_held_back")),
        }

    def _speeds(self, name: tuple[str, str], as_of: int, events: _Counts) -> dict[str, float]:
        held = self._reports.setdefault(name, [])
        if not held or as_of > held[-1][0]:
            held.append((as_of, events))
        while len(held) > 2 and as_of - held[1][0] >= SPEED_OVER_MS:
            del held[0]
        begin, before = held[0]
        if as_of <= begin:
            return {}
        seconds = (as_of - begin) / SECOND_MS
        return {topic: (count - before.get(topic, 0)) / seconds for topic, count in events.items()}


def _loads(text: str | None, kind: type) -> Any:
    try:
        held = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return kind()
    return held if isinstance(held, kind) else kind()


def _counts(text: str | None) -> dict[str, int]:
    return {name: count for name, count in _loads(text, dict).items() if isinstance(count, int)}


def _counts_of_pairs(text: str | None) -> dict[str, float | None]:
    """The mean of each pair of a number and a sum."""
    means: dict[str, float | None] = {}
    for name, pair in _loads(text, dict).items():
        match pair:
            case [int() as count, int() | float() as total]:
                means[name] = total / count if count else None
    return means


def _list(text: str | None) -> list[Any]:
    held: list[Any] = _loads(text, list)
    return held
