"""Reads what the workers show in Redis, for all viewers at once: the numbers, and apart from them the alerts.

Stands between Redis and the hub. Of the numbers a look reads only the keys that have changed (``index.py``). The alerts do
not wait for it: Redis itself tells when a change of one has been written. Writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import orjson
import redis.asyncio as redis
from redis.exceptions import ResponseError

from stream_app.alerts.rules import Rules
from stream_app.clock import SECOND_MS
from stream_app.console.index import Index
from stream_app.console.numbers import CAMPAIGN_FIELDS, SEGMENT_FIELDS, Fields
from stream_app.metrics.catalogue import Dimension, campaign_segment
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options
from stream_app.sinks.redis_commands import ranking

UNTOLD_MS = SECOND_MS
"""So soon alerts are read again where no change has been told, as when Redis was emptied."""
_KEYS_AT_ONCE = 500
_GROUPS_READ = 100  # segments and channels, each
_SEGMENTS_READ = 500  # of one campaign
_CHANGES_READ = 100
_WORST_READ = 50
_WORKERS_READ = 100
_SECONDS = 5.0


@dataclass
class Seen:
    """What one look at the numbers has found. Of campaigns, segments and channels only what is new, by key; None is gone."""

    campaigns: dict[str, Fields | None] = field(default_factory=dict)
    groups: dict[str, Fields | None] = field(default_factory=dict)
    """By ``dimension:key``, ``all:all`` among them."""
    bands: dict[str, int] = field(default_factory=dict)
    """How many customers each band of the churn score has, from mild to severe."""
    segment_bands: dict[str, dict[str, int]] = field(default_factory=dict)
    """The same of each segment."""
    worst: list[dict[str, str]] = field(default_factory=list)
    workers: list[dict[str, str]] = field(default_factory=list)


class CampaignSegments(NamedTuple):
    """A campaign by segment."""

    is_counted: bool
    """Whether there are such numbers of any campaign."""
    segments: dict[str, Fields]
    left_out: int
    """How many segments were not asked for, as they have not changed for longest."""


@dataclass
class SeenAlerts:
    """What one look at the alerts has found."""

    firing: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    """The last changes, newest first; ``told_at`` is when by Redis's clock, in milliseconds."""


