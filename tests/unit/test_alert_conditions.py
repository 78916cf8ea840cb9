"""Rules over counts, through the merger, the watch and the desk: what stays away, and what comes too often.

Time is event time and moves with the watermark; where nothing comes, that alone must be enough.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from stream_app.alerts.message import alert_id
from stream_app.alerts.rules import load_rules
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.metrics.catalogue import PANE_MS
from tests.support.rule_scene import START, Scene

RULES = {rule.name: rule for rule in load_rules().rules}
SILENT, SURGE = RULES["carts-silent"], RULES["tickets-spike"]
FIVE = 5 * MINUTE_MS


def busy_day(scene: Scene, number: int = 1_200) -> int:
    """A day with carts every half minute or so; returns the end of the last one's pane."""
    step_ms = DAY_MS // number // PANE_MS * PANE_MS
    for place in range(number):
        scene.count("carts_started", 1, START + place * step_ms)
    return START + (number - 1) * step_ms + PANE_MS


# --- Silence ---


def test_silence_fires_rises_and_ends_with_the_first_event() -> None:
    scene = Scene(replace(SILENT, repeat_ms=0))
    last_ms = busy_day(scene)
    scene.move_on(last_ms + 7 * HOUR_MS)
    scene.count("carts_started", 1, last_ms + 8 * HOUR_MS)
    assert scene.told == [("firing", "warning"), ("firing", "critical"), ("resolved", "critical")]
    first, worse, over = scene.changes
    assert last_ms + 3 * HOUR_MS <= first.started_at_ms < last_ms + 3 * HOUR_MS + MINUTE_MS
    assert last_ms + 6 * HOUR_MS <= worse.as_of_ms < last_ms + 6 * HOUR_MS + MINUTE_MS
    assert first.value == (first.as_of_ms - last_ms) / SECOND_MS
    assert first.threshold == 3 * HOUR_MS / SECOND_MS
    assert first.numerator is not None and first.numerator > 1_000
    assert over.evidence != "quiet"


def test_silence_is_told_again_while_it_lasts() -> None:
    scene = Scene(SILENT)
    scene.move_on(busy_day(scene) + 10 * HOUR_MS + MINUTE_MS)
    assert [(change.severity, change.repeated) for change in scene.changes] == [
        ("warning", False),
        ("critical", False),
        ("critical", True),
    ]


def test_who_takes_over_waits_on_for_what_stays_away() -> None:
    scene = Scene(SILENT)
    last_ms = busy_day(scene)
    scene.restart()
    scene.move_on(last_ms + 3 * HOUR_MS + MINUTE_MS)
    scene.restart()
    scene.move_on(last_ms + 3 * HOUR_MS + 30 * MINUTE_MS)
    assert scene.told == [("firing", "warning")]


def test_a_new_rule_sees_a_silence_that_has_come_true_already() -> None:
    scene = Scene()
    last_ms = busy_day(scene)
    scene.move_on(last_ms + 5 * HOUR_MS)
    scene.restart(SILENT)
    scene.move_on(last_ms + 5 * HOUR_MS + 11 * MINUTE_MS)
    assert scene.told == [("firing", "warning")]


def test_silence_is_awaited_beside_a_new_rule_that_has_nothing_to_await() -> None:
    scene = Scene(SILENT)
    last_ms = busy_day(scene)
    scene.move_on(last_ms + HOUR_MS)
    scene.restart(SILENT, replace(SURGE, metric="carts_started"))
    scene.move_on(last_ms + 3 * HOUR_MS + MINUTE_MS)
    assert scene.told == [("firing", "warning")]


def test_silence_of_one_count_is_seen_while_others_come() -> None:
    """The key changes all the time; the count that stays away is still told in time."""
    scene = Scene(SILENT)
    last_ms = busy_day(scene)
    for minutes in range(0, 200, 7):
        scene.count("opens", 1, last_ms + minutes * MINUTE_MS)
    assert scene.told == [("firing", "warning")]
    assert scene.changes[0].started_at_ms < last_ms + 3 * HOUR_MS + 7 * MINUTE_MS


def test_a_small_shop_may_be_silent() -> None:
    scene = Scene(SILENT)
    scene.move_on(busy_day(scene, 400) + 20 * HOUR_MS)
    assert scene.told == []


def test_a_silence_of_a_day_is_what_is_usual_now() -> None:
    scene = Scene(replace(SILENT, repeat_ms=0))
    last_ms = busy_day(scene)
    scene.move_on(last_ms + 2 * DAY_MS, 10 * MINUTE_MS)
    assert scene.told[-1] == ("resolved", "critical")
    over = scene.changes[-1]
    assert (over.evidence, over.value) == ("quiet", None)
    assert last_ms + DAY_MS - PANE_MS <= over.as_of_ms <= last_ms + DAY_MS + 10 * MINUTE_MS


