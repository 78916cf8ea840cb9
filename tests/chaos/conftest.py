"""The stage and its seed: ``CHAOS_SEED`` repeats a run, ``CHAOS_KILLS`` and ``CHAOS_CHANGES`` prolong it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.dev import EmbeddedRedis
from tests.chaos.stage import Stage
from tests.support.brokers import Broker


@pytest.fixture
def seed() -> int:
    """The seed of this run; it is printed, so that the run can be repeated."""
    chosen = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"repeat with CHAOS_SEED={chosen}")
    return chosen


@pytest.fixture
def stage(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int) -> Iterator[Stage]:
    with Stage(broker.address, redis_server.url, tmp_path, seed) as ready:
        yield ready


@pytest.fixture
def quick_stage(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int) -> Iterator[Stage]:
    """One whose group misses a worker as soon as the settings allow: the embedded broker takes half of that time more to
    share its partitions out."""
    with Stage(broker.address, redis_server.url, tmp_path, seed, session_timeout="3s") as ready:
        yield ready
