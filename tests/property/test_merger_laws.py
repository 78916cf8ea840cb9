"""Laws of the merger and its windows: absolute words, running sums, intervals."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.metrics.catalogue import PANE_MS, RATES, WINDOWS
from stream_app.metrics.cells import Cell, add
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import KeyPartial, Partial, decode_partial, encode_partial, merger_of, pack
from stream_app.metrics.rates import rate_of, wilson
from stream_app.metrics.snapshots import take_snapshot
from stream_app.metrics.windows import MergedKey
from stream_app.settings import Settings
from stream_app.state.shelf import Shelf
from tests.oracle.windows import wilson as oracle_wilson
from tests.support.strategies import examples

# --- windows

gaps = st.sampled_from([0, 1, 5, 6, 7, 29, 30, 31, 359, 360, 361, 8_639, 8_640, 8_641])
changes = st.lists(
    st.tuples(st.sampled_from(["reach", "advance", "change"]), gaps, st.integers(0, 2), st.integers(-3, 5)),
    max_size=40,
)


@examples()
@given(changes)
def test_running_windows_are_what_their_panes_add_up_to(taken: list[tuple[str, int, int, int]]) -> None:
    merged, panes, edge = MergedKey(), dict[int, Cell](), 100_000
    merged.reach(edge * PANE_MS - 1)
    for what, gap, slot, number in taken:
        if what == "reach":
            merged.reach((edge + gap) * PANE_MS - 1)
            edge += gap
        elif what == "advance":
            merged.advance(edge + gap)
            edge += gap
        else:
            pane = edge - 1 - gap
            merged.change_pane(pane, {slot: number})
            add(panes.setdefault(pane, {}), {slot: number})
        assert merged.as_of_ms == edge * PANE_MS
        for name, width_ms in WINDOWS.items():
            assert merged.window(name) == _summed(panes, edge - width_ms // PANE_MS, edge)
            later = edge + gap
            assert merged.window_at(name, later) == _summed(panes, later - width_ms // PANE_MS, later)
        assert merged.is_empty() == (not any(merged.window(name) for name in WINDOWS))


def _summed(panes: dict[int, Cell], first: int, end: int) -> Cell:
    cell: Cell = {}
    for pane, counts in panes.items():
        if first <= pane < end:
            add(cell, counts)
    return cell


# --- intervals


@examples()
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_an_interval_holds_its_rate_and_stays_within_0_and_1(successes: int, trials: int) -> None:
    successes %= trials + 1
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
    assert (low, high) == pytest.approx(oracle_wilson(successes, trials), abs=1e-12)
    mirrored = wilson(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@examples()
@given(st.integers(0, 10**4), st.integers(2, 10**4))
def test_an_interval_rises_with_successes_and_narrows_with_trials(successes: int, trials: int) -> None:
    successes %= trials
    fewer, more = wilson(successes, trials), wilson(successes + 1, trials)
    assert fewer[0] <= more[0] and fewer[1] <= more[1]
    twice = wilson(2 * successes, 2 * trials)
    assert twice[1] - twice[0] < fewer[1] - fewer[0]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17, table I: method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (100, 1000, 0.0829, 0.1202),
    ],
)
def test_intervals_are_the_published_ones(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 3), (1, -3)])
def test_what_is_no_proportion_has_no_interval(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson(successes, trials)


@examples()
@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_every_rate_is_its_counts_divided(numbers: list[int]) -> None:
    for rate in RATES:
        counts = {rate.numerator: float(numbers[0])}
        counts.update(
            {
                name: float(n)
                for name, n in zip(rate.denominator, numbers[1:], strict=False)
                if name not in counts
            }
        )
        shown = rate_of(rate, counts)
        denominator = sum(counts[name] for name in rate.denominator)
        assert (shown.numerator, shown.denominator) == (counts[rate.numerator], denominator)
        assert shown.value == (counts[rate.numerator] / denominator if denominator else None)
        has_interval = rate.interval and denominator > 0 and counts[rate.numerator] <= denominator
        assert (shown.low is not None) == (shown.high is not None) == has_interval


# --- partials

SHARDS, KEYS = 2, ("all:all", "campaign:a\0b", "segment::")
T0 = 170_000_000 * PANE_MS


def words(random: Random, epochs: int) -> list[list[Partial]]:
    """For each shard its words, one an epoch: absolute totals and panes that grow and shrink."""
    result: list[list[Partial]] = []
    for shard in range(SHARDS):
        held: dict[str, tuple[int, Cell, dict[int, Cell]]] = {key: (-1, {}, {}) for key in KEYS}
        told, generation = [], 1
        for epoch in range(1, epochs + 1):
            generation += random.random() < 0.2
            partials = []
            for key in random.sample(KEYS, random.randint(0, len(KEYS))):
                newest, total, panes = held[key]
                time_ms = T0 + random.choice([0, 1, 59, 3_600, 86_400, 86_410]) * 1000
                changed = {}
                for _ in range(random.randint(0, 2)):
                    pane = max(time_ms, newest) // PANE_MS - random.choice([0, 0, 5, 6, 400])
                    panes.setdefault(pane, {})[random.randint(0, 1)] = random.randint(1, 3)
                    changed[pane] = dict(panes[pane])
                add(total, {0: random.randint(0, 2)})
                held[key] = (max(newest, time_ms), total, panes)
                partials.append(KeyPartial(key, held[key][0], dict(total), changed))
            told.append(Partial(shard, generation, epoch, T0 + epoch * 1000, partials))
        result.append(told)
    return result


def merger_after(told: list[Partial]) -> Merger:
    merger = Merger(Shelf(), None, Settings())
    merger.process([(n, decode_partial(encode_partial(word))) for n, word in enumerate(told)])
    return merger


def shown(merger: Merger) -> dict[str, Any]:
    return {f"{s.dimension}:{s.key}": s.to_json() for s in merger.all_snapshots()}


def interleaved(random: Random, told: list[list[Partial]]) -> list[Partial]:
    queues = [list(of_shard) for of_shard in told]
    result = []
    while any(queues):
        result.append(random.choice([queue for queue in queues if queue]).pop(0))
    return result


@examples()
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_words_repeated_delayed_or_of_stale_owners_change_nothing(random: Random, epochs: int) -> None:
    """Each shard's newest words come in order; in between, any of its older or equal ones again."""
    told = words(random, epochs)
    plain = interleaved(random, told)
    noisy: list[Partial] = []
    heard: dict[int, list[Partial]] = {shard: [] for shard in range(SHARDS)}
    for word in plain:
        noisy.append(word)
        heard[word.shard].append(word)
        noisy += random.choices([older for of_shard in heard.values() for older in of_shard], k=2)
    assert shown(merger_after(noisy)) == shown(merger_after(plain))


