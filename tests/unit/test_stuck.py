"""The decision whether a worker is stuck: progress, idleness, silence of the broker, and time as an argument."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from stream_app.stuck import LONGEST_GAP_SECONDS, Patience, Sight

STUCK_AFTER = 45.0
LOOK = 2.0
TASK = "it ends at 90"


def sight(at: Hashable, task: str = TASK, what: str = "carts, partition 2") -> Sight:
    return Sight(what, at, task)


class Watching:
    """Looks every two seconds; says when the first thing was found stuck."""

    def __init__(self) -> None:
        self.patience = Patience(STUCK_AFTER)
        self.now = 1_000.0

    def look_for(self, seconds: float, *sights: Sight) -> str | None:
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK
            if stuck := self.patience.look(sights, self.now):
                return stuck
        return None


def test_what_stands_still_with_something_to_do_is_stuck_after_the_time_and_not_before() -> None:
    watching = Watching()
    assert watching.look_for(STUCK_AFTER, sight(17)) is None
    assert (
        watching.look_for(LOOK, sight(17))
        == "carts, partition 2: no progress for 46 s, although it ends at 90"
    )


def test_any_progress_starts_the_time_anew() -> None:
    watching = Watching()
    for offset in range(5):
        assert watching.look_for(40, sight(offset)) is None


def test_what_has_nothing_to_do_may_stand_still_for_ever() -> None:
    assert Watching().look_for(3_600, sight(17, task="")) is None


def test_the_time_begins_when_there_is_something_to_do() -> None:
    watching = Watching()
    watching.look_for(600, sight(17, task=""))
    assert watching.look_for(40, sight(17)) is None
    assert watching.look_for(10, sight(17)) is not None


def test_having_had_nothing_to_do_in_between_starts_the_time_anew() -> None:
    watching = Watching()
    watching.look_for(40, sight(17))
    watching.look_for(LOOK, sight(17, task=""))
    assert watching.look_for(40, sight(17)) is None


def test_one_that_is_stuck_is_found_among_many_that_are_not() -> None:
    watching = Watching()
    stuck = None
    for offset in range(100):
        others = [sight(offset, what=f"opens, partition {number}") for number in range(4)]
        stuck = stuck or watching.look_for(
            LOOK, *others, sight(3), sight(0, task="", what="chats, partition 0")
        )
    assert stuck is not None and stuck.startswith("carts, partition 2: ")


def test_time_in_which_the_broker_is_silent_or_the_process_stands_still_does_not_count() -> None:
    watching = Watching()
    for _ in range(10):
        assert watching.look_for(40, sight(17)) is None
        watching.now += LONGEST_GAP_SECONDS + 50


def test_it_is_found_after_the_broker_is_back() -> None:
    watching = Watching()
    watching.look_for(40, sight(17))
    watching.now += 3_600
    assert watching.look_for(44, sight(17)) is None
    assert watching.look_for(6, sight(17)) is not None


def test_a_partition_that_went_elsewhere_and_came_back_starts_anew() -> None:
    watching = Watching()
    watching.look_for(40, sight(17))
    watching.look_for(LOOK)
    assert watching.look_for(40, sight(17)) is None


@pytest.mark.parametrize("at", [0, (1, 2, 3), "epoch"])
def test_a_place_may_be_anything_that_can_be_compared(at: Hashable) -> None:
    assert Watching().look_for(60, sight(at)) is not None
