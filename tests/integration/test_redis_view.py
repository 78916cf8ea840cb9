"""Redis is a view: gone, emptied or restarted, it is right again within ten seconds, and counting goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from stream_app.clock import DAY_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedBroker, EmbeddedRedis
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    LastSnapshots,
    Worker,
    installation,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, event, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
SOON = 10.0
START = now_ms() // 10_000 * 10_000 - DAY_MS
LEAVING = next(customers(0, PARTITIONS, "leaving"))
RULES = """
[[rule]]
name = "optout-rate"
kind = "optout"
dimension = "campaign"
metric = "optout_rate"
window = "total"
warning = 0.1
resolve = 0.05
minimum_denominator = 10

[churn]
name = "churn-risk"
bands = { watch = 0.5, at_risk = 0.7, lost = 0.9 }
alert_from = "at_risk"
resolve = 0.45
severity = { at_risk = "warning", lost = "critical" }
"""


@dataclass
class Scene:
    """A worker that counts, and a Redis that comes and goes."""

    place: Installation
    worker: Worker
    server: EmbeddedRedis
    sender: Sender
    snapshots: LastSnapshots
    sent: int = 0

    def deliver(self, count: int) -> None:
        """Send deliveries and wait until they are on the metrics topic."""
        people = one_in_each(PARTITIONS)
        self.sender.send(*(delivered(people[n % PARTITIONS], START, "counted") for n in range(count)))
        self.sender.flush()
        self.sent += count
        wait_until(
            lambda: self.snapshots.total("campaign:counted", "deliveries") == self.sent,
            SOON,
            "all is counted",
        )

    def wait_until_right(self) -> None:
        """Wait until Redis shows what the metrics topic says, and who is at risk and what fires."""
        client = redis.Redis.from_url(self.server.url, decode_responses=True, socket_timeout=2)
        wait_until(lambda: self._wrong(client) == [], SOON, "the view is right")
        client.close()

    def _wrong(self, client: Any) -> list[str]:
        prefix = self.place.settings.redis_prefix
        try:
            wrong = [
                name for name, s in self.snapshots.update().items() if not _shown(client, prefix, name, s)
            ]
            firing = [json.loads(data)["kind"] for data in client.hvals(f"{prefix}alerts:firing")]
            if sorted(firing) != ["churn", "optout"]:
                wrong.append("alerts:firing")
            if client.zrange(f"{prefix}churn", 0, -1) != [LEAVING]:
                wrong.append("churn")
            if client.hget(f"{prefix}customer:{LEAVING}", "band") != "at_risk":
                wrong.append("customer")
        except redis.RedisError as problem:
            return [str(problem)]
        return wrong


def _shown(client: Any, prefix: str, name: str, snapshot: Json) -> bool:
    dimension, _, key = name.partition(":")
    fields = client.hgetall(f"{prefix}metrics:{name}")
    wanted = {
        f"{window}.{count}": value
        for window, view in snapshot["windows"].items()
        for count, value in view["counts"].items()
    }
    same = bool(fields) and all(json.loads(fields[field]) == value for field, value in wanted.items())
    listed = client.zscore(f"{prefix}index:{dimension}", key) is not None
    return (
        same and listed and fields["as_of"] == snapshot["as_of"] and client.ttl(f"{prefix}metrics:{name}") > 0
    )


@pytest.fixture(scope="module")
def scene(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory: Path = tmp_path_factory.mktemp("redis_view")
    rules = directory / "rules.toml"
    rules.write_text(RULES, "utf-8")
    with EmbeddedRedis() as server:
        server.stop()  # it has an address, and nothing is there
        place = installation(broker.address, server.url, directory, rules=str(rules))
        with Crew(place, directory) as crew, Sender(place.settings) as sender:
            worker = crew.start()
            snapshots = LastSnapshots(place.address, place.settings.prefix)
            _begin(sender)
            yield Scene(place, worker, server, sender, snapshots)
            assert worker.alive, worker.log.read_text()
            snapshots.close()


def _begin(sender: Sender) -> None:
    """A campaign that people leave, and a customer who slips away."""
    for number in range(40):
        sender.send(delivered(f"person-{number}", START, "bad"))
        if number % 2:
            sender.send(event("email.opted_out", f"person-{number}", START + SECOND_MS, campaign_id="bad"))
    sender.send(event("email.opened", LEAVING, START, campaign_id="first"))
    sender.send(*(delivered(LEAVING, START + n * SECOND_MS, f"unread-{n}") for n in range(1, 7)))
    sender.send(event("ticket.opened", LEAVING, START + SECOND_MS, ticket_id="t"))
    sender.flush()


def test_counting_starts_without_redis_and_the_view_is_right_when_it_comes(scene: Scene) -> None:
    scene.deliver(10)
    assert scene.worker.said("Redis is away") >= 1
    scene.server.start()
    scene.wait_until_right()


def test_an_emptied_redis_is_right_again_without_a_restart(scene: Scene) -> None:
    scene.server.start()
    scene.wait_until_right()
    with redis.Redis.from_url(scene.server.url) as client:
        client.flushall()
    scene.wait_until_right()


def test_counting_goes_on_while_redis_is_away_and_is_shown_when_it_is_back_and_empty(scene: Scene) -> None:
    scene.server.start()
    scene.deliver(10)
    scene.server.stop()
    scene.deliver(10)
    scene.server.start()
    scene.wait_until_right()


def test_a_redis_that_hangs_stops_no_counting(scene: Scene) -> None:
    scene.server.start()
    scene.server.pause()
    try:
        scene.deliver(10)
    finally:
        scene.server.resume()
    scene.wait_until_right()
