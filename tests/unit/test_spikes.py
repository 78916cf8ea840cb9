"""Spikes of counts: what fires, how soon, what does not, and what is learned from it."""

from __future__ import annotations

import math

import msgspec
import pytest

from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings, expected_count
from stream_app.alerts.spikes import catch_up, observe
from stream_app.alerts.tails import log10_upper_tail
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.counts import START_MS, alerts, counts_of, watch

LEVEL = 0.001
HOURLY = SpikeSettings(interval_ms=HOUR_MS)
FIVE_MINUTES = SpikeSettings()
DAY = FIVE_MINUTES.intervals_a_day


def steady(rate: float, days: float, seed: int = 5) -> list[int]:
    return counts_of(seed, days, lambda _: rate, FIVE_MINUTES)


def hours(history: SpikeHistory) -> float:
    """What an hour is expected to bring, by the last interval that was observed."""
    found = expected_count(FIVE_MINUTES, history, history.next_ms - FIVE_MINUTES.interval_ms, 12)
    assert found is not None
    return found


# --- The tail ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "mean", "dispersion", "logarithm"),
    [
        (1, 0.1, 0.5, -1.031654733),
        (3, 0.1, 1e-6, -3.810640247),
        (15, 5, 1e-6, -3.645383982),
        (30, 10, 0.2, -2.406776682),
        (7, 12.5, 0.37, -0.130573523),
        (150, 100, 0.01, -3.130426222),
        (1300, 1000, 0.003, -5.254306842),
        (10_500, 10_000, 1e-6, -6.38810712),
        (400, 10, 2.5, -7.886814404),
        (2_000_000, 1_000_000, 0.05, -3.75369089),
    ],
)
def test_the_tail_is_that_of_scipy(count: int, mean: float, dispersion: float, logarithm: float) -> None:
    """`scipy.stats.nbinom.logsf(count - 1, r, r / (r + mean)) / log(10)` with r = 1 / dispersion, of scipy 1.17.1."""
    assert log10_upper_tail(count, mean, dispersion) == pytest.approx(logarithm, rel=1e-6)


def test_without_dispersion_the_tail_is_poissons() -> None:
    exact = -math.expm1(-2) - 2 * math.exp(-2)
    assert log10_upper_tail(2, 2.0, 0.0) == pytest.approx(math.log10(exact), rel=1e-5)


