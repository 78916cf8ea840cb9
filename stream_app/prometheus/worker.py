"""What a worker serves at ``/metrics``: gathered on its event loop, written as text beside it. Stands at the edge.

The numbers are taken between two steps of the flow, key by key, so that nothing waits for a scrape; turning thousands
of them into text is a thread's work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from stream_app.alerts.lifecycle import FIRING
from stream_app.clock import SECOND_MS, now_ms
from stream_app.engine import MERGERS, SHARDS, Engine
from stream_app.health import Health
from stream_app.ingest.decode import Reason
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.metrics.snapshots import Snapshot, take_snapshot
from stream_app.prometheus import families
from stream_app.prometheus.engagement import chosen_keys, engagement_samples
from stream_app.prometheus.exposition import (
    Gathered,
    Sample,
    distribution,
    metrics_reply,
    process_samples,
)
from stream_app.sinks.http_server import Reply
from stream_app.stations.base import Station


async def worker_metrics(engine: Engine, health: Health) -> Reply:
    """The answer to a scrape of a worker."""
    gathered = [*process_samples(not health.reasons), *_pipeline(engine, health), *_shards(engine)]
    gathered += _alerts(engine)
    merged = [
        (key.newest_ms, name)
        for station in engine.mergers.values()
        for name in station.merger.names()
        if (key := station.merger.key(name)) is not None
    ]
    names, left_out = chosen_keys(merged, engine.settings.prometheus_detail)
    snapshots = await _snapshots(engine, names)
    return await asyncio.to_thread(
        lambda: metrics_reply([*gathered, *engagement_samples(snapshots, left_out)])
    )


async def _snapshots(engine: Engine, names: Iterable[str]) -> list[Snapshot]:
    """The keys as they are now; those that went elsewhere meanwhile are left out."""
    found = []
    for name in names:
        for station in engine.mergers.values():
            merged = station.merger.key(name)
            if merged is not None:
                found.append(take_snapshot(name, merged, station.merger.watermark_ms))
        await asyncio.sleep(0)
    return found


def _pipeline(engine: Engine, health: Health) -> list[Gathered]:
    vitals, block = engine.vitals, health.longest_block
    return [
        (families.EVENTS, [Sample(vitals.events[topic], (topic,)) for topic in INPUT_TOPICS]),
        (families.DEAD_LETTERS, [Sample(vitals.dead_letters[name], (name,)) for name in Reason]),
        (families.BATCHES, [distribution(vitals.batches)]),
        (families.FLUSHES, [distribution(took, whose) for whose, took in vitals.flushes.items()]),
        (families.COMMITS, [distribution(vitals.commits)]),
        (families.LAG, [Sample(engine.lag)]),
        (families.REDIS_UP, [Sample(bool(engine.view.available))]),
        (families.REDIS_ERRORS, [Sample(engine.view.errors)]),
        (families.BLOCK, [Sample(block.seconds, ("clock",)), Sample(block.busy_seconds, ("busy",))]),
    ]


def _shards(engine: Engine) -> list[Gathered]:
    """How far the shards are, and how much the state holds."""
    clock_ms, lateness_ms = now_ms(), engine.settings.allowed_lateness
    times = {
        str(number): station.shard.watermark.current_ms
        for number, station in engine.shards.items()
        if station.shard.watermark.current_ms > 0
    }
    shards, mergers = list(engine.shards.values()), list(engine.mergers.values())
    return [
        (families.WATERMARK, [Sample(time_ms / SECOND_MS, (number,)) for number, time_ms in times.items()]),
        (
            families.WATERMARK_DELAY,
            [
                Sample((clock_ms - time_ms - lateness_ms) / SECOND_MS, (number,))
                for number, time_ms in times.items()
            ],
        ),
        (families.PARTITIONS, [Sample(len(shards), (SHARDS,)), Sample(len(mergers), (MERGERS,))]),
        (
            families.STATE_OBJECTS,
            [Sample(_objects(shards), (SHARDS,)), Sample(_objects(mergers), (MERGERS,))],
        ),
    ]


def _objects(stations: Sequence[Station]) -> int:
    return sum(station.journal.shelf.slices.count() for station in stations)


def _alerts(engine: Engine) -> list[Gathered]:
    firing = Counter(
        (change.kind, change.severity)
        for station in engine.mergers.values()
        for change in station.desk.active()
        if change.state == FIRING
    )
    churn = sum(len(station.desk.customers) for station in engine.shards.values())
    return [
        (families.ALERTS, [Sample(count, labels) for labels, count in firing.items()]),
        (families.CHURN_ALERTS, [Sample(churn)]),
        (families.CHURN_HELD_BACK, [Sample(engine.churn_held_back)]),
    ]
