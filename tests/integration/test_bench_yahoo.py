"""The Yahoo benchmark's program is right, also after kill -9; its judge lets nothing pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from kafka import KafkaProducer

from benchmarks.yahoo.judge import counted, lateness, problems
from benchmarks.yahoo.world import WINDOW_MS, World
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topic_specs import TopicSpec
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import Broker
from tests.support.programs import ROOT, wait_until

pytestmark = pytest.mark.integration

EVENTS = 20_000
PARTITIONS = 4
START_MS = 1_763_800_000_000


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def client(server: EmbeddedRedis) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, killed at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.yahoo.program", "worker", "--without-web"],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=environment,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.slow
def test_exact_after_a_kill(broker: Broker, server: EmbeddedRedis, client: Any, tmp_path: Path) -> None:
    world, prefix = World(7, skew=True), f"test-{uuid4().hex[:12]}."
    ensure_topics(Settings(kafka=broker.address), [TopicSpec(f"{prefix}ad-events", PARTITIONS, exact=True)])
    client.sadd("campaigns", *world.campaigns)
    client.mset(world.ads)
    producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False, linger_ms=5)
    environment = {
        **os.environ,
        "BENCH_KAFKA": broker.address,
        "BENCH_REDIS": server.url,
        "BENCH_PREFIX": prefix,
        "BENCH_GROUP": prefix,
        "BENCH_STATE": str(tmp_path / "state"),
    }

    def send(first: int, last: int) -> None:
        for number in range(first, last):
            at_ms = START_MS + number * 10
            producer.send(f"{prefix}ad-events", world.event(at_ms), partition=number % PARTITIONS)
        producer.flush(60)

    send(0, EVENTS // 2)
    with running(environment, tmp_path / "log.txt"):
        wait_until(lambda: counted(client, world.campaigns) > 0, 60, "the first views are shown")
        send(EVENTS // 2, EVENTS)
    with running(environment, tmp_path / "log.txt") as program:
        wanted = sum(sum(windows.values()) for windows in world.seen.values())
        wait_until(
            lambda: counted(client, world.campaigns) >= wanted or program.poll() is not None, 90, "all views"
        )
    producer.close()
    assert list(problems(client, world.campaigns, world.seen)) == []


@pytest.fixture
def right(client: Any) -> World:
    """A world whose views are all in Redis."""
    world = World(7)
    for number in range(2_000):
        world.event(START_MS + number * 20)
    client.sadd("campaigns", *world.campaigns)
    for campaign, windows in world.seen.items():
        for window, count in windows.items():
            client.hset(campaign, mapping={window: f"{campaign}/{window}", "windows": f"{campaign}/list"})
            client.lpush(f"{campaign}/list", window)
            written = int(window) + WINDOW_MS + 250
            client.hset(f"{campaign}/{window}", mapping={"seen_count": count, "time_updated": written})
    return world


def test_what_is_right_is_right(client: Any, right: World) -> None:
    assert list(problems(client, right.campaigns, right.seen)) == []
    assert set(lateness(client, right.campaigns)) == {250}


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (("HINCRBY", "{campaign}/{window}", "seen_count", "1"), 1),
        (("HDEL", "{campaign}", "{window}"), 1),
        (("HSET", "{campaign}", "0", "surplus"), 1),
        (("LPUSH", "{campaign}/list", "{window}"), 1),
        (("SADD", "campaigns", "another"), 1),
        (("DEL", "{campaign}"), 5),  # each of its windows, and the list
    ],
)
def test_a_mistake_is_told(client: Any, right: World, mistake: tuple[str, ...], told: int) -> None:
    campaign, windows = next((one, held) for one, held in right.seen.items() if len(held) == 4)
    names = {"campaign": campaign, "window": next(iter(windows))}
    client.execute_command(*(part.format(**names) for part in mistake))
    assert len(list(problems(client, right.campaigns, right.seen))) == told
