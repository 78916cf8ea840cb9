"""Reads what the workers show in Redis: once a second for all viewers, and only the keys that have changed.

Stands between Redis and the hub. The indexes hold the keys by the time of their last change, so one question tells
what is new. Now and then, and where the number of keys is not as expected (Redis was emptied, keys have expired),
everything is read anew. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import orjson
import redis.asyncio as redis
from redis.exceptions import ResponseError

from stream_app.alerts.rules import Rules
from stream_app.clock import MINUTE_MS, SECOND_MS
from stream_app.console.numbers import CAMPAIGN_FIELDS, SEGMENT_FIELDS, Fields
from stream_app.metrics.catalogue import Dimension, campaign_segment
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options

ALL_EVERY_MS = MINUTE_MS
_CLOCKS_APART_MS = 5 * SECOND_MS  # by so much the clocks of two workers may differ
_KEYS_AT_ONCE = 500
_GROUPS_READ = 100  # segments and channels, each
_SEGMENTS_READ = 500  # of one campaign
_CHANGES_READ = 100
_WORST_READ = 50
_WORKERS_READ = 100
_SECONDS = 5.0


@dataclass
class Seen:
    """What one look has found. Of campaigns, segments and channels only what is new, by key; None is gone."""

    campaigns: dict[str, Fields | None] = field(default_factory=dict)
    groups: dict[str, Fields | None] = field(default_factory=dict)
    """By ``dimension:key``, ``all:all`` among them."""
    firing: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    """The last changes of alerts, newest first; ``told_at`` is when by Redis's clock, in milliseconds."""
    bands: dict[str, int] = field(default_factory=dict)
    """How many customers each band of the churn score has, from mild to severe."""
    worst: list[dict[str, Any]] = field(default_factory=list)
    workers: list[dict[str, str]] = field(default_factory=list)


class CampaignSegments(NamedTuple):
    """A campaign by segment."""

    is_counted: bool
    """Whether there are such numbers of any campaign."""
    segments: dict[str, Fields]
    left_out: int
    """How many segments were not asked for, as they have not changed for longest."""


class _Index:
    """Which keys of a dimension are there, and which have changed since the last look."""

    def __init__(self, name: str, most: int | None = None) -> None:
        self.name = name
        self._most = most
        self._newest = 0.0
        self._all_at_ms = 0
        self.known: set[str] = set()

    def ask(self, pipeline: Any, clock_ms: int, is_whole: bool = False) -> None:
        """Ask for what has changed, or for everything where that is due."""
        self._is_whole = is_whole or clock_ms - self._all_at_ms >= ALL_EVERY_MS
        since = "-inf" if self._is_whole else self._newest - _CLOCKS_APART_MS
        span = {} if self._most is None else {"start": 0, "num": self._most}
        pipeline.zcard(self.name)
        pipeline.zrevrangebyscore(self.name, "+inf", since, withscores=True, **span)

    def take(
        self, size: int, found: Sequence[tuple[str, float]], clock_ms: int
    ) -> tuple[list[str], set[str]]:
        """The keys to read, and those that are gone."""
        names = [name for name, _ in found]
        gone: set[str] = set()
        if found:
            self._newest = max(self._newest, found[0][1])
        if self._is_whole:
            self._all_at_ms = clock_ms
            gone = self.known - set(names)
            self.known = set(names)
        else:
            self.known.update(names)
        expected = size if self._most is None else min(size, self._most)
        if len(self.known) != expected:
            self._all_at_ms = 0  # keys have gone: at the next look, all are read
            if not size:
                self._newest = 0.0
        return names, gone


