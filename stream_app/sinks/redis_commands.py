"""What stands in Redis for each thing that is shown, as commands. Pure; stands behind the view, which sends them.

The keys and their types are in CONTRACT, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from stream_app.clock import to_rfc3339
from stream_app.metrics.catalogue import COUNT_BY_NAME, LONGEST_WINDOW_MS, RATE_BY_NAME, WINDOWS
from stream_app.metrics.snapshots import SHOWN_WINDOWS, Snapshot

EXPIRY_SECONDS = LONGEST_WINDOW_MS // 1000
STREAM_LENGTH = 10_000
_LONGEST = max(WINDOWS, key=WINDOWS.__getitem__)
_FIELDS = {
    window: {name: f"{window}.{name}" for name in (*COUNT_BY_NAME, *RATE_BY_NAME)} for window in SHOWN_WINDOWS
}
_TYPES = {"H": "hash", "Z": "zset", "X": "stream", "S": "set"}


class FiringAlert(NamedTuple):
    """A firing alert as the view shows it; ``data`` None: it is resolved."""

    fingerprint: str
    data: bytes | None


class CustomerRisk(NamedTuple):
    """A customer's churn score as the view shows it; ``band`` None: below the lowest band. ``segment``: the latest, where
    one is known. ``stage`` is empty for who is at none."""

    customer_id: str
    score: float
    band: str | None
    reasons: tuple[str, ...]
    last_seen_ms: int
    segment: str | None = None
    stage: str = ""


Item = Snapshot | FiringAlert | CustomerRisk
Command = tuple[Any, ...]
"""A command's name, its key and its other arguments."""


def identity(item: Item) -> str:
    """What a newer item takes the place of."""
    if isinstance(item, Snapshot):
        return f"m:{item.dimension}:{item.key}"
    if isinstance(item, FiringAlert):
        return f"a:{item.fingerprint}"
    return f"c:{item.customer_id}"


def commands_of(item: Item, prefix: str, clock_ms: int, anew: bool = False) -> Iterator[Command]:
    """What shows an item. ``anew``: it has not changed, it is only written again."""
    if isinstance(item, Snapshot):
        yield from _snapshot(item, prefix, clock_ms, anew)
    elif isinstance(item, FiringAlert):
        yield _alert(item, prefix)
    else:
        yield from _customer(item, prefix)


def trims(dimensions: Iterable[str], prefix: str, clock_ms: int) -> Iterator[Command]:
    """What takes the keys that have expired out of the indexes."""
    for dimension in dimensions:
        yield "ZREMRANGEBYSCORE", f"{prefix}index:{dimension}", "-inf", clock_ms - EXPIRY_SECONDS * 1000


def stream_entry(data: bytes, prefix: str) -> Command:
    """What appends a change of an alert to the stream."""
    return "XADD", f"{prefix}alerts", "MAXLEN", "~", STREAM_LENGTH, "*", "data", data


def type_of(command: Command) -> str:
    """The type that a key must have for a command to be accepted."""
    return _TYPES.get(command[0][0], "")


def has_run_empty(snapshot: Snapshot) -> bool:
    """Whether a key has been silent for so long that its hash would have expired."""
    silent_ms = snapshot.watermark_ms - snapshot.as_of_ms
    return silent_ms > LONGEST_WINDOW_MS and not any(snapshot.windows[_LONGEST].counts.values())


def place_of_alert(fingerprint: bytes, data: bytes) -> tuple[str, str, str] | None:
    """Fingerprint, dimension and key of a firing alert that stands in Redis; None if it cannot be read."""
    try:
        alert = orjson.loads(data)
        place = fingerprint.decode(), alert["dimension"], alert["key"]
    except (ValueError, TypeError, LookupError):
        return None
    return place if isinstance(place[1], str) and isinstance(place[2], str) else None


def ranking(prefix: str, segment: str | None = None) -> str:
    """The key of the customers at risk by score: those of a segment, or all."""
    return f"{prefix}churn:segment:{segment}" if segment else f"{prefix}churn"


def ranked_segments(prefix: str) -> str:
    """The key of the names of all segments that have, or had, a ranking."""
    return f"{prefix}churn:segments"


def text_of(member: bytes) -> str | None:
    """The customer or segment that a member names; None if it cannot be read."""
    try:
        return member.decode()
    except UnicodeDecodeError:
        return None


def snapshot_fields(snapshot: Snapshot) -> dict[str, bytes]:
    """The fields of a key's hash, as text; a rate that nobody can know is an empty text."""
    fields = {
        "as_of": to_rfc3339(snapshot.as_of_ms).encode(),
        "watermark": to_rfc3339(snapshot.watermark_ms).encode(),
    }
    for window, view in snapshot.windows.items():
        names = _FIELDS[window]
        for name, count in view.counts.items():
            fields[names[name]] = orjson.dumps(count)
        for rate, held in view.rates.items():
            fields[names[rate]] = b"" if held.value is None else repr(held.value).encode()
    return fields


def _snapshot(snapshot: Snapshot, prefix: str, clock_ms: int, anew: bool) -> Iterator[Command]:
    key = f"{prefix}metrics:{snapshot.dimension}:{snapshot.key}"
    yield "HSET", key, *_flat(snapshot_fields(snapshot))
    yield "EXPIRE", key, EXPIRY_SECONDS
    keep = ("NX",) if anew else ()  # the time of the last change, not of this writing
    yield "ZADD", f"{prefix}index:{snapshot.dimension}", *keep, clock_ms, snapshot.key


def _alert(alert: FiringAlert, prefix: str) -> Command:
    key = f"{prefix}alerts:firing"
    if alert.data is None:
        return "HDEL", key, alert.fingerprint
    return "HSET", key, alert.fingerprint, alert.data


def _customer(risk: CustomerRisk, prefix: str) -> Iterator[Command]:
    key = f"{prefix}customer:{risk.customer_id}"
    if risk.band is None:
        yield "ZREM", ranking(prefix), risk.customer_id
    else:
        yield "ZADD", ranking(prefix), risk.score, risk.customer_id
        if risk.segment:
            yield "ZADD", ranking(prefix, risk.segment), risk.score, risk.customer_id
            yield "SADD", ranked_segments(prefix), risk.segment
    fields = {
        "score": repr(risk.score),
        "band": risk.band or "",
        "reasons": orjson.dumps(risk.reasons),
        "last_seen": to_rfc3339(risk.last_seen_ms),
        "segment": risk.segment or "",
        "stage": risk.stage,
    }
    yield "HSET", key, *_flat(fields)
    yield "EXPIRE", key, EXPIRY_SECONDS


def _flat(fields: dict[str, Any]) -> Iterator[Any]:
    for name, value in fields.items():
        yield name
        yield value
