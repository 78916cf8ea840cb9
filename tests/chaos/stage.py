"""A stage for chaos: an installation under load with a crew of workers, and what must be true at the end.

A test starts workers, lets the traffic run, does its harm, and calls ``settle``: the traffic ends, time moves on
past everything that waits, and every promise is held against what came out.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis

from stream_app.clock import DAY_MS
from stream_app.ingest.topics import ALERT_TOPICS
from tests.chaos.probe import ProbeWatch
from tests.chaos.traffic import BAD_VALUE, PARTITIONS, Traffic
from tests.oracle import Result, compute
from tests.support.comparison import agree, differences, oracle_settings, to_ms
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    TopicReader,
    Worker,
    headers_of,
    installation,
    wait_until,
)
from tests.support.settling import settled_watermark
from tests.support.traffic import Sender, delivered, one_in_each

LATENESS_MS: Final = DAY_MS
SETTLE_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 2.5
LOOK_AGAIN_SECONDS: Final = 0.5
OPTIONS: Final = {
    "allowed_lateness": "24h",
    "retention": "400d",
    "idle_timeout": "2s",
    "session_timeout": "4s",
}


class Stage:
    """An installation under load. ``chance`` is seeded, and the only source of chance. ``client_may_repeat`` is to be
    set where confirmations are lost and the broker does not know a record that a client writes again."""

    def __init__(
        self, kafka: str, redis_url: str, directory: Path, seed: int, a_second: int = 400, **options: str
    ) -> None:
        self.seed = seed
        self.client_may_repeat = False
        self.chance = random.Random(seed)
        self.place: Installation = installation(kafka, redis_url, directory, **{**OPTIONS, **options})
        self.crew = Crew(self.place, directory)
        self.sender = Sender(self.place.settings)
        self.traffic = Traffic(self.sender, seed, a_second)
        self.probe = ProbeWatch(self.place, self.traffic)

    def start(self, workers: int) -> list[Worker]:
        """Start so many workers, and the traffic when they serve."""
        self.crew.start()
        for _ in range(workers - 1):
            self.crew.start()
        self.traffic.start()
        self.probe.start()
        return self.crew.workers

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *problem: object) -> None:
        self.crew.__exit__()
        self.probe.__exit__()
        self.traffic.__exit__()
        self.sender.close()

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """End the traffic, let time pass everything that waits, and hold every promise against the outcome."""
        self.traffic.finish()
        watermark_ms = settled_watermark(self.traffic.newest_ms, LATENESS_MS)
        end_ms = watermark_ms + LATENESS_MS
        self.sender.send(*(delivered(customer, end_ms) for customer in one_in_each(PARTITIONS)))
        self.sender.flush()
        settings = oracle_settings(self.place.settings)
        expected = compute(self.sender.records, settings=settings, now_ms=watermark_ms)
        self._wait_until_exact(expected, seconds)
        wait_until(lambda: time.monotonic() - self.probe.last_news_at > QUIET_SECONDS, seconds, "all is told")
        self._wait_until_exact(expected, 0.0)
        print(
            f"{len(self.sender.records):,} events and {len(self.traffic.bad):,} bad records sent; all exact"
        )
        self._assert_dead_letters()
        self._assert_alerts()
        self.assert_redis(self.probe.counted())

    def _wait_until_exact(self, expected: Result, seconds: float) -> None:
        """Wait until every window of every key is that of the oracle; fails with what differs."""
        deadline = time.monotonic() + seconds
        while not agree(counted := self.probe.counted(), expected):
            if time.monotonic() >= deadline:
                wrong = differences(counted, expected)
                shown = "\n".join(wrong[:20])
                watermark = counted.get("all:all", {}).get("watermark")
                raise AssertionError(
                    f"{len(wrong)} differences after {seconds} s, watermark {watermark}:\n{shown}"
                )
            time.sleep(LOOK_AGAIN_SECONDS)

    def _assert_dead_letters(self) -> None:
        """Every bad record is a dead letter, once, and nothing else is. A producer whose connection breaks may have
        written a record twice: then it has two places, and a letter for each."""
        places = (future.get(5) for future in self.traffic.bad)
        bad = Counter((place.topic, place.partition, place.offset) for place in places)
        letters = self._written("deadletters", len(bad))
        found: dict[tuple[str, int, int], list[tuple[int, int]]] = defaultdict(list)
        for letter in letters:
            found[_source(headers_of(letter))].append((letter.offset, letter.timestamp))
        assert found.keys() >= bad.keys(), f"missing: {bad.keys() - found.keys()}"
        twice = {source: places for source, places in found.items() if len(places) > 1}
        assert not twice, f"twice, at these offsets and times: {twice}"
        assert {letter.value for letter in letters} == {BAD_VALUE}

    def _assert_alerts(self) -> None:
        """No change of an alert is told twice, none is left out, and every alarm fired and resolved once."""
        records = [record for topic in ALERT_TOPICS for record in self._written(topic)]
        ids = Counter(headers_of(record)["ce_id"] for record in records)
        twice = {name: times for name, times in ids.items() if times > 1}
        assert not twice, f"told twice: {twice}"
        changes = [json.loads(record.value) for record in records]
        broken = _broken_lives(changes)
        assert not broken, "\n".join(broken)
        spikes = [change for change in changes if change["rule"] == "optout-spike"]
        for campaign, fired_ms in self.traffic.alarms.items():
            told = [change for change in spikes if change["key"] == campaign]
            fired = [change for change in told if change["state"] == "firing"]
            assert {to_ms(change["started_at"]) for change in fired} == {fired_ms}, (campaign, told)
            assert [change["state"] for change in told].count("resolved") == 1, (campaign, told)

    def assert_redis(self, snapshots: Mapping[str, Json], seconds: float = 15.0) -> None:
        """Redis shows the last snapshot of every key."""
        client = redis.Redis.from_url(self.place.settings.redis.get_secret_value(), decode_responses=True)
        try:
            wait_until(lambda: not self._wrong_in_redis(client, snapshots), seconds, "Redis is right")
        except AssertionError:
            raise AssertionError(f"wrong in Redis: {self._wrong_in_redis(client, snapshots)[:10]}") from None
        finally:
            client.close()

    def _wrong_in_redis(self, client: Any, snapshots: Mapping[str, Json]) -> list[str]:
        stem = f"{self.place.settings.redis_prefix}metrics:"
        wrong = []
        for name, snapshot in snapshots.items():
            held = client.hgetall(stem + name)
            wanted = {
                f"{window}.{count}": value
                for window, view in snapshot["windows"].items()
                for count, value in view["counts"].items()
                if not isinstance(value, dict)
            }
            wrong += [
                f"{name} {field}: {held.get(field)} instead of {value}"
                for field, value in wanted.items()
                if held.get(field) != str(value)
            ]
        return wrong

    def _written(self, topic: str, at_least: int = 0) -> list[Any]:
        """All records of a topic as the workers wrote them: without what their client wrote again, which is the same
        to the millisecond of its writing."""
        records = self.read(topic, at_least)
        if not self.client_may_repeat:
            return records
        once = {(one.partition, one.timestamp, one.value, tuple(one.headers)): one for one in records}
        print(f"{topic}: {len(records) - len(once)} of {len(records)} records written again by the client")
        return list(once.values())

    def read(self, topic: str, at_least: int = 0) -> list[Any]:
        """All records of a topic, at least so many."""
        reader = TopicReader(self.place.address, self.place.topic(topic), PARTITIONS)
        try:
            wait_until(
                lambda: not reader.read(300) and reader.is_at_end and len(reader.records) >= at_least,
                60,
                f"{topic} is read",
            )
            return reader.records
        finally:
            reader.close()


def _source(headers: Mapping[str, str]) -> tuple[str, int, int]:
    """Where a dead letter's record stands."""
    return headers["topic"], int(headers["partition"]), int(headers["offset"])


def _broken_lives(changes: Sequence[Json]) -> list[str]:
    """What is wrong in the order of an alert's changes, and its life: it fires, may change its severity, resolves, and
    only then may fire again, later."""
    by_fingerprint: dict[str, list[Json]] = defaultdict(list)
    for change in changes:
        if change["state"] != "pending":
            by_fingerprint[change["fingerprint"]].append(change)
    wrong = []
    for life in by_fingerprint.values():
        firing: str | None = None
        for change in life:
            goes_on = firing in (None, change["started_at"])
            if not goes_on or (change["state"] == "resolved" and firing is None):
                told = [(one["state"], one["severity"], one["started_at"], one["as_of"]) for one in life]
                wrong.append(f"{change['rule']} of {change['key']}: {change['state']} after {firing}: {told}")
            firing = None if change["state"] == "resolved" else change["started_at"]
    return wrong
