"""kill -9 at any moment: while a worker recovers, counts, flushes, or takes partitions over. Nothing is lost,
nothing is counted twice, and every partition is served again soon."""

from __future__ import annotations

import os
import statistics
import time
from typing import Final

import pytest

from tests.chaos.stage import Stage

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

KILLS: Final = int(os.environ.get("CHAOS_KILLS") or 2)
WORKERS: Final = 2
LONGEST_START_SECONDS: Final = 6.0
LONGEST_WORK_SECONDS: Final = 1.5
SERVED_SECONDS: Final = 10.0
MEASURED: Final = 3


@pytest.mark.timeout(120 + 15 * KILLS)
def test_workers_killed_at_any_moment_lose_nothing_and_count_nothing_twice(stage: Stage) -> None:
    """Each kill takes a worker that serves, one that is still starting, or all of them at once."""
    stage.start(WORKERS)
    for _ in range(KILLS):
        kill_one(stage)
    assert stage.probe.served_after(time.monotonic(), 30) < 30
    stage.settle()


def kill_one(stage: Stage) -> None:
    chance = stage.chance
    victim = chance.choice(["serving", "serving", "starting", "all"])
    if victim == "starting":
        newcomer = stage.crew.begin()
        time.sleep(chance.uniform(0.3, LONGEST_START_SECONDS))
        newcomer.kill()
        return
    time.sleep(chance.uniform(0.0, LONGEST_WORK_SECONDS))
    doomed = stage.crew.alive if victim == "all" else [chance.choice(stage.crew.alive)]
    for worker in doomed:
        worker.kill()
    for _ in range(WORKERS - len(stage.crew.alive)):
        stage.crew.begin()
    stage.crew.wait_until_one_serves()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_partition_is_served_again_within_ten_seconds_of_a_kill(quick_stage: Stage) -> None:
    """Two workers serve, one is killed, the other takes its partitions over: the median of three times."""
    stage = quick_stage
    stage.start(WORKERS)
    seconds = []
    for _ in range(MEASURED):
        stage.probe.served_after(time.monotonic(), 30)
        moment = time.monotonic()
        stage.chance.choice(stage.crew.alive).kill()
        seconds.append(stage.probe.served_after(moment, 30))
        stage.crew.start()
    print(f"served again after a kill: {', '.join(f'{took:.1f}' for took in seconds)} s")
    assert statistics.median(seconds) < SERVED_SECONDS
    stage.settle()
