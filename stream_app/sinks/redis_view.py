"""The view in Redis: what dashboards and marketing tools read. See CONTRACT, section 3.

Stands at the edge. Only newest values are kept until they are written, so a slow or absent Redis costs
neither memory nor counting. When Redis was away or was emptied (this worker's marker is gone), everything
is written anew from what the worker holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import redis.asyncio as redis
from redis.exceptions import RedisError

from stream_app.clock import DAY_MS, now_ms, to_rfc3339
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options

logger = logging.getLogger(__name__)

EXPIRY_SECONDS = DAY_MS // 1000
STREAM_LENGTH = 10_000
_PAUSE_SECONDS = 1.0
_CHECK_SECONDS = 1.0
_COMMANDS_AT_ONCE = 500
_MARKER_SECONDS = 3600


class FiringAlert(NamedTuple):
    """A firing alert as the view shows it; ``data`` None: it is resolved."""

    fingerprint: str
    data: bytes | None


class CustomerRisk(NamedTuple):
    """A customer's churn score as the view shows it; ``band`` None: below the lowest band."""

    customer_id: str
    score: float
    band: str | None
    reasons: tuple[str, ...]
    last_seen_ms: int


Refill = Callable[[], AsyncIterator[Snapshot | FiringAlert | CustomerRisk]]
"""Everything that this worker holds."""
Owns = Callable[[str, str], bool]
"""Whether this worker is responsible for a key of a dimension (``customer`` for customers)."""


