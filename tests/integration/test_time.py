"""Event time: what is late, what is future, what comes true by the clock, and what is never called late.

Each test has shards (partition numbers) of its own, so that none moves another's time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import HOUR_MS, MINUTE_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker
from tests.support.comparison import to_ms
from tests.support.programs import (
    Crew,
    Installation,
    LastSnapshots,
    TopicReader,
    headers_of,
    installation,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, event

pytestmark = pytest.mark.integration

PARTITIONS = 10
LATE, FUTURE, CLOCK = 0, 1, 2
QUIET = range(3, PARTITIONS)
IDLE_SECONDS, LATENESS_MS, CART_MS, CHAT_MS = 1.0, 2 * SECOND_MS, 4 * SECOND_MS, 2 * SECOND_MS


@dataclass
class Scene:
    """A running worker, and readers of what it publishes."""

    place: Installation
    crew: Crew
    sender: Sender
    snapshots: LastSnapshots
    letters: TopicReader
    at: int = field(default_factory=now_ms)

    def reasons(self, customer: str) -> Counter[str]:
        """The reasons of a customer's dead letters so far."""
        self.letters.read(100)
        mine = [record for record in self.letters.records if record.key == customer.encode()]
        return Counter(headers_of(record)["reason"] for record in mine)

    def opens(self, campaign: str) -> Any:
        """The opens counted for a campaign so far."""
        return self.snapshots.total(f"campaign:{campaign}", "opens") or 0


@pytest.fixture(scope="module")
def scene(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory: Path = tmp_path_factory.mktemp("time")
    place = installation(
        broker.address, redis_server.url, directory,
        partitions=str(PARTITIONS), allowed_lateness="2s", cart_timeout="4s", chat_timeout="2s",
    )  # fmt: skip
    with Crew(place, directory) as crew, Sender(place.settings) as sender:
        crew.start()
        snapshots = LastSnapshots(place.address, place.settings.prefix, PARTITIONS)
        letters = TopicReader(place.address, place.topic("deadletters"), PARTITIONS)
        yield Scene(place, crew, sender, snapshots, letters)
        snapshots.close()
        letters.close()


def _one_of(partition: int) -> str:
    return next(customers(partition, PARTITIONS))


def opened(customer: str, time_ms: int, campaign: str) -> dict[str, Any]:
    return event("email.opened", customer, time_ms, campaign_id=campaign)


def test_an_event_older_than_the_watermark_is_late_once_the_other_topics_are_idle(scene: Scene) -> None:
    customer = _one_of(LATE)
    scene.sender.send(opened(customer, scene.at - HOUR_MS, "late"), delivered(customer, scene.at, "late"))
    scene.sender.flush()
    wait_until(lambda: scene.opens("late") == 1, 10, "what is older counts while its topic is waited for")
    time.sleep(IDLE_SECONDS + 1)  # now all topics have been silent for the idle timeout
    scene.sender.send(opened(customer, scene.at - HOUR_MS, "late"))
    scene.sender.send(opened(customer, scene.at + SECOND_MS, "late"))
    scene.sender.flush()
    wait_until(lambda: scene.reasons(customer) == {"late": 1}, 10, "what is too old is late")
    wait_until(lambda: scene.opens("late") == 2, 10, "what is in time counts")


def test_more_than_five_minutes_ahead_of_the_clock_is_future(scene: Scene) -> None:
    customer = _one_of(FUTURE)
    scene.sender.send(opened(customer, now_ms() + 6 * MINUTE_MS, "future"))
    scene.sender.send(opened(customer, now_ms() + 4 * MINUTE_MS, "future"))
    scene.sender.flush()
    wait_until(lambda: scene.reasons(customer) == {"future": 1}, 10, "one of them is future")
    wait_until(lambda: scene.opens("future") == 1, 10, "the other one counts")


def test_in_silence_a_cart_is_abandoned_and_a_chat_missed_by_the_clock(scene: Scene) -> None:
    customer, at = _one_of(CLOCK), now_ms()
    about = {"segment": "silent"}
    scene.sender.send(event("cart.updated", customer, at, cart_id="c", value=12.5, currency="EUR", **about))
    scene.sender.send(event("chat.started", customer, at, chat_id="k", **about))
    scene.sender.flush()
    begun = time.monotonic()
    wait_until(lambda: scene.snapshots.total("segment:silent", "chats_missed") == 1, 20, "the chat is missed")
    wait_until(
        lambda: scene.snapshots.total("segment:silent", "carts_abandoned") == 1, 20, "the cart is left"
    )
    waited_ms = (time.monotonic() - begun) * 1000
    assert waited_ms >= CART_MS + LATENESS_MS, "not before the watermark has passed it"
    snapshot = scene.snapshots.by_key["segment:silent"]
    assert snapshot["windows"]["total"]["counts"]["abandoned_value"] == {"EUR": 12.5}
    assert to_ms(snapshot["as_of"]) == (at + CART_MS) // 10_000 * 10_000 + 10_000, "in its own pane"


@pytest.mark.parametrize("moment", ["while the worker runs", "while the worker is away"])
def test_what_was_written_first_to_a_quiet_topic_is_not_late(scene: Scene, moment: str) -> None:
    """Twenty minutes lie between what is in the quiet topic and what is in the busy one, right after it."""
    away = moment.endswith("away")
    campaign = f"quiet-{away}"
    people = [next(islice(customers(partition, PARTITIONS), away, None)) for partition in QUIET]
    start = scene.at - 20 * HOUR_MS + 10 * HOUR_MS * away
    scene.sender.send(*(delivered(person, start, "before") for person in people))
    scene.sender.flush()
    time.sleep(IDLE_SECONDS + 0.5)  # all topics have been silent for longer than the idle timeout
    if away:
        scene.crew.workers[-1].process.terminate()
        scene.crew.workers[-1].wait_for_end()
    scene.sender.send(*(opened(person, start, campaign) for person in people))
    scene.sender.flush()
    busy = [delivered(person, start + 20 * MINUTE_MS, campaign) for person in people for _ in range(100)]
    scene.sender.send(*busy)
    scene.sender.flush()
    if away:
        scene.crew.start()
    key = f"campaign:{campaign}"
    wait_until(lambda: scene.snapshots.total(key, "deliveries") == len(busy), 20, "the busy topic is counted")
    wait_until(
        lambda: scene.opens(campaign) + sum(_late(scene, people)) == len(people), 10, "counted or late"
    )
    assert scene.opens(campaign) == len(people)


def _late(scene: Scene, people: list[str]) -> list[int]:
    return [scene.reasons(person)["late"] for person in people]
