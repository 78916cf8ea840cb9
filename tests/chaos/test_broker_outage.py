"""The broker stops and comes back, connections break, the network is slow: nothing is lost, memory stays bounded,
and the workers catch up by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from stream_app.dev import EmbeddedRedis
from tests.chaos.stage import Stage
from tests.support.brokers import Broker, BrokerMaker
from tests.support.programs import Supervisor
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]

OUTAGE_SECONDS: Final = float(os.environ.get("CHAOS_OUTAGE_SECONDS") or 8)
CATCH_UP_SECONDS: Final = 30.0
MOST_GROWTH_BYTES: Final = 60_000_000
CUTS: Final = int(os.environ.get("CHAOS_CUTS") or 8)
SLOW_BYTES_A_SECOND: Final = 150_000
SLOW_SECONDS: Final = 8.0

Scene = tuple[Stage, Broker, Proxy]


@pytest.fixture
def scene(new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int) -> Iterator[Scene]:
    """A stage whose broker is its own and lies behind a proxy."""
    with (
        Proxy() as proxy,
        new_broker(advertised=proxy.address) as broker,
    ):
        proxy.target = broker.address
        with Stage(proxy.address, redis_server.url, tmp_path, seed) as stage:
            stage.client_may_repeat = not broker.writes_once
            yield stage, broker, proxy


@pytest.mark.timeout(240 + int(2 * OUTAGE_SECONDS))
def test_a_broker_that_stops_and_returns_costs_nothing_but_time(scene: Scene) -> None:
    """One that keeps its records is stopped; one that would lose them is suspended."""
    stage, broker, _ = scene
    workers = stage.start(2)
    stage.probe.served_after(time.monotonic(), 30)
    before = [worker.resident_bytes for worker in workers]
    go_away, come_back = (
        (broker.stop, broker.start) if broker.keeps_records else (broker.pause, broker.resume)
    )
    go_away()
    time.sleep(OUTAGE_SECONDS)
    grown = max(worker.resident_bytes - held for worker, held in zip(workers, before, strict=True))
    come_back()
    took = stage.probe.served_after(time.monotonic(), 2 * CATCH_UP_SECONDS)
    print(f"away for {OUTAGE_SECONDS:.0f} s; served {took:.1f} s after its return; grew by {grown:,} bytes")
    assert took < CATCH_UP_SECONDS
    assert grown < MOST_GROWTH_BYTES
    stage.settle()
    assert all(worker.alive for worker in workers)


@pytest.mark.timeout(240 + 3 * CUTS)
def test_connections_that_break_again_and_again_change_nothing(scene: Scene) -> None:
    """All connections at once, those of the producer too, sometimes with none accepted for a while."""
    stage, _, proxy = scene
    stage.start(2)
    with Supervisor(stage.crew) as supervisor:
        for _ in range(CUTS):
            time.sleep(stage.chance.uniform(0.0, 1.5))
            if stage.chance.random() < 0.4:
                proxy.refuse()
            proxy.cut()
            time.sleep(stage.chance.uniform(0.0, 1.0))
            proxy.accept()
        took = stage.probe.served_after(time.monotonic(), 2 * CATCH_UP_SECONDS)
        print(f"served {took:.1f} s after the last cut; {supervisor.restarts} workers shut out")
        assert took < CATCH_UP_SECONDS
        stage.settle()
    assert len(stage.crew.alive) == 2


@pytest.mark.timeout(240)
def test_a_slow_broker_is_waited_for(scene: Scene) -> None:
    """Less bandwidth than the traffic and its answers need, and every answer late."""
    stage, _, proxy = scene
    workers = stage.start(2)
    before = [worker.resident_bytes for worker in workers]
    proxy.limit(SLOW_BYTES_A_SECOND)
    proxy.delay(0.1)
    time.sleep(SLOW_SECONDS)
    grown = max(worker.resident_bytes - held for worker, held in zip(workers, before, strict=True))
    proxy.limit(None)
    proxy.delay(0.0)
    took = stage.probe.served_after(time.monotonic(), 2 * CATCH_UP_SECONDS)
    print(f"served {took:.1f} s after the network was good again; grew by {grown:,} bytes")
    assert took < CATCH_UP_SECONDS
    assert grown < MOST_GROWTH_BYTES
    stage.settle()
