"""Disorder: what comes late within the allowed lateness is exact, what comes later still is a dead letter.

Shuffled events, whole topics hours behind the others, and duplicates days apart, each through a worker of its
own; who comes when is drawn from the seed. What is promised of duplicates: an id is known for the duplicate
window of event time; the same event again later than that is late. A second event that takes an old id after the
window is not promised to be recognised.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import CHATS, EMAIL_CLICKS, EMAIL_OPENS
from tests.oracle import Record
from tests.support.brokers import Broker
from tests.support.comparison import to_ms
from tests.support.programs import Crew, Installation, Json, LastSnapshots, installation, wait_until
from tests.support.settling import dead_letters, place_of, reason_of, settle
from tests.support.traffic import Life, Sender, delivered, one_in_each

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

IDLE_SECONDS = 0.5
STEP_MS = 10 * MINUTE_MS
"""What arrives within a step is confirmed together, in any order: so much less may anything be late."""

Arrivals = Iterable[tuple[int, Json]]
"""Events, and when each arrives, in event time."""


@dataclass
class Scene:
    """An installation with one worker, and a sender."""

    place: Installation
    sender: Sender
    start_ms: int

    @property
    def lateness_ms(self) -> int:
        return self.place.settings.allowed_lateness

    def send(self, arrivals: Arrivals) -> list[Record]:
        """Send in the order of arrival, step by step; returns where everything lies."""
        first, step = len(self.sender.records), None
        for arrival_ms, event in sorted(arrivals, key=lambda pair: pair[0]):
            if step != arrival_ms // STEP_MS:
                self.sender.flush()
                step = arrival_ms // STEP_MS
            self.sender.send(event)
        self.sender.flush()
        return self.sender.records[first:]

    def reach(self, time_ms: int) -> None:
        """Let event time come this far in every shard, so that what is older by more than the lateness is late."""
        snapshots = LastSnapshots(self.place.address, self.place.settings.prefix)
        people = one_in_each(self.place.settings.partitions, "clock")

        def reached() -> bool:
            self.send((time_ms, delivered(person, time_ms, "clock")) for person in people)
            clock = snapshots.update().get("campaign:clock")
            return clock is not None and to_ms(clock["watermark"]) >= time_ms - self.lateness_ms

        wait_until(reached, 20, "time comes so far", every=IDLE_SECONDS)
        snapshots.close()

    def settle(self, newest_ms: int, late: Sequence[Record] = ()) -> None:
        """Every number is the batch's over what is not late, and the late ones, no others, are dead letters."""
        dead = {place_of(self.place, record) for record in late}
        settle(self.place, self.sender, newest_ms, without=dead)
        letters = dead_letters(self.place, dead)
        assert {source: reason_of(letter) for source, letter in letters.items()} == dict.fromkeys(
            dead, "late"
        )


@contextmanager
def playing(broker: Broker, redis_server: EmbeddedRedis, directory: Path, **options: str) -> Iterator[Scene]:
    place = installation(
        broker.address, redis_server.url, directory,
        retention="400d", idle_timeout="500ms", snapshot_interval="300ms", **options,
    )  # fmt: skip
    with Crew(place, directory) as crew, Sender(place.settings) as sender:
        crew.start()
        yield Scene(place, sender, now_ms() - 20 * DAY_MS)
        assert crew.workers[0].alive


def at(event: Json) -> int:
    """When an event of a generated life happened."""
    moment: int = event["event_time"]
    return moment


def topic_of(event: Json) -> str:
    return EVENT_TYPES[event["event_type"]].topic


def test_events_shuffled_within_the_lateness_are_exact(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with playing(broker, redis_server, tmp_path, allowed_lateness="2h") as scene:
        events = Life(seed, scene.start_ms, 12 * HOUR_MS).events(1_500)
        delay_ms = scene.lateness_ms - STEP_MS
        scene.send((at(event) + chance.randrange(delay_ms), event) for event in events)
        scene.settle(scene.start_ms + 12 * HOUR_MS)


def test_whole_topics_three_hours_behind_the_others_are_exact(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    with playing(broker, redis_server, tmp_path, allowed_lateness="6h") as scene:
        events = Life(seed, scene.start_ms, 12 * HOUR_MS).events(1_500)
        behind = {EMAIL_CLICKS: 3 * HOUR_MS, CHATS: 3 * HOUR_MS}
        arrivals = [(at(event) + behind.get(topic_of(event), 0), event) for event in events]
        end_ms = max(map(at, events))
        scene.send(pair for pair in arrivals if pair[0] <= end_ms)
        time.sleep(3 * IDLE_SECONDS)  # no topic is waited for any more
        scene.send(pair for pair in arrivals if pair[0] > end_ms)
        scene.settle(end_ms)


def test_what_is_later_than_the_lateness_is_a_dead_letter_and_the_rest_is_exact(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    with playing(broker, redis_server, tmp_path, allowed_lateness="30m") as scene:
        events = Life(seed, scene.start_ms, 4 * HOUR_MS).events(1_500)
        opens = [event for event in events if topic_of(event) == EMAIL_OPENS]
        end_ms = max(map(at, events))
        edge_ms = end_ms - scene.lateness_ms
        scene.send((at(event), event) for event in events if topic_of(event) != EMAIL_OPENS)
        scene.reach(end_ms)
        random.Random(seed).shuffle(opens)
        late = scene.send((0, event) for event in opens if at(event) < edge_ms)
        # In silence time goes on at the clock's pace: what lies at the edge may be late by then.
        scene.send((0, event) for event in opens if at(event) > edge_ms + STEP_MS)
        assert len(late) > 50
        scene.settle(end_ms, late)


def test_duplicates_days_apart_count_once_and_are_late_when_their_ids_are_forgotten(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    window_ms = 3 * DAY_MS
    with playing(broker, redis_server, tmp_path, allowed_lateness="1h", duplicate_window="3d") as scene:
        events = Life(seed, scene.start_ms, 2 * HOUR_MS).events(600)
        scene.send((at(event), event) for event in events)
        for days in (1, 2):
            then_ms = scene.start_ms + days * DAY_MS
            scene.reach(then_ms)
            again = chance.sample(events, 200)
            scene.send((then_ms, event) for event in again)
            scene.send((then_ms, {**event, "event_time": then_ms}) for event in again)
        forgotten_ms = scene.start_ms + window_ms + DAY_MS
        scene.reach(forgotten_ms)
        late = scene.send((forgotten_ms, event) for event in chance.sample(events, 200))
        scene.settle(forgotten_ms, late)
