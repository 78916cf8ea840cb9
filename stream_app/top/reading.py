"""Reads from Redis what ``stream-app top`` shows: one look at all of it, in two round trips.

Of a campaign only the fields that are shown are asked for, so that thousands of them can be looked at every second.
What stands in Redis was written by the workers, but anyone may have written there: what cannot be read is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
import redis.asyncio as redis
from redis.exceptions import RedisError

from stream_app.clock import from_datetime, now_ms
from stream_app.failure import Unreachable
from stream_app.figures import Numbers
from stream_app.metrics.catalogue import RATE_BY_NAME
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options
from stream_app.sinks.reach import redis_problem

Json = dict[str, Any]

CAMPAIGNS_READ = 5_000
"""The most campaigns that are looked at, those with the newest events."""
CUSTOMERS_READ = 10
ANSWER_SECONDS = 5.0
CAMPAIGN_COUNTS = ("deliveries", "opens", "clicks", "machine_opens", "machine_clicks")
CAMPAIGN_RATES = ("open_rate", "ctr", "ctor", "optout_rate", "ctr_adjusted")
_TIMES = ("as_of", "watermark")
_RATES = [RATE_BY_NAME[name] for name in CAMPAIGN_RATES]
_COUNTS = sorted(
    {*CAMPAIGN_COUNTS, *(part for rate in _RATES for part in (rate.numerator, *rate.denominator))}
)


class Customer(NamedTuple):
    """A customer who may leave; ``reasons`` the weightiest first."""

    customer_id: str
    score: float
    band: str
    reasons: tuple[str, ...]
    segment: str = ""
    stage: str = ""


class Worker(NamedTuple):
    """A worker by its own report; counts are since its start."""

    name: str
    started_at: str
    watermark_ms: int | None
    lag: int
    shards: tuple[int, ...]
    events: Mapping[str, int]
    dead_letters: Mapping[str, int]
    churn_held_back: int | None = None
    """Churn alerts that wait for the next hours, as the rules let no more begin; None where it does not tell."""


@dataclass(frozen=True)
class Look:
    """What Redis held at one moment. ``campaigns`` are those with the newest events of all ``campaign_count``,
    ``customers`` the worst of all ``customer_count`` at risk; ``alerts`` fire, the worst first."""

    read_at_ms: int
    everything: Numbers = field(default_factory=Numbers)
    campaigns: dict[str, Numbers] = field(default_factory=dict)
    campaign_count: int = 0
    alerts: tuple[Json, ...] = ()
    customers: tuple[Customer, ...] = ()
    customer_count: int = 0
    workers: tuple[Worker, ...] = ()
    lateness_ms: int = 0
    """The allowed lateness, by which a watermark lies behind the newest event."""

    @property
    def churn_held_back(self) -> int | None:
        """Churn alerts that the workers hold back; None where no worker tells."""
        known = [worker.churn_held_back for worker in self.workers if worker.churn_held_back is not None]
        return sum(known) if known else None


class Reader:
    """Looks at Redis again and again; use it as an asynchronous context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.redis_prefix

    async def __aenter__(self) -> Self:
        self._client: Any = redis.Redis.from_url(
            **redis_options(self._settings),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            decode_responses=True,
            encoding_errors="replace",
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def look(self, window: str) -> Look:
        """Everything as it is now, the campaigns' numbers in one window.

        Raises:
            Unreachable: Redis gives no answer, or refuses; says why, and the mend.
        """
        try:
            return await self._look(window)
        except (RedisError, OSError, TimeoutError) as problem:
            known = await asyncio.to_thread(redis_problem, self._settings)
            raise Unreachable(known or f"Redis cannot be read ({problem})") from None
        except (ValueError, TypeError) as problem:
            raise Unreachable(
                f"Redis holds what no worker wrote below {self._prefix!r} ({problem}): empty it, the workers fill it again"
            ) from None

    async def _look(self, window: str) -> Look:
        prefix = self._prefix
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(f"{prefix}metrics:all:all")
            pipeline.zrevrange(f"{prefix}index:campaign", 0, CAMPAIGNS_READ - 1)
            pipeline.zcard(f"{prefix}index:campaign")
            pipeline.hvals(f"{prefix}alerts:firing")
            pipeline.zrevrange(f"{prefix}churn", 0, CUSTOMERS_READ - 1, withscores=True)
            pipeline.zcard(f"{prefix}churn")
            pipeline.zrange(f"{prefix}workers", 0, -1)
            everything, names, campaign_count, alerts, risks, at_risk, workers = await pipeline.execute()
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(f"{prefix}metrics:campaign:{name}", _fields(window))
            for customer, _ in risks:
                pipeline.hgetall(f"{prefix}customer:{customer}")
            for worker in workers:
                pipeline.hgetall(f"{prefix}workers:{worker}")
            details = iter(await pipeline.execute())
        campaigns = {name: _numbers(window, next(details)) for name in names}
        customers = tuple(_customer(name, score, next(details)) for name, score in risks)
        return Look(
            read_at_ms=now_ms(),
            everything=_checked(everything),
            campaigns={name: numbers for name, numbers in campaigns.items() if numbers.as_of},
            campaign_count=campaign_count,
            alerts=tuple(sorted(filter(None, map(_object, alerts)), key=_worst_first)),
            customers=customers,
            customer_count=at_risk,
            lateness_ms=self._settings.allowed_lateness,
            workers=tuple(_worker(name, fields) for name in workers if (fields := next(details))),
        )


def _fields(window: str) -> list[str]:
    """The fields of a campaign that are shown."""
    return ["as_of", *(f"{window}.{count}" for count in _COUNTS)]


def _numbers(window: str, values: Sequence[str | None]) -> Numbers:
    pairs = zip(_fields(window), values, strict=True)
    return _checked({name: value for name, value in pairs if value is not None})


def _checked(fields: dict[str, str]) -> Numbers:
    """The numbers of a hash.

    Raises:
        ValueError: there is one that is none.
    """
    for name, value in fields.items():
        if value and name not in _TIMES:
            orjson.loads(value)
    return Numbers(fields)


def _object(text: str) -> Json | None:
    """A JSON object, or None where the text is none."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _customer(name: str, score: float, fields: Mapping[str, str]) -> Customer:
    try:
        told = orjson.loads(fields.get("reasons") or "[]")
    except orjson.JSONDecodeError:
        told = []
    given = told if isinstance(told, list) else []
    reasons = tuple(str(reason) for reason in given)
    return Customer(
        name, score, fields.get("band", ""), reasons, fields.get("segment", ""), fields.get("stage", "")
    )


def _worker(name: str, fields: Mapping[str, str]) -> Worker:
    watermark = fields.get("watermark")
    return Worker(
        name=name,
        started_at=fields.get("started_at", ""),
        watermark_ms=from_datetime(datetime.fromisoformat(watermark)) if watermark else None,
        lag=int(fields.get("lag") or 0),
        shards=tuple(orjson.loads(fields.get("shards") or "[]")),
        events=_object(fields.get("events", "")) or {},
        dead_letters=_object(fields.get("dead_letters", "")) or {},
        churn_held_back=int(held_back) if (held_back := fields.get("churn_held_back")) else None,
    )


def _worst_first(alert: Json) -> tuple[bool, str]:
    return alert.get("severity") != "critical", str(alert.get("started_at"))
