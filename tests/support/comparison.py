"""Holds snapshots against the batch oracle: every count of every window of every key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from stream_app.metrics.catalogue import WINDOWS
from tests.oracle.windows import Result

Json = dict[str, Any]


def to_ms(text: str) -> int:
    """Milliseconds of a time as we write it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def differences(snapshots: Mapping[str, Json], expected: Result) -> list[str]:
    """One line for every key that is missing or surplus, and every count that differs."""
    return list(_each_difference(snapshots, expected))


def agree(snapshots: Mapping[str, Json], expected: Result) -> bool:
    """Whether nothing differs. Ask this while waiting: what is not counted yet is found at the first key, whereas
    all that differs takes a look at every event for every window."""
    return next(_each_difference(snapshots, expected), None) is None


def _each_difference(snapshots: Mapping[str, Json], expected: Result) -> Iterator[str]:
    keys = {f"{dimension}:{key}" for dimension, key in expected.keys()}  # noqa: SIM118 - a method of its own
    yield from (f"{key}: no snapshot" for key in sorted(keys - snapshots.keys()))
    yield from (f"{key}: not in the batch" for key in sorted(snapshots.keys() - keys))
    for name in sorted(keys & snapshots.keys()):
        dimension, _, key = name.partition(":")
        snapshot = snapshots[name]
        as_of_ms = to_ms(snapshot["as_of"])
        for window, view in snapshot["windows"].items():
            if window == "total":
                wanted = expected.total(dimension, key)
            else:
                wanted = expected.window(dimension, key, as_of_ms, WINDOWS[window])
            yield from _count_differences(f"{name} {window}", view["counts"], wanted)


def _count_differences(place: str, counts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterable[str]:
    if counts.keys() != wanted.keys():
        yield f"{place}: counts are {sorted(counts.keys() ^ wanted.keys())} too many or too few"
    for count, value in wanted.items():
        held = counts.get(count)
        if isinstance(value, dict):
            same = {c: Decimal(str(v)) for c, v in (held or {}).items() if v} == value
        else:
            same = held == value
        if not same:
            yield f"{place}.{count}: {held} instead of {value}"
