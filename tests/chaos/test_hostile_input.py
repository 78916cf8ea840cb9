"""Hostile records one to one with good ones: nothing restarts or stalls, every number is exact, every letter right.

A *pulse* is a good event for each shard, ten times a second. While one waits and no snapshot counts it, the shard
or the merger behind it may stand still; the longest such time is printed, beside the longest under good records
alone at the same pace, which is the rhythm of snapshots. Time for which a busy machine had no processor for the
worker, or the broker did not confirm a pulse, is taken off both.
"""

from __future__ import annotations

import json
import signal
import statistics
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import DAY_MS, MINUTE_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.sinks.partitioner import partition_of
from stream_app.sinks.topic_admin import ensure_topics
from tests.oracle import Record
from tests.support.brokers import Broker, Embedded
from tests.support.comparison import to_ms
from tests.support.hostile import Hostile, Hostility
from tests.support.hostile_kinds import KINDS, LARGEST_BYTES
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    LastSnapshots,
    TopicReader,
    Worker,
    installation,
    wait_until,
)
from tests.support.raw_sender import RawSender
from tests.support.settling import Source, dead_letters, reason_of, settle
from tests.support.traffic import Life, Sender, delivered, one_in_each

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

PARTITIONS = 4
A_SECOND = 600
CHUNK = 20
CALM = 2_000
LARGE_BYTES = 20_000
LONGEST_STALL_MS = 1_000
BETWEEN_PULSES_SECONDS = 0.1

Confirmation = Callable[[float], Any]
"""Waits, for so many seconds, until the broker has confirmed a record; returns where it lies."""


class Pulses(threading.Thread):
    """Sends pulses in a thread of its own until told to end, and remembers when."""

    def __init__(self, sender: Sender, worker: Worker, at_ms: int) -> None:
        super().__init__(name="pulses", daemon=True)
        self.sender = sender
        self._worker = worker
        self._at_ms = at_ms
        self._end = threading.Event()
        self.sent_ms: list[int] = []
        self._unconfirmed_ms = 0.0
        self._marks: list[tuple[int, float]] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        """Send one for each shard, again and again."""
        try:
            people = one_in_each(PARTITIONS, "pulse")
            while not self._end.wait(BETWEEN_PULSES_SECONDS):
                self.sent_ms.append(now_ms())
                self._mark()
                sent = time.monotonic()
                self.sender.send(*(delivered(p, self._at_ms, f"pulse-{n}") for n, p in enumerate(people)))
                self.sender.flush()
                self._unconfirmed_ms += (time.monotonic() - sent) * 1_000
                self._mark()
        except BaseException as problem:  # noqa: BLE001 - raised again where the test ends
            self.problem = problem

    def end(self) -> None:
        """Send no more; raises what went wrong."""
        self._end.set()
        self.join(20)
        if self.problem is not None:
            raise self.problem

    def stalls_ms(self, place: Installation) -> list[tuple[int, float]]:
        """When each step of a shard's count was shown, and for how long its next pulse had waited since the one
        before, or since it was sent if that was later; without the time for which the machine or the broker kept
        it waiting."""
        stalls = []
        for shard in self._steps(place).values():
            for (count, before_ms), (_, shown_ms) in pairwise(shard):
                since_ms = max(before_ms, self.sent_ms[count])
                stall_ms = shown_ms - since_ms - (self._kept_by(shown_ms) - self._kept_by(since_ms))
                stalls.append((shown_ms, max(0.0, stall_ms)))
        return stalls

    def _mark(self) -> None:
        """Remember for how long the machine and the broker have kept pulses waiting so far."""
        self._marks.append((now_ms(), kept_waiting_ms(self._worker.process.pid) + self._unconfirmed_ms))

    def _kept_by(self, time_ms: int) -> float:
        """For how long pulses had been kept waiting at the last mark up to this time."""
        return self._marks[max(0, bisect_right(self._marks, time_ms, key=lambda mark: mark[0]) - 1)][1]

    def _steps(self, place: Installation) -> dict[str, list[tuple[int, int]]]:
        """By shard, how many of its pulses were counted and when that was shown, until all are."""
        reader = TopicReader(place.address, place.topic("metrics"), PARTITIONS)
        steps: dict[str, list[tuple[int, int]]] = {f"campaign:pulse-{n}": [(0, 0)] for n in range(PARTITIONS)}

        def all_shown() -> bool:
            for record in reader.read(200):
                if (key := record.key.decode()) in steps:
                    count = json.loads(record.value)["windows"]["total"]["counts"]["deliveries"]
                    if count > steps[key][-1][0]:
                        steps[key].append((count, record.timestamp))
            return all(shard[-1][0] == len(self.sent_ms) for shard in steps.values())

        wait_until(all_shown, 20, "every pulse is counted")
        reader.close()
        return steps