@examples(0.5)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_shards_may_speak_in_any_interleaving(random: Random, epochs: int) -> None:
    told = words(random, epochs)
    expected = shown(merger_after(interleaved(random, told)))
    assert shown(merger_after(interleaved(random, told))) == expected


def test_partials_below_the_applied_offset_are_skipped() -> None:
    merger = merger_after([])
    word = Partial(0, 1, 1, T0, [KeyPartial("all:all", T0, {0: 5}, {T0 // PANE_MS: {0: 5}})])
    later = Partial(0, 1, 2, T0, [KeyPartial("all:all", T0, {0: 6}, {T0 // PANE_MS: {0: 6}})])
    merger.process([(0, word), (1, later)])
    merger.process([(0, Partial(0, 9, 9, T0, [KeyPartial("all:all", T0, {0: 99}, {})]))])
    held = merger.key("all:all")
    assert held is not None and held.total == {0: 6}
    assert merger.next_offset == 2


def test_the_watermark_is_that_of_the_slowest_shard_and_never_goes_back() -> None:
    merger = merger_after([Partial(0, 1, 1, 50, []), Partial(1, 1, 1, 20, []), Partial(1, 1, 2, 10, [])])
    assert merger.watermark_ms == 20


def test_every_key_goes_to_one_merger_and_every_merger_hears_the_watermark() -> None:
    partials = [KeyPartial(f"campaign:{n}", T0, {0: n}, {n: {0: n}}) for n in range(5_000)]
    records = pack(Partial(3, 2, 7, T0, partials), 4)
    heard: dict[str, int] = {}
    for partition, value in records:
        word = decode_partial(value)
        assert (word.shard, word.generation, word.epoch, word.watermark_ms) == (3, 2, 7, T0)
        for key in word.keys:
            assert merger_of(key.key, 4) == partition
            heard[key.key] = heard.get(key.key, 0) + 1
    assert heard == dict.fromkeys((partial.key for partial in partials), 1)
    assert (
        {partition for partition, _ in records}
        == set(range(4))
        == {p for p, _ in pack(Partial(0, 1, 1, 0, []), 4)}
    )


def test_a_snapshot_shows_every_count_and_rate_of_its_dimension_and_no_other() -> None:
    snapshot = take_snapshot("campaign:a:b", MergedKey(), 0)
    assert (snapshot.dimension, snapshot.key) == ("campaign", "a:b")
    for view in snapshot.windows.values():
        assert "lost_before" in view.counts and "chats_started" not in view.counts
        assert view.rates["ctr"].value is None
        assert set(view.counts.values()) == {0}
