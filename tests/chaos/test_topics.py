"""What may happen to the topics: first written while nobody reads, replayed from offset 0, sent a second time, compacted hard, and what is refused:
deleted and created again, or given more partitions."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from stream_app.clock import DAY_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topics import INPUT_TOPICS
from tests.chaos.stage import Stage
from tests.chaos.traffic import PARTITIONS
from tests.support.brokers import Broker
from tests.support.programs import Crew, Installation, LastSnapshots, TopicReader, installation, wait_until
from tests.support.traffic import Sender, delivered, event, one_in_each

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

NOTICED_SECONDS: Final = 25.0
READ_SECONDS: Final = 3.0
EVENTS: Final = 40
QUIET_COUNTS: Final = ("clicks", "optouts", "tickets_opened")


@contextmanager
def admin_of(place: Installation) -> Iterator[Any]:
    """An admin client of an installation's broker."""
    client = KafkaAdminClient(bootstrap_servers=place.address)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.slow
def test_topics_first_written_while_no_worker_runs_are_read_from_their_start(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
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


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_replay_from_offset_0_changes_nothing(stage: Stage, broker: Broker) -> None:
    """The group's offsets are set back to 0 while no worker runs (the embedded broker lets nobody do that); then
    everything is sent again, to two that do."""
    (worker,) = stage.start(1)
    stage.probe.served_after(time.monotonic(), 30)
    worker.signal(signal.SIGTERM)
    assert worker.wait_for_end(10) == 0
    places = [
        TopicPartition(stage.place.topic(name), number)
        for name in INPUT_TOPICS
        for number in range(PARTITIONS)
    ]
    if broker.name != "embedded":
        with admin_of(stage.place) as admin:
            group = stage.place.settings.group_id
            wait_until(lambda: _set_back(admin, group, places), 30, "the offsets are 0")
    stage.crew.start()
    stage.crew.begin()
    stage.traffic.finish()
    stage.sender.send(*(dict(record.event) for record in list(stage.sender.records)))
    stage.sender.flush()
    stage.settle()


def _set_back(admin: Any, group: str, places: list[TopicPartition]) -> bool:
    """Set a group's offsets to 0; not possible before its last member has left."""
    answer = admin.alter_group_offsets(group, {place: OffsetAndMetadata(0, "", None) for place in places})
    return all(error is NoError for error in answer.values())


@pytest.mark.parametrize(
    ("running", "grown"),
    [
        pytest.param(True, True, id="while running, and grown past what was read"),
        pytest.param(False, False, id="between two runs, and shorter", marks=pytest.mark.slow),
        pytest.param(False, True, id="between two runs, and grown", marks=pytest.mark.slow),
        pytest.param(True, False, id="while running, and shorter", marks=pytest.mark.slow),
    ],
)
def test_a_topic_that_was_deleted_and_created_again_is_refused(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, running: bool, grown: bool
) -> None:
    """Its offsets mean other records: to go on would be silently wrong."""
    place = installation(broker.address, redis_server.url, tmp_path, session_timeout="4s")
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender, admin_of(place) as admin:
        worker = crew.start()
        _send_and_count(place, sender, EVENTS)
        if not running:
            worker.signal(signal.SIGTERM)
            assert worker.wait_for_end(10) == 0
        topic = place.topic("email.deliveries")
        admin.delete_topics([topic])
        wait_until(lambda: _is_gone(admin, topic), 20, "the topic is gone")
        wait_until(lambda: _is_created(admin, topic), 20, "the topic is there again")
        with Sender(place.settings) as other:
            other.send(*_deliveries(2 * EVENTS if grown else 1))
        if not running:
            worker = crew.begin()
        assert worker.wait_for_end(NOTICED_SECONDS) == 1
        assert worker.said("was deleted")
        assert worker.said("STREAM_APP_PREFIX")
        assert not worker.said("Traceback")


def test_more_partitions_are_refused(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    """Customers would move to shards that know nothing of them."""
    if broker.name == "embedded":
        pytest.skip("the embedded broker cannot add partitions")
    place = installation(broker.address, redis_server.url, tmp_path, session_timeout="4s")
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender, admin_of(place) as admin:
        worker = crew.start()
        _send_and_count(place, sender, EVENTS)
        admin.create_partitions({place.topic("chats"): PARTITIONS + 2})
        assert worker.wait_for_end(NOTICED_SECONDS) == 1
        assert worker.said("chats has 6 partitions instead of 4")
        again = crew.begin()
        assert again.wait_for_end(NOTICED_SECONDS) == 1
        assert again.said("6 partitions instead of 4")
        assert not again.said("Traceback")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_hard_compaction_of_the_changelogs_changes_nothing(stage: Stage, broker: Broker) -> None:
    """The broker throws away all that it may; then every worker is killed, and others recover from the rest."""
    if not broker.compacts:
        pytest.skip("this broker does not compact; tests/property holds the journal against compaction")
    first, second = stage.start(2)
    changelogs = [f"{stage.place.settings.group_id}-{table}-changelog" for table in ("shards", "merge")]
    hard = {"segment.ms": "500", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"}
    hard |= {"max.compaction.lag.ms": "1000", "file.delete.delay.ms": "100"}
    with admin_of(stage.place) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, hard) for name in changelogs])
    for worker in (first, second):
        time.sleep(12)
        worker.kill()
        stage.crew.begin()
    time.sleep(3)
    for name in changelogs:
        kept, written = _kept(stage.place, name)
        print(f"{name}: {kept} records kept of {written}")
        assert kept < written / 2
    stage.settle()


def _kept(place: Installation, topic: str) -> tuple[int, int]:
    """How many records a topic holds, and how many have been written to it; it is being written to."""
    reader = TopicReader(place.address, topic)
    until = time.monotonic() + READ_SECONDS
    while time.monotonic() < until:
        reader.read()
    reader.close()
    ends = {record.partition: record.offset + 1 for record in reader.records}
    return len(reader.records), sum(ends.values())


def _send_and_count(place: Installation, sender: Sender, count: int) -> None:
    sender.send(*_deliveries(count))
    sender.flush()
    snapshots = LastSnapshots(place.address, place.settings.prefix)
    wait_until(lambda: snapshots.total("all:all", "deliveries") == count, 20, "they are counted")
    snapshots.close()


def _deliveries(count: int) -> list[Any]:
    start_ms = now_ms() - DAY_MS
    people = one_in_each(PARTITIONS)
    return [delivered(people[number % PARTITIONS], start_ms + number) for number in range(count)]


def _is_gone(admin: Any, topic: str) -> bool:
    return topic not in admin.list_topics()


def _is_created(admin: Any, topic: str) -> bool:
    """Create it, unless the broker is still busy with deleting it."""
    try:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    except KafkaError as problem:
        print(f"not yet: {problem!r}")
        return False
    return True
