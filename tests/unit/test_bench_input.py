"""The input of the bench: valid, in time, the same every time, and lying where the workers look for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from benchmarks import input as bench_input
from benchmarks.input import SENTINEL, SENTINEL_MS, SPAN_MS, START_MS, Recipe, prepare, read_records
from benchmarks.truth import UNDECIDED, panes_of, totals_of
from stream_app.ingest.decode import decode
from stream_app.ingest.events import Event
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.sinks.partitioner import partition_of

RECIPE = Recipe(records=4_000, campaigns=50, customers=1_000)


@dataclass(frozen=True)
class Lying:
    """A record of the input, decoded as the worker does it."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    event: Event


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_input, "CACHE", tmp_path)


def everything(recipe: Recipe) -> Iterator[Lying]:
    prepare(recipe)
    for topic in INPUT_TOPICS:
        for partition in range(recipe.partitions):
            for key, value in read_records(recipe, topic, partition):
                yield Lying(topic, partition, key, value, decode(topic, key, value))


def test_every_record_is_valid_distinct_and_in_its_partition() -> None:
    records = list(everything(RECIPE))
    assert len(records) == RECIPE.records + RECIPE.sentinels
    assert len({(one.topic, one.event.event_id) for one in records}) == len(records)
    assert all(one.partition == partition_of(one.key, RECIPE.partitions) for one in records)
    assert 200 < sum(len(one.value) for one in records) / len(records) < 300


def test_all_is_within_the_span_but_one_sentinel_a_partition() -> None:
    times = [(one.topic, one.partition, one.event.time_ms()) for one in everything(RECIPE)]
    late = [place for *place, time_ms in times if time_ms == SENTINEL_MS]
    assert sorted(map(tuple, late)) == sorted(
        (topic, partition) for topic in INPUT_TOPICS for partition in range(RECIPE.partitions)
    )
    assert all(START_MS <= time_ms < START_MS + SPAN_MS for *_, time_ms in times if time_ms != SENTINEL_MS)


def test_the_same_recipe_makes_the_same_bytes() -> None:
    first = [(one.topic, one.key, one.value) for one in everything(RECIPE)]
    for path in RECIPE.directory.iterdir():
        path.unlink()
    RECIPE.directory.rmdir()
    assert [(one.topic, one.key, one.value) for one in everything(RECIPE)] == first


def test_proportions_are_those_of_life_and_campaigns_are_skewed() -> None:
    events = [orjson.loads(one.value) for one in everything(RECIPE)]
    kinds = Counter(event["event_type"] for event in events)
    assert kinds["email.delivered"] > 3 * kinds["email.opened"] > 9 * kinds["email.clicked"] > 0
    assert all(
        kinds[kind] for kind in ("email.opted_out", "cart.purchased", "chat.answered", "ticket.resolved")
    )
    campaigns = Counter(event.get("campaign_id") for event in events)
    assert campaigns["campaign-0000"] > 5 * campaigns["campaign-0020"] > 0


def test_the_truths_count_the_same_mails() -> None:
    prepare(RECIPE)
    panes, totals = panes_of(RECIPE), totals_of(RECIPE)
    one_by_one = ("deliveries", "bounces", "opens", "clicks", "machine_opens", "machine_clicks")
    for campaign, cells in panes.items():
        held = totals[f"campaign:{campaign}"]
        # Opt-outs are unique in ours and events in the job; a customer seldom leaves twice.
        events = sum(held[name] for name in one_by_one)
        assert events + held["optouts"] + held["complaints"] <= sum(cells.values()) <= events + 40
    assert SENTINEL not in panes and f"campaign:{SENTINEL}" in totals
    assert totals["all:all"]["deliveries"] == sum(
        held["deliveries"] for key, held in totals.items() if key.startswith("campaign:")
    )
    assert not UNDECIDED & totals["all:all"].keys()