class Reader:
    """Looks at Redis, again and again. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._prefix = settings.redis_prefix
        self._bands = rules.churn.bands if rules.churn else ()
        self._campaigns = _Index(f"{self._prefix}index:{Dimension.CAMPAIGN}")
        self._groups = {
            dimension: _Index(f"{self._prefix}index:{dimension}", _GROUPS_READ)
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
        """What is there now.

        Raises:
            RedisError, OSError: Redis cannot be read.
        """
        pipeline = self._client.pipeline(transaction=False)
        self._campaigns.ask(pipeline, clock_ms)
        for index in self._groups.values():
            index.ask(pipeline, clock_ms)
        pipeline.hvals(f"{self._prefix}alerts:firing")
        pipeline.xrevrange(f"{self._prefix}alerts", count=_CHANGES_READ)
        pipeline.zrevrange(f"{self._prefix}churn", 0, _WORST_READ - 1)
        pipeline.zrevrange(f"{self._prefix}workers", 0, _WORKERS_READ - 1)
        for number, (_, lowest) in enumerate(self._bands):
            end = f"({self._bands[number + 1][1]}" if number + 1 < len(self._bands) else "+inf"
            pipeline.zcount(f"{self._prefix}churn", lowest, end)
        answers = iter(await _answers(pipeline))
        seen = Seen()
        campaigns, gone = self._campaigns.take(next(answers) or 0, next(answers), clock_ms)
        seen.campaigns = dict.fromkeys(gone)
        groups = [f"{Dimension.ALL}:{Dimension.ALL}"]
        for dimension, index in self._groups.items():
            names, lost = index.take(next(answers) or 0, next(answers), clock_ms)
            groups += [f"{dimension}:{name}" for name in names]
            seen.groups |= dict.fromkeys(f"{dimension}:{name}" for name in lost)
        seen.firing = [alert for alert in map(_json_object, next(answers)) if alert]
        seen.changes = [
            alert | {"told_at": int(number.partition("-")[0])}
            for number, entry in next(answers)
            if (alert := _json_object((entry or {}).get("data")))
        ]
        worst, workers = next(answers), next(answers)
        seen.bands = {name: next(answers) or 0 for name, _ in self._bands}
        await self._look_closer(seen, campaigns, groups, worst, workers)
        return seen

    async def key(self, dimension: Dimension, key: str) -> Fields:
        """Everything that Redis holds of one key; empty if there is no such key."""
        fields: Fields = await self._client.hgetall(f"{self._prefix}metrics:{dimension}:{key}")
        return fields

    async def campaign_segments(self, campaign: str) -> CampaignSegments:
        """A campaign in every segment there is: who bears both has changed the segment's own numbers too, so that the
        index of the segments names all, and no other is needed."""
        segments = f"{self._prefix}index:{Dimension.SEGMENT}"
        pipeline = self._client.pipeline(transaction=False)
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

    async def _look_closer(
        self, seen: Seen, campaigns: list[str], groups: list[str], worst: list[str], workers: list[str]
    ) -> None:
        for start in range(0, len(campaigns), _KEYS_AT_ONCE):
            names = campaigns[start : start + _KEYS_AT_ONCE]
            seen.campaigns |= await self._read_keys(Dimension.CAMPAIGN, names, CAMPAIGN_FIELDS)
        pipeline = self._client.pipeline(transaction=False)
        for name in groups:
            pipeline.hgetall(f"{self._prefix}metrics:{name}")
        for name in worst:
            pipeline.hgetall(f"{self._prefix}customer:{name}")
        for name in workers:
            pipeline.hgetall(f"{self._prefix}workers:{name}")
        answers = iter(await _answers(pipeline))
        seen.groups |= {name: next(answers) or None for name in groups}
        seen.worst = [{"customer": name} | dict(next(answers) or {}) for name in worst]
        seen.workers = [report for _ in workers if (report := next(answers))]

    async def _read_keys(
        self, dimension: Dimension, names: list[str], fields: Sequence[str]
    ) -> Mapping[str, Fields]:
        """Some fields of some keys."""
        pipeline = self._client.pipeline(transaction=False)
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
        if isinstance(answer, ResponseError) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    return [() if isinstance(answer, ResponseError) else answer for answer in answers]


def _json_object(text: str | None) -> dict[str, Any] | None:
    """What a text holds, if it is a JSON object; somebody else may have written it."""
    try:
        held = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return held if isinstance(held, dict) else None