class RedisView:
    """Writes snapshots, alerts and customers to Redis, in the background."""

    def __init__(self, settings: Settings, refill: Refill, owns: Owns) -> None:
        self._prefix = settings.redis_prefix
        self._options = redis_options(settings)
        self._refill = refill
        self._owns = owns
        self._waiting: dict[str, Snapshot | FiringAlert | CustomerRisk] = {}
        self._stream: list[bytes] = []
        self._wake = asyncio.Event()
        self._must_refill = True
        self._marker = f"{self._prefix}view:{uuid4().hex}"
        self.available: bool | None = None

    def show(self, item: Snapshot | FiringAlert | CustomerRisk) -> None:
        """Show a newer value; an older one not yet written is dropped."""
        if not self._must_refill:  # a refill will write it
            self._waiting[_identity(item)] = item
        self._wake.set()

    def tell(self, data: bytes) -> None:
        """Append a change of an alert to the stream."""
        self._stream.append(data)
        del self._stream[:-STREAM_LENGTH]
        self._wake.set()

    def refill_soon(self) -> None:
        """Write everything anew, as after other partitions have come to this worker."""
        self._must_refill = True
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; never raises for Redis's sake."""
        client = redis.Redis.from_url(**self._options, socket_timeout=5, socket_connect_timeout=5)
        try:
            while True:
                try:
                    await self._write_out(client)
                    self._note(available=True)
                    await self._pause_until_woken()
                except (RedisError, OSError, TimeoutError) as problem:
                    self._note(available=False, problem=problem)
                    self._must_refill = True
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            await client.aclose()

    async def _pause_until_woken(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), _CHECK_SECONDS)
        except TimeoutError:
            return

    async def _write_out(self, client: Any) -> None:
        self._wake.clear()
        if self._must_refill or not await client.expire(self._marker, _MARKER_SECONDS):
            await self._write_everything(client)
        waiting, self._waiting = self._waiting, {}
        stream, self._stream = self._stream, []
        try:
            await self._write(client, list(waiting.values()))
            for data in stream:
                await client.xadd(
                    f"{self._prefix}alerts", {"data": data}, maxlen=STREAM_LENGTH, approximate=True
                )
        except BaseException:
            self._waiting = {**waiting, **self._waiting}
            self._stream = [*stream, *self._stream]
            raise

    async def _write_everything(self, client: Any) -> None:
        """The refill: all that this worker holds is written, and what it no longer holds goes."""
        self._must_refill = False
        self._waiting.clear()
        firing: set[str] = set()
        at_risk: set[str] = set()
        batch: list[Snapshot | FiringAlert | CustomerRisk] = []
        async for item in self._refill():
            batch.append(item)
            if isinstance(item, FiringAlert):
                firing.add(item.fingerprint)
            elif isinstance(item, CustomerRisk):
                at_risk.add(item.customer_id)
            if len(batch) >= _COMMANDS_AT_ONCE:
                await self._write(client, batch)
                batch.clear()
        await self._write(client, batch)
        await self._remove_stale(client, firing, at_risk)
        await client.set(self._marker, to_rfc3339(now_ms()), ex=_MARKER_SECONDS)

    async def _remove_stale(self, client: Any, firing: set[str], at_risk: set[str]) -> None:
        held = await client.hgetall(f"{self._prefix}alerts:firing")
        for fingerprint, data in held.items():
            alert = orjson.loads(data)
            if fingerprint.decode() not in firing and self._owns(alert["dimension"], alert["key"]):
                await client.hdel(f"{self._prefix}alerts:firing", fingerprint)
        async for member, _ in client.zscan_iter(f"{self._prefix}churn", count=1000):
            customer_id = member.decode()
            if customer_id not in at_risk and self._owns("customer", customer_id):
                await client.zrem(f"{self._prefix}churn", customer_id)

    async def _write(self, client: Any, items: list[Snapshot | FiringAlert | CustomerRisk]) -> None:
        for start in range(0, len(items), _COMMANDS_AT_ONCE):
            pipeline = client.pipeline(transaction=False)
            for item in items[start : start + _COMMANDS_AT_ONCE]:
                if isinstance(item, Snapshot):
                    self._put_snapshot(pipeline, item)
                elif isinstance(item, FiringAlert):
                    self._put_alert(pipeline, item)
                else:
                    self._put_customer(pipeline, item)
            await pipeline.execute()

    def _put_snapshot(self, pipeline: Any, snapshot: Snapshot) -> None:
        key = f"{self._prefix}metrics:{snapshot.dimension}:{snapshot.key}"
        index = f"{self._prefix}index:{snapshot.dimension}"
        clock_ms = now_ms()
        pipeline.hset(key, mapping=snapshot_fields(snapshot))
        pipeline.expire(key, EXPIRY_SECONDS)
        pipeline.zadd(index, {snapshot.key: clock_ms})
        pipeline.zremrangebyscore(index, "-inf", clock_ms - EXPIRY_SECONDS * 1000)

    def _put_alert(self, pipeline: Any, alert: FiringAlert) -> None:
        key = f"{self._prefix}alerts:firing"
        if alert.data is None:
            pipeline.hdel(key, alert.fingerprint)
        else:
            pipeline.hset(key, alert.fingerprint, alert.data)

    def _put_customer(self, pipeline: Any, risk: CustomerRisk) -> None:
        ranking, key = f"{self._prefix}churn", f"{self._prefix}customer:{risk.customer_id}"
        if risk.band is None:
            pipeline.zrem(ranking, risk.customer_id)
        else:
            pipeline.zadd(ranking, {risk.customer_id: risk.score})
        fields = {
            "score": repr(risk.score),
            "band": risk.band or "",
            "reasons": orjson.dumps(risk.reasons),
            "last_seen": to_rfc3339(risk.last_seen_ms),
        }
        pipeline.hset(key, mapping=fields)
        pipeline.expire(key, EXPIRY_SECONDS)

    def _note(self, available: bool, problem: BaseException | None = None) -> None:
        if available != self.available:
            self.available = available
            if available:
                logger.info("Redis is there; the view is being kept")
            else:
                logger.warning(
                    "Redis is away (%s); counting goes on, the view is written when it returns", problem
                )


def snapshot_fields(snapshot: Snapshot) -> dict[str, str]:
    """The fields of a key's hash, as text; a rate that nobody can know is an empty text."""
    fields = {"as_of": to_rfc3339(snapshot.as_of_ms), "watermark": to_rfc3339(snapshot.watermark_ms)}
    for window, view in snapshot.windows.items():
        for name, count in view.counts.items():
            fields[f"{window}.{name}"] = orjson.dumps(count).decode()
        for rate, held in view.rates.items():
            fields[f"{window}.{rate}"] = "" if held.value is None else repr(held.value)
    return fields


def _identity(item: Snapshot | FiringAlert | CustomerRisk) -> str:
    if isinstance(item, Snapshot):
        return f"m:{item.dimension}:{item.key}"
    if isinstance(item, FiringAlert):
        return f"a:{item.fingerprint}"
    return f"c:{item.customer_id}"
