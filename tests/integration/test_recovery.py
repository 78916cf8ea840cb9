"""Whatever happens to workers under load, every number is that of the batch: nothing lost, nothing twice.

Moments are drawn from a seed, which is printed; ``CHAOS_SEED=… CHAOS_KILLS=…`` repeats or prolongs a run.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import DAY_MS, HOUR_MS, now_ms
from stream_app.dev import EmbeddedBroker, EmbeddedRedis
from tests.oracle import Result, compute
from tests.oracle.events import time_ms
from tests.support.comparison import differences
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    LastSnapshots,
    TopicReader,
    Worker,
    headers_of,
    installation,
    wait_until,
)
from tests.support.traffic import YEAR, Life, Load, Sender, delivered, event, one_in_each, real_year

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

PARTITIONS = 4
ALL_SHARDS = "serving shards [0, 1, 2, 3]"
LATENESS_MS = DAY_MS
FIRST_LINE, LINES = 77_000, 10_000
QUIET_COUNTS = ("clicks", "optouts", "tickets_opened")
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
KILLS = int(os.environ.get("CHAOS_KILLS") or 2)


@dataclass
class Outcome:
    """What there is when all has been read: the numbers, the oracle's, the alerts and the dead letters."""

    snapshots: dict[str, Json]
    expected: Result
    alert_ids: list[str]
    letters: Counter[tuple[str, str]]
    bad: list[tuple[str, str]]


class Stage:
    """An installation under load, with a crew of workers."""

    def __init__(self, broker: EmbeddedBroker, redis_server: EmbeddedRedis, directory: Path) -> None:
        self.place: Installation = installation(
            broker.address, redis_server.url, directory,
            allowed_lateness="24h", retention="400d", idle_timeout="2s",
        )  # fmt: skip
        self.crew = Crew(self.place, directory)
        self.sender = Sender(self.place.settings)
        self.load = Load(self.sender, _events(), 1_000)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *problem: object) -> None:
        self.crew.__exit__()
        self.load.__exit__()
        self.sender.close()

    def settle(self) -> Outcome:
        """Let all be sent, move time on past everything that waits, and read what the workers make of it."""
        self.load.finish()
        newest = max(time_ms(record.event["event_time"]) for record in self.sender.records)
        end_ms = newest + LATENESS_MS + 3 * HOUR_MS
        self.sender.send(*(delivered(customer, end_ms) for customer in one_in_each(PARTITIONS)))
        self.sender.flush()
        expected = compute(self.sender.records, now_ms=end_ms - LATENESS_MS)
        snapshots = LastSnapshots(self.place.address, self.place.settings.prefix)
        try:
            snapshots.wait_until_exact(expected, 40)
        finally:
            said = Counter(headers_of(r)["reason"] for r in self._read("deadletters"))
            print(f"dead letters: {said}; watermark of all: {snapshots.by_key['all:all']['watermark']}")
        _wait_for_silence(snapshots)
        snapshots.close()
        letters = self._read("deadletters", len(self.load.bad))
        sources = Counter((h["partition"], h["offset"]) for h in map(headers_of, letters))
        alerts = [
            r for kind in ("ctr", "optout", "abandonment", "churn") for r in self._read(f"alerts.{kind}")
        ]
        bad = [(str(m.partition), str(m.offset)) for m in (future.get(5) for future in self.load.bad)]
        ids = [headers_of(record)["ce_id"] for record in alerts]
        return Outcome(snapshots.by_key, expected, ids, sources, bad)

    def _read(self, topic: str, at_least: int = 0) -> list[Any]:
        reader = TopicReader(self.place.address, self.place.topic(topic), PARTITIONS)
        try:
            wait_until(
                lambda: not reader.read(300) and len(reader.records) >= at_least, 10, f"{topic} is read"
            )
            return reader.records
        finally:
            reader.close()


