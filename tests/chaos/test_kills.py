"""kill -9 at any moment: while a worker recovers, counts, flushes, or takes partitions over. Nothing is lost,
nothing is counted twice, and every partition is served again soon."""

from __future__ import annotations

import os
import random
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
def test_every_partition_is_served_again_within_ten_seconds_of_a_kill(stage: Stage) -> None:
    """Two workers serve; one is killed. The other takes its partitions over."""
    first, second = stage.start(WORKERS)
    stage.probe.served_after(time.monotonic(), 30)
    chosen = random.Random(stage.seed).choice([first, second])
    moment = time.monotonic()
    chosen.kill()
    took = stage.probe.served_after(moment, 30)
    print(f"served again {took:.1f} s after the kill")
    assert took < SERVED_SECONDS
    stage.settle()
