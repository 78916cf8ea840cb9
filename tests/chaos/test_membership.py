"""Workers join and leave, cleanly and not, and stand still past their session: no number changes."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import pytest

from tests.chaos.stage import Stage
from tests.support.programs import Worker, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

CHANGES: Final = int(os.environ.get("CHAOS_CHANGES") or 4)
SIZES: Final = (2, 4, 1, 3)
GIVE_UP_SECONDS: Final = 40.0
LEAVE_SECONDS: Final = 10.0
STILL_SECONDS: Final = 8.0
"""Twice the session timeout."""


@pytest.mark.slow
@pytest.mark.timeout(120 + 30 * CHANGES)
def test_workers_that_join_and_leave_change_no_number(quick_stage: Stage) -> None:
    """The crew grows and shrinks, 2 → 4 → 1 → 3 and again; whoever leaves is asked to, or killed."""
    stage = quick_stage
    stage.start(SIZES[0])
    changes, size = 0, 0
    made_good: list[float] = []
    while changes < CHANGES:
        size += 1
        wanted = SIZES[size % len(SIZES)]
        while len(stage.crew.alive) != wanted and changes < CHANGES:
            moment = time.monotonic()
            killed = change_one(stage, wanted)
            took = stage.probe.served_after(moment, GIVE_UP_SECONDS)
            made_good += [took] if killed else []
            changes += 1
    seconds = ", ".join(f"{took:.1f}" for took in sorted(made_good))
    print(f"{changes} changes; all partitions were served again so many seconds after each kill: {seconds}")
    stage.settle()


def change_one(stage: Stage, wanted: int) -> bool:
    """Take the crew one step towards its wanted size; returns whether a worker was killed for it."""
    crew, chance = stage.crew, stage.chance
    if len(crew.alive) < wanted:
        newcomer = crew.begin()
        if chance.random() < 0.7:
            newcomer.wait_for("serving shards", GIVE_UP_SECONDS)
        return False
    leaving = chance.choice(crew.alive)
    if chance.random() < 0.5:
        leaving.kill()
        return True
    leaving.signal(signal.SIGTERM)
    code = leaving.wait_for_end(LEAVE_SECONDS)
    assert code == 0 or (code == -signal.SIGTERM and not leaving.said("serving")), leaving.log.read_text()
    return False


def test_a_worker_that_stood_still_past_its_session_changes_nothing(stage: Stage) -> None:
    """SIGSTOP under load, twice the session timeout, SIGCONT: its partitions have another owner by then."""
    first, second = stage.start(2)
    stage.probe.served_after(time.monotonic(), 30)
    time.sleep(stage.chance.uniform(0.0, 1.0))
    moment = time.monotonic()
    first.signal(signal.SIGSTOP)
    took = stage.probe.served_after(moment, GIVE_UP_SECONDS)
    time.sleep(max(0.0, moment + STILL_SECONDS - time.monotonic()))
    first.signal(signal.SIGCONT)
    _wait_until_it_has_ended(first)
    print(f"served again {took:.1f} s after the stop")
    stage.settle()
    assert second.alive


@pytest.mark.slow
def test_two_that_stand_still_and_a_third_that_is_killed_change_nothing(stage: Stage) -> None:
    """Stale owners wake up one after the other, while others own what was theirs."""
    first, second = stage.start(2)
    time.sleep(stage.chance.uniform(0.0, 1.0))
    first.signal(signal.SIGSTOP)
    second.wait_for("serving shards [0, 1, 2, 3]", GIVE_UP_SECONDS)
    third = stage.crew.start()
    second.signal(signal.SIGSTOP)
    third.wait_for("serving shards [0, 1, 2, 3]", GIVE_UP_SECONDS)
    first.signal(signal.SIGCONT)
    fourth = stage.crew.start()
    time.sleep(stage.chance.uniform(0.0, 1.0))
    third.kill()
    second.signal(signal.SIGCONT)
    _wait_until_it_has_ended(first)
    _wait_until_it_has_ended(second)
    assert stage.probe.served_after(time.monotonic(), GIVE_UP_SECONDS) < GIVE_UP_SECONDS
    stage.settle()
    assert fourth.alive


def _wait_until_it_has_ended(worker: Worker) -> None:
    """A worker that stood still for longer than its lease ends, says why, and is to be restarted."""
    wait_until(lambda: not worker.alive, 20, "the stale owner ends")
    assert worker.process.returncode == 1
    assert "restart it" in worker.log.read_text("utf-8", "replace")
