"""``stream-app churn worst``: the customers with the highest churn scores, of a segment or of all, from Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import redis
from redis.exceptions import RedisError

from stream_app.failure import Unreachable
from stream_app.output import json_line, printable, result, say
from stream_app.settings import Settings
from stream_app.sinks.connections import redis_options
from stream_app.sinks.reach import redis_problem
from stream_app.sinks.redis_commands import ranked_segments, ranking

ANSWER_SECONDS = 5.0
_AT_ONCE = 500


class AtRisk(NamedTuple):
    """A customer as Redis has them; what their hash does not say, because it has expired, is None."""

    customer_id: str
    score: float
    band: str | None
    segment: str | None
    last_seen: str | None
    reasons: list[str]


def worst(settings: Settings, segment: str | None, limit: int, as_json: bool) -> int:
    """Print so many customers at most, of a segment or of all; 0, also if there are none.

    Raises:
        Unreachable: Redis gives no answer, or holds what no worker wrote.
    """
    options = redis_options(settings) | {"decode_responses": True, "encoding_errors": "replace"}
    try:
        with redis.Redis.from_url(
            **options, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        ) as client:
            found = list(_read(client, settings.redis_prefix, segment, limit))
            others = [] if found else _segments(client, settings.redis_prefix)
    except (RedisError, OSError) as problem:
        raise Unreachable(redis_problem(settings) or f"Redis cannot be read ({problem})") from None
    if as_json:
        for customer in found:
            json_line(customer._asdict())
    elif found:
        _print(found)
    else:
        _say_nobody(segment, others)
    return 0


def _read(client: Any, prefix: str, segment: str | None, limit: int) -> Iterator[AtRisk]:
    key = ranking(prefix, segment)
    for start in range(0, limit, _AT_ONCE):
        end = min(start + _AT_ONCE, limit) - 1
        ranked = client.zrevrange(key, start, end, withscores=True)
        pipeline = client.pipeline(transaction=False)
        for customer_id, _ in ranked:
            pipeline.hgetall(f"{prefix}customer:{customer_id}")
        for (customer_id, score), held in zip(ranked, pipeline.execute(), strict=True):
            yield AtRisk(
                customer_id,
                score,
                held.get("band") or None,
                held.get("segment") or None,
                held.get("last_seen"),
                _reasons(held.get("reasons")),
            )
        if len(ranked) < _AT_ONCE:
            return


def _reasons(text: str | None) -> list[str]:
    """The reasons; none where somebody else has written something different."""
    try:
        held = orjson.loads(text or "[]")
    except orjson.JSONDecodeError:
        return []
    return [str(reason) for reason in held] if isinstance(held, list) else []


def _segments(client: Any, prefix: str) -> list[str]:
    """The segments with customers at risk."""
    names = sorted(client.smembers(ranked_segments(prefix)))
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.exists(ranking(prefix, name))
    return [name for name, is_there in zip(names, pipeline.execute(), strict=True) if is_there]


def _print(found: list[AtRisk]) -> None:
    rows = [
        (
            f"{one.score:.4f}",
            printable(one.band) or "–",
            printable(one.segment) or "–",
            (one.last_seen or "–")[:10],
            printable(one.customer_id),
            "; ".join(map(printable, one.reasons)),
        )
        for one in found
    ]
    head = ("score", "band", "segment", "last seen", "customer", "reasons")
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head) - 1)]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        result("  ".join([*cells, row[-1]]).rstrip())


def _say_nobody(segment: str | None, others: list[str]) -> None:
    where = "" if segment is None else f' of segment "{printable(segment)}"'
    known = ", ".join(map(printable, others))
    more = f"; segments with customers at risk: {known}" if segment is not None and known else ""
    say(f"Redis names no customer{where} at risk{more}.")