def _events() -> list[Json]:
    """A fortnight of the real year, in which all topics are busy; generated where the year is not here."""
    if YEAR.exists():
        return real_year(FIRST_LINE, LINES)
    return Life(SEED, now_ms() - 20 * DAY_MS, 14 * DAY_MS).events(LINES)


def _wait_for_silence(snapshots: LastSnapshots) -> None:
    """Wait until nothing new has come for twice the snapshot interval."""
    quiet = 0
    while quiet < 7:
        before = len(snapshots.records)
        snapshots.update()
        quiet = quiet + 1 if len(snapshots.records) == before else 0


@pytest.fixture
def stage(broker: EmbeddedBroker, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Stage]:
    print(f"repeat with CHAOS_SEED={SEED} CHAOS_KILLS={KILLS}")
    with Stage(broker, redis_server, tmp_path) as ready:
        yield ready


def assert_exact(outcome: Outcome) -> None:
    """Every number is the batch's, every bad record is a dead letter, and no alert was told twice."""
    assert differences(outcome.snapshots, outcome.expected) == []
    assert set(outcome.letters) == set(outcome.bad)
    assert {i: n for i, n in Counter(outcome.alert_ids).items() if n > 1} == {}


def test_topics_first_written_while_no_worker_runs_are_read_from_their_start(
    broker: EmbeddedBroker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """A worker that recovers must not pass over partitions that nobody has committed yet."""
    place = installation(broker.address, redis_server.url, tmp_path)
    start_ms = now_ms() - DAY_MS
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender:
        worker = crew.start()
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        people = one_in_each(PARTITIONS)
        sender.send(*(delivered(person, start_ms, "before") for person in people))
        sender.flush()
        wait_until(lambda: snapshots.total("all:all", "deliveries") == PARTITIONS, 20, "there is a journal")
        worker.signal(signal.SIGTERM)
        assert worker.wait_for_end(10) == 0
        for person in people:
            sender.send(event("email.clicked", person, start_ms, campaign_id="first"))
            sender.send(event("email.opted_out", person, start_ms))
            sender.send(event("ticket.opened", person, start_ms, ticket_id="t"))
        sender.flush()
        crew.start()
        sender.send(*(delivered(person, start_ms, "after") for person in people))
        sender.flush()
        wait_until(
            lambda: all(snapshots.total("all:all", count) == PARTITIONS for count in QUIET_COUNTS),
            10,
            "what was written meanwhile counts",
        )
        snapshots.close()


def test_a_worker_killed_under_load_again_and_again_loses_nothing_and_counts_nothing_twice(
    stage: Stage,
) -> None:
    chance = random.Random(SEED)
    worker = stage.crew.start()
    with stage.load:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.0, 2.0))
            worker.kill()
            worker = stage.crew.start()
        outcome = stage.settle()
    assert_exact(outcome)
    worker.signal(signal.SIGTERM)
    assert worker.wait_for_end(10) == 0


@pytest.mark.slow
def test_workers_that_join_stand_still_and_are_killed_change_no_number(stage: Stage) -> None:
    chance = random.Random(SEED)
    first = stage.crew.start()
    with stage.load:
        second = stage.crew.start()
        time.sleep(chance.uniform(0.0, 1.0))
        first.signal(signal.SIGSTOP)
        second.wait_for(ALL_SHARDS, 30)
        first.signal(signal.SIGCONT)
        _wait_for_return_or_end(first)
        third = stage.crew.start()
        second.kill()
        first.kill()
        third.wait_for(ALL_SHARDS, 30)
        outcome = stage.settle()
    assert_exact(outcome)


def _wait_for_return_or_end(worker: Worker) -> None:
    """A worker whose partitions went elsewhere joins again, or ends and says why."""
    served = worker.said("serving shards")
    wait_until(lambda: not worker.alive or worker.said("serving shards") > served, 20, "it returns or ends")
    if not worker.alive:
        assert worker.process.returncode == 1
        assert "restart it" in worker.log.read_text()
