"""What a user of the demo's installation sees: numbers from Redis, changes of alerts from their topics.

Stands behind the flow, where a dashboard would. It knows nothing of the simulator.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_app.clock import monotonic_seconds
from stream_app.figures import Numbers
from stream_app.ingest.topic_specs import topic_specs
from stream_app.ingest.topics import ALERT_TOPICS, DEAD_LETTERS, METRICS
from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options, redis_options

CHANGES_KEPT = 200
CAMPAIGNS_READ = 12
RISKS_READ = 3
POLL_MS = 200
CLOSE_SECONDS = 3.0


class Risk(NamedTuple):
    """A customer at risk of leaving."""

    customer_id: str
    score: float


@dataclass
class Seen:
    """All that was seen so far. ``changes`` are alerts as they were told, the newest last."""

    everything: Numbers = field(default_factory=Numbers)
    campaigns: dict[str, Numbers] = field(default_factory=dict)
    firing: list[dict[str, Any]] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)
    changes: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CHANGES_KEPT))
    fired: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    snapshots: int = 0
    first_numbers_at: float | None = None
    _told: set[tuple[Any, ...]] = field(default_factory=set)

    def take_change(self, alert: dict[str, Any]) -> None:
        """Note a change of an alert; firing again with another severity is no other alert."""
        self.changes.append(alert)
        kind, state = str(alert.get("kind")), alert.get("state")
        identity = (alert.get("fingerprint"), alert.get("started_at"), state)
        if state in ("firing", "resolved") and identity not in self._told:
            self._told.add(identity)
            (self.fired if state == "firing" else self.resolved)[kind] += 1


class Reader:
    """Reads everything that is shown. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, on_change: Callable[[dict[str, Any]], None]) -> None:
        self._settings = settings
        self._on_change = on_change
        self.seen = Seen()

    async def __aenter__(self) -> Self:
        self._redis: Any = redis.Redis.from_url(**redis_options(self._settings), decode_responses=True)
        self._consumer = AIOKafkaConsumer(
            **aiokafka_options(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await self._consumer.start()
        names = {self._settings.topic(name) for name in (METRICS, *ALERT_TOPICS, DEAD_LETTERS)}
        specs = [spec for spec in topic_specs(self._settings) if spec.name in names]
        self._consumer.assign(
            [TopicPartition(spec.name, n) for spec in specs for n in range(spec.partitions)]
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._redis.aclose()
        # Where the broker is gone, the client waits for it, and then raises what it cancelled itself.
        with suppress(KafkaError, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self._consumer.stop(), CLOSE_SECONDS)

    async def follow_topics(self) -> None:
        """Take what is told on the topics, until cancelled."""
        while True:
            for place, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                self._take(place.topic.removeprefix(self._settings.prefix), records)

    def _take(self, topic: str, records: list[Any]) -> None:
        seen = self.seen
        if topic == METRICS:
            seen.snapshots += len(records)
        elif topic == DEAD_LETTERS:
            seen.dead_letters.update(dict(record.headers)["reason"].decode() for record in records)
        else:
            for record in records:
                alert = orjson.loads(record.value)
                seen.take_change(alert)
                self._on_change(alert)

    async def look(self) -> None:
        """Read the numbers as they are now."""
        await read_numbers(self._redis, self._settings.redis_prefix, self.seen)


async def read_numbers(client: Any, prefix: str, seen: Seen) -> None:
    """Read the numbers, the firing alerts and the customers at risk as they are now."""
    names = await client.zrevrange(f"{prefix}index:campaign", 0, CAMPAIGNS_READ - 1)
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(f"{prefix}metrics:all:all")
        pipeline.hvals(f"{prefix}alerts:firing")
        pipeline.zrevrange(f"{prefix}churn", 0, RISKS_READ - 1, withscores=True)
        for name in names:
            pipeline.hgetall(f"{prefix}metrics:campaign:{name}")
        everything, firing, risks, *campaigns = await pipeline.execute()
    seen.everything = Numbers(everything)
    seen.firing = sorted(map(orjson.loads, firing), key=_worst_first)
    seen.risks = [Risk(customer, score) for customer, score in risks]
    newest_last = reversed(list(zip(names, campaigns, strict=True)))
    seen.campaigns |= {name: Numbers(fields) for name, fields in newest_last}
    if everything and seen.first_numbers_at is None:
        seen.first_numbers_at = monotonic_seconds()


def _worst_first(alert: dict[str, Any]) -> tuple[bool, str]:
    return (alert.get("severity") != "critical", str(alert.get("started_at")))