def kept_waiting_ms(pid: int) -> float:
    """For how long a process's event loop was ready and had no processor; 0 where the system does not say."""
    path = Path(f"/proc/{pid}/schedstat")
    return int(path.read_text().split()[1]) / 1e6 if path.exists() else 0.0


@dataclass
class Scene:
    """An installation whose topics take the largest record, with one worker, and what was sent."""

    place: Installation
    worker: Worker
    sender: Sender
    raw_sender: RawSender
    pulses: Pulses
    seed: int
    start_ms: int
    broker_may_lose: bool
    hostile: list[tuple[Hostile, Confirmation]] = field(default_factory=list)

    def send(self, count: int) -> int:
        """Good events alone for a while, then so many with as many hostile records among them, at the same pace;
        returns when the first hostile one was sent."""
        good = Life(self.seed, self.start_ms, DAY_MS).events(CALM + count)[: CALM + count]
        self._pace([[event] for event in good[:CALM]])
        first_ms = now_ms()
        bad = Hostility(self.seed, self.start_ms, first_ms).records(count)
        self._pace([[event, record] for event, record in zip(good[CALM:], bad, strict=True)])
        return first_ms

    def _pace(self, groups: Sequence[Sequence[Json | Hostile]]) -> None:
        begun = time.monotonic()
        sent = 0
        for number, group in enumerate(groups):
            for item in group:
                if isinstance(item, Hostile):
                    self.hostile.append((item, self._send_hostile(number, item)))
                else:
                    self.sender.send(item)
            sent += len(group)
            if number % CHUNK == 0:
                self.sender.flush()
                time.sleep(max(0.0, begun + sent / A_SECOND - time.monotonic()))
        self.sender.flush()

    def _send_hostile(self, number: int, record: Hostile) -> Confirmation:
        partition = number % PARTITIONS
        if record.counts is not None and record.key is not None:
            partition = partition_of(record.key, PARTITIONS)
        headers = [(name, value) for name, value in record.headers if value is not None]
        if len(headers) < len(record.headers) or len(record.value or b"") > LARGE_BYTES:
            sent = self.raw_sender.send(record.topic, partition, record.key, record.value, record.headers)
            return sent.result
        confirm: Confirmation = self.sender.raw(
            record.topic, record.key, record.value, headers, partition
        ).get
        return confirm

    def odd(self) -> Iterator[Record]:
        """The hostile records that count after all, as the oracle reads them."""
        for record, sent in self.hostile:
            if record.counts is not None:
                place = sent(20)
                yield Record(record.topic, place.partition, place.offset, record.counts)


@pytest.fixture
def scene(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int) -> Iterator[Scene]:
    place = installation(
        broker.address, redis_server.url, tmp_path,
        allowed_lateness="30h", retention="400d", snapshot_interval="300ms",
    )  # fmt: skip
    _make_topics(place)
    start_ms = now_ms() - 3 * DAY_MS
    with (
        Crew(place, tmp_path) as crew,
        Sender(place.settings) as sender,
        Sender(place.settings) as pulse_sender,
        RawSender(place.settings) as raw_sender,
    ):
        worker = crew.start()
        pulses = Pulses(pulse_sender, worker, start_ms + DAY_MS)
        may_lose = isinstance(broker, Embedded)
        made = Scene(place, worker, sender, raw_sender, pulses, seed, start_ms, may_lose)
        _let_time_begin(made)
        made.pulses.start()
        try:
            yield made
        finally:
            made.pulses.end()