class Reader:
    """Looks at Redis, again and again. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._prefix = settings.redis_prefix
        self._bands = rules.churn.bands if rules.churn else ()
        self._told = f"{self._prefix}alerts"
        self._last_told = ""
        self._campaigns = Index(f"{self._prefix}index:{Dimension.CAMPAIGN}")
        self._groups = {
            dimension: Index(f"{self._prefix}index:{dimension}", _GROUPS_READ)
            for dimension in (Dimension.SEGMENT, Dimension.CHANNEL)
        }

    async def __aenter__(self) -> Self:
        options = redis_options(self._settings)
        self._client: Any = redis.Redis.from_url(
            **options,
            decode_responses=True,
            encoding_errors="replace",
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
        )
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self._client.aclose()

    async def look(self, clock_ms: int) -> Seen:
        """The numbers as they are now.

        Raises:
            RedisError, OSError, TimeoutError: Redis cannot be read.
        """
        pipeline = self._pipeline()
        self._campaigns.ask(pipeline, clock_ms)
        for index in self._groups.values():
            index.ask(pipeline, clock_ms)
        pipeline.zrevrange(ranking(self._prefix), 0, _WORST_READ - 1)
        pipeline.zrevrange(f"{self._prefix}workers", 0, _WORKERS_READ - 1)
        answers = iter(await _answers(pipeline))
        seen = Seen()
        campaigns, gone = self._campaigns.take(next(answers) or 0, next(answers), clock_ms)
        seen.campaigns = dict.fromkeys(gone)
        groups = [f"{Dimension.ALL}:{Dimension.ALL}"]
        for dimension, index in self._groups.items():
            names, lost = index.take(next(answers) or 0, next(answers), clock_ms)
            groups += [f"{dimension}:{name}" for name in names]
            seen.groups |= dict.fromkeys(f"{dimension}:{name}" for name in lost)
        await self._look_closer(seen, campaigns, groups, next(answers), next(answers))
        await self._count_bands(seen)
        return seen

    async def alerts(self) -> SeenAlerts:
        """What fires, and what has changed: as soon as a change is told, or after ``UNTOLD_MS`` without any.

        Raises:
            RedisError, OSError, TimeoutError: Redis cannot be read.
        """
        await self._until_told()
        pipeline = self._pipeline()
        pipeline.hvals(f"{self._prefix}alerts:firing")
        pipeline.xrevrange(self._told, count=_CHANGES_READ)
        firing, changes = await _answers(pipeline)
        if changes:
            self._last_told = changes[0][0]
        return SeenAlerts(
            [alert for alert in map(_json_object, firing) if alert],
            [
                alert | {"told_at": int(number.partition("-")[0])}
                for number, entry in changes
                if (alert := _json_object((entry or {}).get("data")))
            ],
        )

    async def key(self, dimension: Dimension, key: str) -> Fields:
        """Everything that Redis holds of one key; empty if there is no such key."""
        fields: Fields = await self._client.hgetall(f"{self._prefix}metrics:{dimension}:{key}")
        return fields

    async def campaign_segments(self, campaign: str) -> CampaignSegments:
        """A campaign in every segment there is: who bears both has changed the segment's own numbers too, so that the
        index of the segments names all, and no other is needed."""
        segments = f"{self._prefix}index:{Dimension.SEGMENT}"
        pipeline = self._pipeline()
        pipeline.zcard(f"{self._prefix}index:{Dimension.CAMPAIGN_SEGMENT}")
        pipeline.zcard(segments)
        pipeline.zrevrange(segments, 0, _SEGMENTS_READ - 1)
        counted, known, names = await _answers(pipeline)
        if not counted:
            return CampaignSegments(False, {}, 0)
        found = await self._read_keys(
            Dimension.CAMPAIGN_SEGMENT, [campaign_segment(campaign, name) for name in names], SEGMENT_FIELDS
        )
        held = {
            name: fields for name, fields in zip(names, found.values(), strict=True) if fields.get("as_of")
        }
        return CampaignSegments(True, held, max(0, (known or 0) - len(names)))

    async def worst_of(self, segment: str) -> list[dict[str, str]]:
        """The customers of a segment who are at the greatest risk, the worst first; of all, where it is empty.

        Raises:
            RedisError, OSError, TimeoutError: Redis cannot be read.
        """
        pipeline = self._pipeline()
        pipeline.zrevrange(ranking(self._prefix, segment), 0, _WORST_READ - 1)
        [names] = await _answers(pipeline)
        pipeline = self._pipeline()
        for name in names:
            pipeline.hgetall(f"{self._prefix}customer:{name}")
        return _customers(names, iter(await _answers(pipeline)))

    def _pipeline(self) -> Any:
        return self._client.pipeline(transaction=False)

    async def _until_told(self) -> None:
        if not self._last_told:
            return
        try:
            await self._client.xread({self._told: self._last_told}, count=1, block=UNTOLD_MS)
        except ResponseError as problem:
            if not _is_of_another_type(problem):
                raise
            await asyncio.sleep(UNTOLD_MS / SECOND_MS)

    async def _look_closer(
        self, seen: Seen, campaigns: list[str], groups: list[str], worst: list[str], workers: list[str]
    ) -> None:
        for start in range(0, len(campaigns), _KEYS_AT_ONCE):
            names = campaigns[start : start + _KEYS_AT_ONCE]
            seen.campaigns |= await self._read_keys(Dimension.CAMPAIGN, names, CAMPAIGN_FIELDS)
        pipeline = self._pipeline()
        for name in groups:
            pipeline.hgetall(f"{self._prefix}metrics:{name}")
        for name in worst:
            pipeline.hgetall(f"{self._prefix}customer:{name}")
        for name in workers:
            pipeline.hgetall(f"{self._prefix}workers:{name}")
        answers = iter(await _answers(pipeline))
        seen.groups |= {name: next(answers) or None for name in groups}
        seen.worst = _customers(worst, answers)
        seen.workers = [report for _ in workers if (report := next(answers))]

    async def _count_bands(self, seen: Seen) -> None:
        """How many customers each band has, of all and of each segment that is shown."""
        segments = sorted(self._groups[Dimension.SEGMENT].known)
        pipeline = self._pipeline()
        for segment in (None, *segments):
            for number, (_, lowest) in enumerate(self._bands):
                end = f"({self._bands[number + 1][1]}" if number + 1 < len(self._bands) else "+inf"
                pipeline.zcount(ranking(self._prefix, segment), lowest, end)
        answers = iter(await _answers(pipeline))
        seen.bands = self._take_bands(answers)
        seen.segment_bands = {segment: self._take_bands(answers) for segment in segments}

    def _take_bands(self, answers: Iterator[Any]) -> dict[str, int]:
        return {name: next(answers) or 0 for name, _ in self._bands}

    async def _read_keys(
        self, dimension: Dimension, names: list[str], fields: Sequence[str]
    ) -> Mapping[str, Fields]:
        """Some fields of some keys."""
        pipeline = self._pipeline()
        for name in names:
            pipeline.hmget(f"{self._prefix}metrics:{dimension}:{name}", fields)
        answers = await _answers(pipeline)
        return {
            name: dict(zip(fields, values or (), strict=False))
            for name, values in zip(names, answers, strict=True)
        }


async def _answers(pipeline: Any) -> list[Any]:
    """The answers to a pipeline. Where another type stands at a key, which its worker's log names, there is nothing."""
    answers = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, ResponseError) and not _is_of_another_type(answer):
            raise answer
    return [() if isinstance(answer, ResponseError) else answer for answer in answers]


def _is_of_another_type(problem: ResponseError) -> bool:
    return str(problem).startswith("WRONGTYPE")


def _customers(names: list[str], answers: Iterator[Any]) -> list[dict[str, str]]:
    """Customers with what is known of each, from the answers that come next."""
    return [{"customer": name} | dict(next(answers) or {}) for name in names]


def _json_object(text: str | None) -> dict[str, Any] | None:
    """What a text holds, if it is a JSON object; somebody else may have written it."""
    try:
        held = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return held if isinstance(held, dict) else None
