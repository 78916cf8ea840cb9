"""A worker with its state at rest in RocksDB: exact after kill -9, and nothing is left on the disk."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from stream_app.clock import DAY_MS, now_ms
from stream_app.dev import EmbeddedRedis
from tests.oracle.events import time_ms
from tests.support.brokers import Broker
from tests.support.programs import Crew, installation
from tests.support.settling import settle
from tests.support.traffic import Life, Load, Sender

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

PARTITIONS = 4
EVENTS, A_SECOND = 4_000, 1_500


def scratch(directory: Path) -> set[Path]:
    """The directories of workers, dead or alive."""
    return set((directory / "rocksdb").glob("worker-*"))


def test_a_worker_on_rocksdb_is_exact_after_a_kill_and_leaves_nothing_on_the_disk(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    place = installation(
        broker.address, redis_server.url, tmp_path,
        store="rocksdb", allowed_lateness="24h", retention="400d", idle_timeout="2s", session_timeout="4s",
    )  # fmt: skip
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender:
        worker = crew.start()
        (first,) = scratch(tmp_path)
        with Load(sender, Life(seed, now_ms() - 20 * DAY_MS, 14 * DAY_MS).events(EVENTS), A_SECOND) as load:
            time.sleep(1.0)
            worker.kill()
            assert list(first.rglob("*.sst")) + list(first.rglob("CURRENT")) != []
            worker = crew.start()
            assert not first.exists()
            assert len(scratch(tmp_path)) == 1
            load.finish()
        newest_ms = max(time_ms(record.event["event_time"]) for record in sender.records)
        settle(place, sender, newest_ms)
        (own,) = scratch(tmp_path)
        assert (
            sum(path.is_dir() for path in own.iterdir()) == 2 * PARTITIONS
        )  # those of earlier owners are gone
        worker.signal(signal.SIGTERM)
        assert worker.wait_for_end(10) == 0
        assert scratch(tmp_path) == set()