@pytest.mark.parametrize(("count", "mean"), [(-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan)])
def test_a_tail_of_nonsense_is_refused(count: int, mean: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        log10_upper_tail(count, mean, 0.1)


# --- What fires -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [30, 100, 1_000, 10_000])
def test_a_tripling_of_three_intervals_is_caught_within_two_and_over_within_three(rate: float) -> None:
    counts = steady(rate, 4)
    start = len(counts) - DAY // 3
    for place in range(start, start + 3):
        counts[place] *= 3
    seen = watch(FIVE_MINUTES, SpikeHistory(), counts)
    (fired,) = alerts(seen, LEVEL)
    assert start <= fired <= start + 1
    assert seen[start + 2].holds_at(LEVEL)
    assert not all(one.holds_at(0.1) for one in seen[start + 3 : start + 6])


def test_few_events_are_no_spike_however_rare_they_are() -> None:
    counts = steady(0.01, 3)
    counts[-1] = 9
    seen = watch(FIVE_MINUTES, SpikeHistory(), counts)
    assert seen[-1].probability == 1.0
    assert seen[-1].short_tail < 1e-6


def test_what_is_over_does_not_fire() -> None:
    """The long window is still high, but its last interval is not."""
    counts = steady(100, 3)
    counts[-2:] = [500, 100]
    seen = watch(FIVE_MINUTES, SpikeHistory(), counts)
    assert seen[-2].fires_at(LEVEL)
    assert seen[-1].value == sum(counts[-3:])
    assert not seen[-1].fires_at(LEVEL)


def test_nothing_is_judged_before_a_day_is_known() -> None:
    counts = [*steady(10, 1), 10, 10, 1_000]
    counts[DAY - 1] = 1_000
    seen = watch(FIVE_MINUTES, SpikeHistory(), counts)
    assert seen[DAY - 1].expected is None
    assert seen[DAY - 1].probability == 1.0
    assert seen[-1].fires_at(LEVEL)


def test_what_a_key_does_every_day_is_no_spike_of_it() -> None:
    """Ten times as many for a quarter of an hour, at another time each day, is what this key does."""

    def bursts(place: int) -> float:
        day, within = divmod(place, DAY)
        return 200 if within - day * 37 % DAY in range(3) else 20

    wild = watch(FIVE_MINUTES, SpikeHistory(), counts_of(1, 21, bursts, FIVE_MINUTES))
    calm = counts_of(1, 21, lambda _: 20, FIVE_MINUTES)
    calm[-DAY // 2] = 200
    assert alerts(wild, LEVEL) and max(alerts(wild, LEVEL)) < 7 * DAY
    assert alerts(watch(FIVE_MINUTES, SpikeHistory(), calm), LEVEL) == [len(calm) - DAY // 2]


# --- What is usual ----------------------------------------------------------------------------------------------


def shop(place: int) -> float:
    """Counts by the hour: busy by day, quiet by night, and a rush on one hour of the week."""
    hour = place % 24
    return 600 if place % 168 == 34 else 100 if 8 <= hour < 20 else 5


def test_the_hour_of_the_week_is_known_after_three_weeks() -> None:
    history = SpikeHistory()
    counts = counts_of(2, 28, shop, HOURLY)
    seen = watch(HOURLY, history, counts)
    begins = alerts(seen, LEVEL)
    assert 34 + 168 in begins
    assert all(place < 3 * 168 for place in begins)
    again = watch(
        HOURLY,
        history,
        [*counts[-2:], *[600 if place == 58 else 5 for place in range(59)]][2:],
        history.next_ms,
    )
    assert again[58].fires_at(LEVEL), "the same rush a day later is one"


def test_the_hour_of_the_day_is_known_after_three_days() -> None:
    counts = counts_of(3, 6, lambda place: 100 if 8 <= place % 24 < 20 else 5, HOURLY)
    seen = watch(HOURLY, SpikeHistory(), counts)
    mornings = [seen[day * 24 + 8].short_tail for day in (4, 5)]
    assert min(mornings) > 0.001
    assert alerts(seen[3 * 24 :], LEVEL) == []


def test_the_first_mornings_of_a_new_key_are_no_spikes() -> None:
    """Before the hours of the day are known, the first day's spread stands in for them."""
    counts = counts_of(1, 5, lambda place: 40 if 8 <= place % DAY // 12 < 20 else 1, FIVE_MINUTES)
    seen = watch(FIVE_MINUTES, SpikeHistory(), counts)
    assert alerts(seen, LEVEL) == []
    assert seen[DAY + 3].expected is not None


def test_a_spike_teaches_hardly_anything() -> None:
    counts = steady(100, 5)
    history, spiked = SpikeHistory(), SpikeHistory()
    watch(FIVE_MINUTES, history, counts)
    counts[-24:-12] = [5_000] * 12
    watch(FIVE_MINUTES, spiked, counts)
    assert hours(spiked) == pytest.approx(hours(history), rel=0.03)
    assert spiked.spreads[0] - history.spreads[0] < 0.3


def test_a_new_level_is_the_usual_one_after_a_day() -> None:
    counts = [*steady(20, 7), *steady(100, 2, seed=6)]
    history = SpikeHistory()
    seen = watch(FIVE_MINUTES, history, counts)
    first, *others = alerts(seen, LEVEL)
    assert first - 7 * DAY in (0, 1)
    assert all(begins < 8 * DAY for begins in others)
    assert hours(history) == pytest.approx(12 * 100, rel=0.1)


# --- One after the other ----------------------------------------------------------------------------------------


def test_an_interval_is_observed_once() -> None:
    history = SpikeHistory()
    observe(FIVE_MINUTES, history, START_MS, [1])
    with pytest.raises(ValueError, match="observed already"):
        observe(FIVE_MINUTES, history, START_MS, [1])


@pytest.mark.parametrize("counts", [[], [1, -1]])
def test_counts_that_cannot_be_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        observe(FIVE_MINUTES, SpikeHistory(), START_MS, counts)


@pytest.mark.parametrize(
    ("interval_ms", "long_intervals"),
    [(7 * MINUTE_MS, 3), (0, 3), (2 * HOUR_MS, 1), (HOUR_MS, 0), (HOUR_MS, 4)],
)
def test_windows_that_cannot_be_are_refused(interval_ms: int, long_intervals: int) -> None:
    with pytest.raises(ValueError, match="hour"):
        SpikeSettings(interval_ms, long_intervals)


def test_catching_up_is_observing_nothing_for_as_long() -> None:
    counts = steady(10, 3)
    slow, quick = SpikeHistory(), SpikeHistory()
    watch(FIVE_MINUTES, slow, [*counts, 0, 0, *[0] * (DAY // 2)])
    watch(FIVE_MINUTES, quick, [*counts, 0, 0])
    catch_up(FIVE_MINUTES, quick, quick.next_ms + DAY_MS // 2)
    assert quick == slow


def test_after_a_month_of_silence_nothing_is_expected_and_a_few_events_are_a_spike() -> None:
    history = SpikeHistory()
    watch(FIVE_MINUTES, history, steady(100, 3))
    back_ms = history.next_ms + 31 * DAY_MS
    catch_up(FIVE_MINUTES, history, back_ms)
    assert history.next_ms == back_ms
    assert observe(FIVE_MINUTES, history, back_ms, [0, 0, 20]).fires_at(LEVEL)


def test_a_history_that_has_not_begun_has_nothing_to_catch_up_with() -> None:
    history = SpikeHistory()
    catch_up(FIVE_MINUTES, history, START_MS)
    assert history == SpikeHistory()


def test_intervals_that_nobody_saw_are_unknown_and_not_silent() -> None:
    history = SpikeHistory()
    watch(FIVE_MINUTES, history, steady(100, 3))
    back_ms = history.next_ms + 2 * DAY_MS
    observe(FIVE_MINUTES, history, back_ms, [100])
    assert hours(history) == pytest.approx(12 * 100, rel=0.1)


def test_a_restored_history_goes_on_as_if_nothing_had_happened() -> None:
    counts = [*steady(10, 2), 80, 80, 5]
    history = SpikeHistory()
    seen = watch(FIVE_MINUTES, history, counts)
    half = SpikeHistory()
    before = watch(FIVE_MINUTES, half, counts[: DAY + 7])
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(half), type=SpikeHistory)
    after = [
        observe(
            FIVE_MINUTES, restored, START_MS + place * FIVE_MINUTES.interval_ms, counts[place - 2 : place + 1]
        )
        for place in range(DAY + 7, len(counts))
    ]
    assert [*before, *after] == seen
    assert restored == history