def test_silence_may_have_to_last_before_it_fires() -> None:
    scene = Scene(replace(SILENT, wait_ms=HOUR_MS, repeat_ms=0, levels=(("critical", 7_200.0),)))
    last_ms = busy_day(scene)
    scene.move_on(last_ms + 4 * HOUR_MS)
    assert scene.told == [("pending", "critical"), ("firing", "critical")]
    assert scene.changes[-1].started_at_ms >= last_ms + 3 * HOUR_MS


# --- Spikes ---


def play(scene: Scene, between: Callable[[Scene], None] = lambda _: None) -> None:
    """Two days of about eight tickets in five minutes, a quarter of an hour of forty, and an hour as ever."""
    dice = random.Random(5)
    usual, surge = 2 * DAY_MS // FIVE, 3
    for place in range(usual + surge + 12):
        mean = 40 if usual <= place < usual + surge else 8
        number = sum(dice.random() < mean / 100 for _ in range(100))
        scene.count("tickets_opened", number, START + place * FIVE + MINUTE_MS)
        between(scene)


def test_a_spike_fires_and_resolves_when_it_is_over() -> None:
    scene = Scene(SURGE)
    play(scene)
    assert scene.told == [("firing", "warning"), ("firing", "critical"), ("resolved", "critical")]
    firing, over = scene.changes[0], scene.changes[-1]
    begun_ms = START + 2 * DAY_MS
    assert firing.as_of_ms == begun_ms + FIVE, "as of the end of the first interval of the spike"
    assert begun_ms + 4 * FIVE + SURGE.keep_firing_ms <= (over.ended_at_ms or 0) <= begun_ms + 12 * FIVE
    assert firing.value is not None and firing.value > 40
    assert firing.baseline == pytest.approx(24, abs=4)
    assert firing.chance is not None and 1e-6 < firing.chance <= 1e-3
    assert firing.threshold is None


def test_a_usual_day_is_no_spike() -> None:
    scene = Scene(SURGE)
    dice = random.Random(6)
    for place in range(2 * DAY_MS // FIVE):
        number = sum(dice.random() < 0.08 for _ in range(100))
        scene.count("tickets_opened", number, START + place * FIVE + MINUTE_MS)
    assert scene.told == []


def test_it_makes_no_difference_how_often_a_worker_starts_again() -> None:
    """Each interval is learned once: the same alerts under the same ids."""
    steady, shaken = Scene(SURGE), Scene(SURGE)
    dice = random.Random(7)
    play(steady)
    play(shaken, lambda scene: scene.restart() if dice.random() < 0.1 else None)
    assert [alert_id(change) for change in shaken.changes] == [alert_id(change) for change in steady.changes]
    assert shaken.changes == steady.changes


def test_a_spike_is_judged_when_its_interval_is_complete_though_nothing_follows() -> None:
    scene = Scene(SURGE)
    for place in range(2 * DAY_MS // FIVE):
        scene.count("tickets_opened", 8, START + place * FIVE + MINUTE_MS)
    scene.count("tickets_opened", 90, START + 2 * DAY_MS + MINUTE_MS)
    assert scene.told == []
    scene.move_on(START + 2 * DAY_MS + FIVE, 10 * SECOND_MS)
    assert [change.as_of_ms for change in scene.changes] == [START + 2 * DAY_MS + FIVE]


def test_a_long_silence_before_a_spike_is_caught_up_with() -> None:
    scene = Scene(SURGE)
    for place in range(2 * DAY_MS // FIVE):
        scene.count("tickets_opened", 8, START + place * FIVE + MINUTE_MS)
    later_ms = START + 6 * DAY_MS
    scene.move_on(later_ms, 6 * HOUR_MS)
    for place in range(3):
        scene.count("tickets_opened", 30, later_ms + place * FIVE + MINUTE_MS)
    scene.move_on(later_ms + 3 * FIVE)
    assert scene.told[:1] == [("firing", "critical")]


def test_what_was_caught_up_with_in_one_go_is_unknown_and_no_silence() -> None:
    """Four days come between two looks: nothing fires because they were taken for silent."""
    scene = Scene(SURGE)
    for place in range(2 * DAY_MS // FIVE):
        scene.count("tickets_opened", 8, START + place * FIVE + MINUTE_MS)
    scene.catch_up("tickets_opened", 8, START + 2 * DAY_MS, START + 6 * DAY_MS, FIVE)
    for place in range(DAY_MS // FIVE):
        scene.count("tickets_opened", 8, START + 6 * DAY_MS + place * FIVE + MINUTE_MS)
    assert scene.told == []
    scene.count("tickets_opened", 90, START + 7 * DAY_MS + MINUTE_MS)
    scene.move_on(START + 7 * DAY_MS + FIVE)
    assert scene.told == [("firing", "critical")], "and after a day all is known again"


def test_where_a_day_may_be_late_a_spike_is_not_judged_by_panes_that_are_gone() -> None:
    scene = Scene(SURGE, lag_ms=DAY_MS)
    play(scene)
    assert scene.told == []
