"""A batch behind a hole is read again once, and taken when the hole turns out to be real."""

from __future__ import annotations

from stream_app.ingest.holes import Holes


def test_a_batch_that_goes_on_where_the_partition_was_left_is_taken() -> None:
    holes = Holes()
    assert holes.accepts("p", 10, 10)
    assert holes.accepts("p", 10, 7)  # redelivered; what was applied is skipped by offset


def test_the_first_batch_behind_a_hole_is_refused_and_so_are_those_after_it() -> None:
    holes = Holes()
    assert not holes.accepts("p", 10, 20)
    assert not holes.accepts("p", 10, 35)  # was fetched before the partition was read again


def test_what_was_missing_is_taken_when_it_comes() -> None:
    holes = Holes()
    assert not holes.accepts("p", 10, 20)
    assert holes.accepts("p", 10, 10)
    assert not holes.accepts("p", 20, 30)


def test_a_real_hole_is_taken_when_the_same_batch_comes_again() -> None:
    holes = Holes()
    assert not holes.accepts("p", 10, 20)
    assert not holes.accepts("p", 10, 35)
    assert holes.accepts("p", 10, 20)


def test_places_do_not_mix() -> None:
    holes = Holes()
    assert not holes.accepts("p", 10, 20)
    assert not holes.accepts("q", 10, 20)
