"""Whether a contestant's result in Redis is there and right.

A look is cheap and says how far it is; only when that says "all of it" is every number held against the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

import orjson

from benchmarks.input import SENTINEL
from benchmarks.truth import Panes, Totals

_CAMPAIGNS_LOOKED_AT = 4
_KEYS_AT_ONCE = 200


class Check(Protocol):
    """How one kind of result is judged."""

    def look(self, client: Any) -> float:
        """How much of the result is there, from 0 to 1, by a cheap look."""

    def problems(self, client: Any) -> Iterator[str]:
        """What is missing, wrong or surplus: every number is compared."""


class PaneCheck:
    """The job's result: a hash of panes for each campaign."""

    def __init__(self, group: str, truth: Panes) -> None:
        self._start = f"bench:{group}:"
        self._truth = truth
        busiest = sorted(truth, key=lambda campaign: -sum(truth[campaign].values()))
        self._looked_at = busiest[:_CAMPAIGNS_LOOKED_AT]
        self._wanted = sum(sum(truth[campaign].values()) for campaign in self._looked_at)

    def look(self, client: Any) -> float:
        pipeline = client.pipeline(transaction=False)
        for campaign in self._looked_at:
            pipeline.hvals(self._start + campaign)
        counted = sum(int(value) for values in pipeline.execute() for value in values)
        return counted / self._wanted

    def problems(self, client: Any) -> Iterator[str]:
        keys = {key.removeprefix(self._start) for key in client.scan_iter(f"{self._start}*", count=1000)}
        yield from (
            f"campaign {key} is not in the input" for key in sorted(keys - self._truth.keys() - {SENTINEL})
        )
        for campaign, held in _hashes(client, self._start, self._truth):
            wanted = self._truth[campaign]
            for pane in sorted(wanted.keys() | held.keys()):
                if held.get(pane) != str(wanted.get(pane, "no such pane")):
                    yield f"{campaign}, pane {pane}: {held.get(pane)} instead of {wanted.get(pane)}"


class TotalsCheck:
    """Our result: the totals of every count of every key."""

    def __init__(self, redis_prefix: str, truth: Totals) -> None:
        self._start = f"{redis_prefix}metrics:"
        self._truth = truth
        self._wanted = sum(value for value in truth["all:all"].values() if isinstance(value, int))

    def look(self, client: Any) -> float:
        held = client.hgetall(f"{self._start}all:all")
        counts = self._truth["all:all"]
        seen = sum(
            int(held.get(f"total.{name}", 0)) for name, value in counts.items() if isinstance(value, int)
        )
        return seen / self._wanted

    def problems(self, client: Any) -> Iterator[str]:
        keys = {key.removeprefix(self._start) for key in client.scan_iter(f"{self._start}*", count=1000)}
        yield from (f"{key} is not in the input" for key in sorted(keys - self._truth.keys()))
        for key, held in _hashes(client, self._start, self._truth):
            for name, value in self._truth[key].items():
                text = held.get(f"total.{name}")
                if text is None or not _same(orjson.loads(text), value):
                    yield f"{key}, total.{name}: {text} instead of {value}"


class ReadCheck:
    """A limit's result: how many records it has read, which is all of them in the end."""

    def __init__(self, group: str, records: int) -> None:
        self._key = f"bench:{group}"
        self._records = records

    def look(self, client: Any) -> float:
        return int(client.get(self._key) or 0) / self._records

    def problems(self, client: Any) -> Iterator[str]:
        read = int(client.get(self._key) or 0)
        if read != self._records:
            yield f"{read} records read instead of {self._records}"


def _hashes(client: Any, start: str, keys: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    waiting = iter(keys)
    while some := list(islice(waiting, _KEYS_AT_ONCE)):
        pipeline = client.pipeline(transaction=False)
        for key in some:
            pipeline.hgetall(start + key)
        yield from zip(some, pipeline.execute(), strict=True)


def _same(held: Any, wanted: Any) -> bool:
    """Seconds and money are sums of fractions: equal but for the rounding of the last digits."""
    if isinstance(wanted, dict):
        return held.keys() == wanted.keys() and all(_same(held[name], wanted[name]) for name in wanted)
    return math.isclose(held, wanted, rel_tol=1e-9)