def _make_topics(place: Installation) -> None:
    """A broker refuses records of 5 MB unless the topic says otherwise; ours may."""
    size = {"max.message.bytes": str(LARGEST_BYTES + MINUTE_MS)}
    ensure_topics(
        place.settings,
        [replace(spec, configs=spec.configs | size) for spec in input_topic_specs(place.settings)],
    )


def _let_time_begin(scene: Scene) -> None:
    """Until every shard has a watermark, the far past is not late."""
    snapshots = LastSnapshots(scene.place.address, scene.place.settings.prefix)
    people = one_in_each(PARTITIONS, "first")

    def begun() -> bool:
        scene.sender.send(*(delivered(person, scene.start_ms, "first") for person in people))
        scene.sender.flush()
        first = snapshots.update().get("campaign:first")
        return first is not None and to_ms(first["watermark"]) > 0

    wait_until(begun, 20, "there is a watermark", every=0.2)
    snapshots.close()


def fire(scene: Scene, count: int) -> None:
    """Send the mixture, and hold everything that was promised against what came of it."""
    begun = time.monotonic()
    first_ms = scene.send(count)
    print(
        f"{count} hostile records of {len(KINDS)} kinds and {CALM + count} good ones: {time.monotonic() - begun:.1f} s"
    )
    time.sleep(1)
    scene.pulses.end()
    settle(scene.place, scene.sender, scene.start_ms + DAY_MS, [*scene.odd(), *scene.pulses.sender.records])
    _assert_letters(scene)
    _assert_no_stall(scene, first_ms)
    log = scene.worker.log.read_text("utf-8", "replace")
    assert scene.worker.alive
    assert (log.count("serving shards"), log.count("Traceback")) == (1, 0), log
    scene.worker.signal(signal.SIGTERM)
    assert scene.worker.wait_for_end(15) == 0


def _place(sent: Confirmation) -> Source:
    metadata = sent(20)
    return Source(metadata.topic, metadata.partition, metadata.offset)


def _assert_letters(scene: Scene) -> None:
    """Each bad record has one letter, with its reason and its bytes, and nothing else has any."""
    sent = {_place(sent): record for record, sent in scene.hostile if record.counts is None}
    letters = dead_letters(scene.place, sent.keys(), scene.broker_may_lose)
    said = {place: reason_of(letter) for place, letter in letters.items()}
    print(f"dead letters: {dict(Counter(said.values()))}")
    assert said.keys() == sent.keys() or (scene.broker_may_lose and said.keys() < sent.keys())
    wrong = {sent[place].kind: reason for place, reason in said.items() if reason != sent[place].reason}
    assert wrong == {}
    for place, letter in letters.items():
        assert (letter.key, letter.value or b"") == (sent[place].key, sent[place].value or b""), sent[
            place
        ].kind


def _assert_no_stall(scene: Scene, first_ms: int) -> None:
    stalls = scene.pulses.stalls_ms(scene.place)
    calm = [stall for shown_ms, stall in stalls if shown_ms < first_ms]
    last_ms = scene.pulses.sent_ms[-1]
    under_fire = [stall for shown_ms, stall in stalls if first_ms <= shown_ms <= last_ms]
    for name, some in (("good records alone", calm), ("hostile ones among them", under_fire)):
        figures = f"median {statistics.median(some):.0f} ms, longest {max(some):.0f} ms"
        print(f"steps of a shard's count, {name}: {figures}")
    assert max(under_fire) - max(calm) < LONGEST_STALL_MS


def test_a_thousand_hostile_records_among_good_ones_stop_and_change_nothing(scene: Scene) -> None:
    fire(scene, 1_000)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_hostile_records_among_good_ones_stop_and_change_nothing(scene: Scene) -> None:
    fire(scene, 10_000)
