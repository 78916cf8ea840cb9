"""Laws of the spike rule: of its tail, of its history's size, and of how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from stream_app.alerts.spikes import catch_up, observe
from stream_app.alerts.tails import log10_upper_tail
from stream_app.clock import HOUR_MS, MINUTE_MS
from tests.support.counts import START_MS, alerts, counts_of, watch

MOST_BYTES = 8_000
"""Of a history: 696 hours of nine bytes at the very most, and what else there is. Counts of thousands take 3.6 kB."""
LEVEL = 0.001
RATES = (0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0)

means = st.floats(1e-3, 1e5)
dispersions = st.floats(0, 50)


# --- The tail ---------------------------------------------------------------------------------------------------


@given(count=st.integers(0, 10**6), mean=means, dispersion=dispersions)
def test_a_tail_is_a_probability(count: int, mean: float, dispersion: float) -> None:
    logarithm = log10_upper_tail(count, mean, dispersion)
    assert -math.inf < logarithm <= 0


@given(count=st.integers(0, 10**5), more=st.integers(1, 1_000), mean=means, dispersion=dispersions)
def test_more_events_are_never_likelier(count: int, more: int, mean: float, dispersion: float) -> None:
    fewer = log10_upper_tail(count, mean, dispersion)
    assert log10_upper_tail(count + more, mean, dispersion) <= fewer + 1e-9 * max(1, abs(fewer))


@given(count=st.integers(0, 10**4), mean=means, more=st.floats(1.0, 10.0), dispersion=dispersions)
def test_the_same_count_is_never_less_likely_where_more_is_expected(
    count: int, mean: float, more: float, dispersion: float
) -> None:
    before = log10_upper_tail(count, mean, dispersion)
    assert log10_upper_tail(count, mean * more, dispersion) >= before - 1e-9 * max(1, abs(before))


@given(count=st.integers(1, 60), mean=st.integers(1, 40), size=st.integers(1, 30))
def test_the_tail_is_the_exact_sum(count: int, mean: int, size: int) -> None:
    """With a whole size the distribution is one of fractions: P(k) = C(k + r - 1, k) p^k (1 - p)^r."""
    p = Fraction(mean, mean + size)
    below = sum(math.comb(k + size - 1, k) * p**k * (1 - p) ** size for k in range(count))
    exact = 1 - below
    logarithm = (math.log(exact.numerator) - math.log(exact.denominator)) / math.log(10)
    assert log10_upper_tail(count, mean, 1 / size) == pytest.approx(logarithm, rel=1e-8, abs=1e-12)


# --- The history ------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["observe", "catch up", "unseen"]),
        st.integers(0, 10**9) | st.integers(0, 20),
        st.sampled_from([1, 2, 12, 100, 3_000, 100_000]),
    ),
    max_size=40,
)
windows = st.sampled_from(
    [(MINUTE_MS, 3), (5 * MINUTE_MS, 3), (20 * MINUTE_MS, 9), (HOUR_MS, 1), (HOUR_MS, 3)]
)


def live(cut: SpikeSettings, history: SpikeHistory, what: Sequence[tuple[str, int, int]]) -> None:
    """A life of counts, silences and gaps; a gap is so many intervals long, a count repeats up to a hundred times."""
    for action, count, times in what:
        begun_ms = history.next_ms or START_MS
        if action == "catch up":
            catch_up(cut, history, begun_ms + times * cut.interval_ms)
        else:
            gap_ms = times * cut.interval_ms if action == "unseen" else 0
            for place in range(min(times, 100)):
                observe(
                    cut, history, begun_ms + gap_ms + place * cut.interval_ms, [count] * cut.long_intervals
                )


@settings(max_examples=25, deadline=None)
@given(window=windows, what=steps)
def test_a_history_is_bounded_and_survives_the_journal_whatever_comes(
    window: tuple[int, int], what: list[tuple[str, int, int]]
) -> None:
    history, cut = SpikeHistory(), SpikeSettings(*window)
    live(cut, history, what)
    written = msgspec.msgpack.encode(history)
    assert len(written) <= MOST_BYTES
    restored = msgspec.msgpack.decode(written, type=SpikeHistory)
    assert restored == history
    next_ms = history.next_ms or START_MS
    assert observe(cut, restored, next_ms, [7]) == observe(cut, history, next_ms, [7])
    assert restored == history


def test_the_fullest_history_is_bounded() -> None:
    history = SpikeHistory()
    watch(SpikeSettings(HOUR_MS, 1), history, [10**12 + place for place in range(40 * 24)])
    assert 6_000 < len(msgspec.msgpack.encode(history)) <= MOST_BYTES


@settings(max_examples=25, deadline=None)
@given(what=steps, last=st.integers(0, 10**6))
def test_what_fires_holds_and_what_holds_at_a_level_holds_at_a_milder_one(
    what: list[tuple[str, int, int]], last: int
) -> None:
    history, cut = SpikeHistory(), SpikeSettings()
    live(cut, history, what)
    seen = observe(cut, history, history.next_ms or START_MS, [0, last])
    assert 0 <= seen.probability <= 1
    assert 0 <= seen.short_tail <= 1
    for level in (1e-6, LEVEL):
        assert not seen.fires_at(level) or seen.holds_at(level)
        assert not seen.fires_at(level) or seen.fires_at(level * 10)
        assert not seen.holds_at(level) or seen.holds_at(level * 10)


# --- How often it is wrong --------------------------------------------------------------------------------------


def false_alerts(rate: float, days: int, seed: int, *levels: float) -> list[int]:
    """How many alerts a steady rate raises at each level."""
    cut = SpikeSettings()
    seen = watch(cut, SpikeHistory(), counts_of(seed, days, lambda _: rate, cut))
    return [len(alerts(seen, level)) for level in levels]


@pytest.mark.parametrize("rate", [0.1, 10.0, 1_000.0])
def test_steady_counts_raise_no_alert_in_ten_days(rate: float) -> None:
    """At the level of 0.001 a day, ten days raise one in a hundred runs; the seed is one of the others."""
    assert false_alerts(rate, 10, 11, LEVEL) == [0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rate", RATES)
def test_steady_counts_raise_no_more_alerts_than_the_level_says(rate: float) -> None:
    """350 days at each rate: 0.35 are to be expected at 0.001 a day, and 3 or more in one of 180 runs; 35 at 0.1 a day,
    and more than 50 in one of 150."""
    runs = [false_alerts(rate, 35, seed, LEVEL, 0.1) for seed in range(10)]
    assert sum(few for few, _ in runs) <= 2
    assert sum(many for _, many in runs) <= 50


@pytest.mark.slow
def test_daily_waves_and_weekends_raise_no_more_alerts_than_the_level_says() -> None:
    """Busy by day, quiet by night, half as busy on two days of the week; after the first week, in which it is learned."""
    cut = SpikeSettings()
    day = cut.intervals_a_day

    def wave(place: int) -> float:
        weekend = 0.5 if place // day % 7 >= 5 else 1.0
        return 30 * weekend * math.exp(0.9 * math.sin(2 * math.pi * place / day))

    begun = 0
    for seed in range(4):
        seen = watch(cut, SpikeHistory(), counts_of(seed, 42, wave, cut))
        begun += sum(place >= 7 * day for place in alerts(seen, LEVEL))
    assert begun <= 1
