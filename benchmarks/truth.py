"""What is right for an input, computed once and kept beside it.

Two truths: of the job that every contestant does (records that bear a campaign, by campaign and pane of ten
seconds), and of our whole pipeline (the total of every count of every key), which the tests' batch oracle
computes. Neither shares code with what is measured.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from benchmarks.input import SENTINEL, SENTINEL_MS, Recipe, read_records
from stream_app.ingest.topics import INPUT_TOPICS
from tests import oracle
from tests.oracle.windows import COUNTS, Value

PANE_MS = 10_000
Panes = dict[str, dict[str, int]]
"""Campaign → start of the pane in milliseconds, as text → how many records."""
Totals = dict[str, dict[str, Any]]
"""``dimension:key`` → count → its total."""
OF_DAYS = ("stage_", "became_")
UNDECIDED = frozenset(
    {"carts_abandoned", "abandoned_value", *(name for name in COUNTS["all"] if name.startswith(OF_DAYS))}
)
"""Their time comes after the sentinels, when event time goes on at the clock's pace: a slow run would see more."""
_LATENESS_MS = 600_000


def panes_of(recipe: Recipe) -> Panes:
    """The right result of the job, without the sentinels."""
    kept = recipe.directory / "panes.json"
    if not kept.exists():
        _keep(kept, _count_panes(recipe))
    panes: Panes = orjson.loads(kept.read_bytes())
    return panes


def totals_of(recipe: Recipe, topics: Sequence[str] = INPUT_TOPICS) -> Totals:
    """The right totals of our pipeline over these topics, sentinels among them."""
    # What was kept when there were fewer counts is no longer right.
    kept = recipe.directory / f"totals-{len(topics)}-{len(COUNTS['all'])}.json"
    if not kept.exists():
        _keep(kept, _count_totals(recipe, topics))
    totals: Totals = orjson.loads(kept.read_bytes())
    return totals


def _keep(path: Path, what: Any) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(orjson.dumps(what))
    unfinished.rename(path)


def _count_panes(recipe: Recipe) -> Panes:
    panes: dict[str, Counter[str]] = defaultdict(Counter)
    for topic in INPUT_TOPICS:
        for partition in range(recipe.partitions):
            for _, value in read_records(recipe, topic, partition):
                event = orjson.loads(value)
                campaign = event.get("campaign_id")
                if campaign is not None and campaign != SENTINEL:
                    time_ms = oracle.time_ms(event["event_time"])
                    panes[campaign][str(time_ms // PANE_MS * PANE_MS)] += 1
    return {campaign: dict(cells) for campaign, cells in panes.items()}


def _count_totals(recipe: Recipe, topics: Sequence[str]) -> Totals:
    """Shard by shard, so that two million events need not be in memory at once; totals add up over shards."""
    totals: Totals = {}
    for partition in range(recipe.partitions):
        records = _oracle_records(recipe, topics, partition)
        result = oracle.compute(records, now_ms=SENTINEL_MS - _LATENESS_MS)
        for dimension, key in result.keys():  # noqa: SIM118 - a method of its own
            held = totals.setdefault(f"{dimension}:{key}", {})
            for name, value in result.total(dimension, key).items():
                if name not in UNDECIDED:
                    held[name] = _added(held.get(name), value)
    return totals


def _oracle_records(recipe: Recipe, topics: Sequence[str], partition: int) -> Iterator[oracle.Record]:
    for topic in topics:
        for offset, (_, value) in enumerate(read_records(recipe, topic, partition)):
            yield oracle.Record(topic, partition, offset, orjson.loads(value))


def _added(held: Any, value: Value) -> Any:
    if isinstance(value, dict):
        sums = {currency: Decimal(str(amount)) for currency, amount in (held or {}).items()}
        for currency, amount in value.items():
            sums[currency] = sums.get(currency, Decimal(0)) + amount
        return {currency: float(amount) for currency, amount in sums.items()}
    return (held or 0) + value
