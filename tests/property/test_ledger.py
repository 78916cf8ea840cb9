"""The ledger of campaigns is what the batch program counts, whatever the order, the repeats and the crashes; and a
campaign's predecessors are those that a plain search finds."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream_app.metrics.ledger import Campaign, Ledger
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SliceStore
from stream_app.state.standings import DELIVERIES, LOST_BEFORE, UNIQUE_CLICKS, Standing
from tests.property.test_exactness import DISORDER_MS, Steps, pipeline, steps, take
from tests.support.stores import stores
from tests.support.strategies import examples, worlds

Json = dict[str, Any]

totals = st.fixed_dictionaries(
    {DELIVERIES: st.integers(1, 50)},
    optional={UNIQUE_CLICKS: st.integers(0, 20), LOST_BEFORE: st.integers(0, 20)},
)
standings = st.builds(
    Standing,
    st.sampled_from("abcdef"),
    st.integers(0, 100),
    st.integers(0, 100),
    totals,
    st.dictionaries(st.sampled_from(["", "x", "y"]), st.integers(1, 30), min_size=1),
)
words = st.lists(st.tuples(st.integers(0, 2), standings), max_size=25)


@examples(0.5)
@given(stores, worlds(DISORDER_MS), steps)
def test_the_ledger_holds_the_batch_totals(store: SliceStore, world: list[Json], taken: Steps) -> None:
    made = pipeline(store, world)
    for step in taken:
        take(made, step, crashes=True)
    made.settle()
    accepted = {event["event_id"]: event for event in world if event["event_type"] == "email.delivered"}
    made.ledger.take_changed()
    segments: dict[str, Counter[str]] = defaultdict(Counter)
    for event in accepted.values():
        segments[event["campaign_id"]][event.get("segment") or ""] += 1
    for name, sent in segments.items():
        held = made.ledger.campaign(name)
        assert held is not None
        counts = made.counts(f"campaign:{name}")
        found = (held.deliveries, held.unique_clicks, held.lost_before)
        assert found == (counts["deliveries"], counts["unique_clicks"], counts["lost_before"])
        assert sent[held.segment] == max(sent.values())


@examples()
@given(words, st.integers(1, 4))
def test_predecessors_are_the_last_campaigns_of_the_segment_that_began_before(
    told: list[tuple[int, Standing]], most: int
) -> None:
    shelf = Shelf()
    ledger = Ledger(shelf)
    last: dict[str, dict[int, Standing]] = defaultdict(dict)
    for shard, standing in told:
        ledger.apply(shard, standing)
        last[standing.campaign][shard] = standing
    assert ledger.take_changed() == set(last)
    assert ledger.take_changed() == set()
    shelf.write_down()
    assert Ledger(shelf).take_changed() == set(last), "a new owner judges all of them"
    for held in (ledger, Ledger(shelf)):  # as it was told, and as it is taken up from the shelf
        merged = {name: _campaign(held, name) for name in last}
        for name, campaign in merged.items():
            line = sorted(
                (other.first_delivery_ms, other_name)
                for other_name, other in merged.items()
                if other.segment == campaign.segment
            )
            before = line[: line.index((campaign.first_delivery_ms, name))][-most:]
            found = held.predecessors(name, most)
            assert (found is None) == (not before)
            if found is not None:
                assert found.deliveries == sum(merged[earlier].deliveries for _, earlier in before)
                assert found.audience == sum(merged[earlier].audience for _, earlier in before)


@examples()
@given(words, st.integers(0, 120))
def test_what_is_older_than_the_horizon_is_forgotten(
    told: list[tuple[int, Standing]], horizon_ms: int
) -> None:
    shelf, rest = Shelf(), Shelf()
    ledger, without = Ledger(shelf), Ledger(rest)
    last = {(standing.campaign, shard): standing for shard, standing in told}
    for (_, shard), standing in last.items():
        ledger.apply(shard, standing)
        if standing.newest_ms >= horizon_ms:
            without.apply(shard, standing)
    for (name, shard), standing in last.items():
        is_old = ledger.expired(f"{name}\0{shard}", msgspec.msgpack.encode(standing), horizon_ms)
        assert is_old == (standing.newest_ms < horizon_ms)
    ledger.take_changed()
    without.take_changed()
    for name in {standing.campaign for _, standing in told}:
        assert ledger.campaign(name) == without.campaign(name)


def _campaign(ledger: Ledger, name: str) -> Campaign:
    held = ledger.campaign(name)
    assert held is not None
    return held
