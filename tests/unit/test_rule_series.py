"""The short notation of a series: what promtool's documentation says of it, and its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.backtest.series import LONGEST, expand


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("5", [5]),
        ("1.5 2", [1.5, 2]),
        ("5x3", [5, 5, 5, 5]),
        ("0+10x5", [0, 10, 20, 30, 40, 50]),
        ("30-10x3", [30, 20, 10, 0]),
        ("1+0x2", [1, 1, 1]),
        ("_ 5 _x3 7", [0, 5, 0, 0, 0, 7]),
        ("1+2x3 4-1x2", [1, 3, 5, 7, 4, 3, 2]),
    ],
)
def test_a_series_is_what_promtool_makes_of_it(text: str, numbers: list[float]) -> None:
    assert expand(text) == numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 two 3", '"two" is no number'),
        ("-5", '"-5" is no number'),
        ("0+10", "write 0+10x3 for three more"),
        ("5x", '"5x" is no number'),
        ("10-3x4", '"10-3x4" falls to -2; counts are never below 0'),
        (f"0x{LONGEST}", "is longer than 100,000 numbers"),
        ("NaN", '"NaN" is no number'),
    ],
)
def test_a_mistake_is_named_with_the_mend(text: str, words: str) -> None:
    with pytest.raises(ValueError) as problem:
        expand(text)
    assert words in str(problem.value)


@given(
    first=st.integers(0, 1000), step=st.integers(0, 1000), more=st.integers(0, 100), before=st.integers(0, 5)
)
def test_a_row_has_one_number_more_than_it_says_each_a_step_larger(
    first: int, step: int, more: int, before: int
) -> None:
    numbers = expand(f"{'_ ' * before}{first}+{step}x{more}")
    assert numbers == [0] * before + [first + step * place for place in range(more + 1)]


@given(st.text(alphabet="0123456789+-x_. n", max_size=40))
def test_whatever_is_written_gives_numbers_or_a_sentence_with_the_mend(text: str) -> None:
    numbers, said = [], ";"
    try:
        numbers = expand(text)
    except ValueError as problem:
        said = str(problem)
    assert ";" in said
    assert all(number >= 0 for number in numbers)
    assert len(numbers) <= LONGEST
