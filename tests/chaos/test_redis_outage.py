"""Redis goes away, is emptied, restarted, replaced by an empty one: counting never stops, and what Redis shows is
right again soon after it returns, without a restart."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from stream_app.dev import EmbeddedRedis
from tests.chaos.stage import Stage
from tests.support.brokers import Broker
from tests.support.programs import Json, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

OUTAGE_SECONDS: Final = float(os.environ.get("CHAOS_OUTAGE_SECONDS") or 6)
RIGHT_AGAIN_SECONDS: Final = 10.0
COUNTED_SECONDS: Final = 10.0


@pytest.fixture
def own_redis() -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own."""
    with EmbeddedRedis() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(240 + int(2 * OUTAGE_SECONDS))
def test_redis_may_do_what_it_likes(
    broker: Broker, own_redis: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    with Stage(broker.address, own_redis.url, tmp_path, seed) as stage:
        workers = stage.start(2)
        stage.probe.served_after(time.monotonic(), 30)
        own_redis.stop()
        time.sleep(OUTAGE_SECONDS)
        counted = stage.probe.served_after(time.monotonic(), COUNTED_SECONDS)
        print(f"without Redis, what is sent is counted after {counted:.1f} s")
        own_redis.start()  # empty, at the same address
        print(f"away, then replaced by an empty one: right after {right_again(stage):.1f} s")
        client(stage).flushall()
        print(f"emptied: right after {right_again(stage):.1f} s")
        own_redis.pause()
        time.sleep(OUTAGE_SECONDS)
        own_redis.resume()
        print(f"suspended: right after {right_again(stage):.1f} s")
        stage.settle()
        assert all(worker.alive for worker in workers)


def right_again(stage: Stage) -> float:
    """Wait until Redis shows at least what was counted by now, of every key; returns how long it took."""
    moment = time.monotonic()
    counted = stage.probe.counted()
    shown = client(stage)
    wait_until(
        lambda: not behind(shown, stage, counted), RIGHT_AGAIN_SECONDS, "Redis shows every key", every=0.05
    )
    shown.close()
    return time.monotonic() - moment


def behind(shown: Any, stage: Stage, counted: dict[str, Json]) -> list[str]:
    """The keys with deliveries of which Redis shows less than was counted."""
    stem = f"{stage.place.settings.redis_prefix}metrics:"
    totals = {name: snapshot["windows"]["total"]["counts"] for name, snapshot in counted.items()}
    delivered = {name: counts["deliveries"] for name, counts in totals.items() if "deliveries" in counts}
    pipeline = shown.pipeline()
    for name in delivered:
        pipeline.hget(stem + name, "total.deliveries")
    pairs = zip(delivered.items(), pipeline.execute(), strict=True)
    return [name for (name, count), held in pairs if int(held or -1) < count]


def client(stage: Stage) -> Any:
    """A client of the stage's Redis."""
    return redis.Redis.from_url(stage.place.settings.redis.get_secret_value(), decode_responses=True)
