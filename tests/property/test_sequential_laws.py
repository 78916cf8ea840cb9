"""Laws of the test that may be looked at as often as one likes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.sequential import ERROR, evidence_against, evidence_needed, is_beyond

levels = st.sampled_from([0.001, 0.002, 0.005, 0.01, 0.1, 0.5, 0.8, 0.9])
directions = st.sampled_from(["above", "below"])
trials = st.integers(0, 2_000)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    denominator = draw(trials)
    return draw(st.integers(0, denominator)), denominator


@given(levels, directions, counts())
def test_one_more_event_brings_nothing_on_average_at_the_level(
    level: float, direction: str, seen: tuple[int, int]
) -> None:
    """A martingale: what Ville's inequality asks for."""
    top, bottom = seen
    now = evidence_against(level, direction, top, bottom)
    then = level * evidence_against(level, direction, top + 1, bottom + 1)
    then += (1 - level) * evidence_against(level, direction, top, bottom + 1)
    assert then == pytest.approx(now, rel=1e-9)


@given(levels, directions, counts(), st.floats(0.01, 0.99))
def test_on_the_healthy_side_it_shrinks_on_average(
    level: float, direction: str, seen: tuple[int, int], part: float
) -> None:
    top, bottom = seen
    rate = level * part if direction == "above" else 1 - (1 - level) * part
    now = evidence_against(level, direction, top, bottom)
    then = rate * evidence_against(level, direction, top + 1, bottom + 1)
    then += (1 - rate) * evidence_against(level, direction, top, bottom + 1)
    assert then <= now * (1 + 1e-9)


@given(levels, counts(), st.integers(1, 50))
def test_what_is_still_to_come_can_only_add(level: float, seen: tuple[int, int], missing: int) -> None:
    """Opt-outs that come after the delivery, or lie outside a shorter window, make the evidence no larger."""
    top, bottom = seen
    fewer = max(0, top - missing)
    assert evidence_against(level, "above", fewer, bottom) <= evidence_against(level, "above", top, bottom)


@given(levels, directions, counts())
def test_both_directions_are_one(level: float, direction: str, seen: tuple[int, int]) -> None:
    """Few clicks are many that did not click."""
    top, bottom = seen
    mirrored = evidence_against(1 - level, "below" if direction == "above" else "above", bottom - top, bottom)
    assert evidence_against(level, direction, top, bottom) == pytest.approx(mirrored, rel=1e-6)


@given(levels, counts())
def test_a_rate_on_the_healthy_side_is_never_beyond(level: float, seen: tuple[int, int]) -> None:
    top, bottom = seen
    if top <= level * bottom:
        assert not is_beyond(level, "above", top, bottom, "total")
    if top >= level * bottom:
        assert not is_beyond(level, "below", top, bottom, "total")


def test_nothing_seen_says_nothing() -> None:
    assert evidence_against(0.005, "above", 0, 0) == 1


def test_evidence_does_not_overflow() -> None:
    assert evidence_against(0.001, "above", 1_000_000, 1_000_000) > 1e300


@pytest.mark.parametrize(
    ("window", "windows"), [("total", 1), ("24h", 1), ("1h", 24), ("5m", 288), ("1m", 1440)]
)
def test_each_window_of_a_day_is_a_chance_of_its_own(window: str, windows: int) -> None:
    assert evidence_needed(window) == windows / ERROR


@pytest.mark.parametrize(("level", "top", "bottom"), [(0.0, 1, 2), (1.0, 1, 2), (0.5, 3, 2), (0.5, -1, 2)])
def test_what_is_no_proportion_is_refused(level: float, top: int, bottom: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        evidence_against(level, "above", top, bottom)


@pytest.mark.parametrize("level", [-0.1, 0.0, 1.0, 1.2])
def test_nothing_lies_beyond_what_is_no_level(level: float) -> None:
    assert not is_beyond(level, "above", 500, 500, "total")
