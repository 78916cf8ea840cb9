"""SIGTERM at any moment: a worker drains, flushes, commits and ends within 10 seconds."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from stream_app.clock import DAY_MS, HOUR_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from tests.oracle.events import time_ms
from tests.support.brokers import Broker, BrokerMaker
from tests.support.journals import Offsets, applied_offsets
from tests.support.programs import Crew, Installation, Worker, installation
from tests.support.settling import settle
from tests.support.stuck_worker import CLOSING
from tests.support.traffic import Life, Load, Sender

pytestmark = pytest.mark.integration

PARTITIONS = 4
LIMIT = 10.0
A_SECOND = 1_000


@contextmanager
def _worker(
    place: Installation, log: Path, program: Sequence[str] = ("stream_app", "worker")
) -> Iterator[Worker]:
    worker = Worker(place.environment, log, program)
    try:
        yield worker
    finally:
        worker.kill()


def _seconds_to_end(worker: Worker) -> float:
    """Ask it to stop; returns how long it took to end with 0."""
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait_for_end(2 * LIMIT) == 0, worker.log.read_text("utf-8")
    return time.monotonic() - asked


def _committed(place: Installation) -> Offsets:
    """What the group has committed of the inputs and the partials, where that is not 0."""
    topics = (*INPUT_TOPICS, PARTIALS)
    places = [TopicPartition(place.topic(topic), n) for topic in topics for n in range(PARTITIONS)]
    group = place.settings.group_id
    admin = KafkaAdminClient(bootstrap_servers=place.address)
    try:
        found = admin.list_group_offsets({group: places})[group]
    finally:
        admin.close()
    prefix = place.settings.prefix
    return {
        (at.topic.removeprefix(prefix), at.partition): h.offset for at, h in found.items() if h.offset > 0
    }


def test_under_load_it_ends_in_time_and_commits_all_that_it_counted(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path, allowed_lateness="24h")
    start_ms = now_ms() - 3 * DAY_MS
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender:
        first = crew.start()
        load = Load(sender, Life(3, start_ms, 20 * HOUR_MS).events(8_000), A_SECOND)
        with load:
            time.sleep(4)
            seconds = _seconds_to_end(first)
            print(f"ended {seconds:.2f} s after SIGTERM at {A_SECOND} events/s")
            assert seconds < LIMIT
            committed, applied = _committed(place), applied_offsets(place)
            assert len(applied) > PARTITIONS
            assert committed == applied
            crew.start()
            load.finish()
        newest_ms = max(time_ms(record.event["event_time"]) for record in sender.records)
        settle(place, sender, newest_ms)


@pytest.mark.slow
def test_it_ends_in_time_also_when_kafka_does_not_answer_and_when_it_is_asked_again(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with new_broker() as own:
        place = installation(own.address, redis_server.url, tmp_path)
        with _worker(place, tmp_path / "log") as worker, Sender(place.settings) as sender:
            worker.wait_for("worker started", 60)
            with Load(sender, Life(4, now_ms() - HOUR_MS, HOUR_MS).events(5_000), A_SECOND):
                time.sleep(2)
                own.pause()  # with changes that are not in the journal yet
                try:
                    asked = time.monotonic()
                    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                        worker.signal(number)
                        time.sleep(0.5)
                    assert worker.wait_for_end(2 * LIMIT) == 0
                    assert time.monotonic() - asked < LIMIT
                finally:
                    own.resume()
        log = worker.log.read_text("utf-8")
        assert "did not stop within 8 s; ended as it is" in log
        assert log.count("worker stops") == 1
        assert "Traceback" not in log and "never awaited" not in log


@pytest.mark.parametrize("said", ["liveness and readiness", "serving shards"])
def test_it_ends_in_time_also_while_it_starts(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, said: str
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    with _worker(place, tmp_path / "log") as worker:
        worker.wait_for(said, 60)
        assert _seconds_to_end(worker) < LIMIT
        assert not worker.said("Traceback")


@pytest.mark.slow
def test_it_ends_in_time_also_when_kafka_stops_answering_while_it_starts(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with new_broker() as own:
        place = installation(own.address, redis_server.url, tmp_path)
        with _worker(place, tmp_path / "log") as worker:
            worker.wait_for("liveness and readiness", 60)
            own.pause()
            try:
                time.sleep(3)
                assert _seconds_to_end(worker) < LIMIT
            finally:
                own.resume()
            assert not worker.said("Traceback")


@pytest.mark.slow
def test_it_ends_in_time_also_when_its_store_does_not_close(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path, store="memory")
    with _worker(place, tmp_path / "log", ("tests.support.stuck_worker", CLOSING)) as worker:
        worker.wait_for("serving shards", 60)
        assert _seconds_to_end(worker) < LIMIT
        assert worker.said("did not end within 9.5 s; ended as it is") == 1
        assert not worker.said("Traceback")
