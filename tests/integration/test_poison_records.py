"""Records that could stop a worker before it sees them: wrong header names, all codecs, damaged batches.

One worker for all: what is sent is counted, and nothing ends the worker but a batch that nobody can read.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import IllegalStateError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c
from faust.types import TP

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.failure import Failure
from stream_app.ingest.batches import BatchConsumer, BatchConsumerThread
from stream_app.ingest.records import ForgivingBatches, NamedPartitionRecords
from tests.support.brokers import Broker
from tests.support.hostile_kinds import WrongName
from tests.support.programs import (
    Crew,
    Installation,
    LastSnapshots,
    TopicReader,
    Worker,
    headers_of,
    installation,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
CODECS = ("gzip", "lz4", "snappy", "zstd")
EACH = 50
CHECKSUM, CODEC, FIRST_RECORD = 17, 22, 61
"""Where they lie in a batch; the checksum is of all that follows it."""
ALICE = next(customers(0, PARTITIONS, "alice"))


def delivery(campaign: str, customer: str = ALICE) -> bytes:
    return json.dumps(delivered(customer, now_ms(), campaign)).encode()


# --- With a worker ---


@dataclass
class Evidence:
    place: Installation
    worker: Worker
    snapshots: LastSnapshots
    letters: TopicReader

    def counts(self, campaign: str, deliveries: int) -> None:
        wait_until(
            lambda: self.snapshots.total(f"campaign:{campaign}", "deliveries") == deliveries, 10, campaign
        )


@pytest.fixture(scope="module")
def evidence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    directory: Path = tmp_path_factory.mktemp("poison")
    place = installation(broker.address, redis_server.url, directory)
    with Crew(place, directory) as crew:
        worker = crew.start()
        with Sender(place.settings) as sender:
            send_with_wrong_names(sender)
        asyncio.run(send_compressed(place))
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        letters = TopicReader(place.address, place.topic("deadletters"))
        yield Evidence(place, worker, snapshots, letters)
        snapshots.close()
        letters.close()


def send_with_wrong_names(sender: Sender) -> None:
    """Wrong names in the middle of a batch, with good records around them; one has a wrong value as well."""
    wrong = [("before", b"1"), (WrongName("na?me"), b"2"), (WrongName("?"), b"3")]
    for number in range(30):
        headers = wrong if number % 10 == 5 else [("right", b"4")]
        sender.raw("email.deliveries", ALICE.encode(), delivery("names"), headers)
    sender.raw("email.deliveries", ALICE.encode(), b"{", wrong)
    sender.flush()


async def send_compressed(place: Installation) -> None:
    people = one_in_each(PARTITIONS)
    for codec in CODECS:
        producer = AIOKafkaProducer(bootstrap_servers=place.address, compression_type=codec, linger_ms=50)
        await producer.start()
        try:
            sent = [
                await producer.send(
                    place.topic("email.deliveries"),
                    delivery(codec, people[number % PARTITIONS]),
                    key=people[number % PARTITIONS].encode(),
                    partition=number % PARTITIONS,
                )
                for number in range(EACH)
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()


def test_records_whose_headers_have_wrong_names_count_once_and_so_do_their_neighbours(
    evidence: Evidence,
) -> None:
    evidence.counts("names", 30)


def test_a_bad_record_whose_headers_have_wrong_names_is_a_dead_letter(evidence: Evidence) -> None:
    wait_until(lambda: evidence.letters.read(100) is None or evidence.letters.records, 10, "a dead letter")
    (letter,) = evidence.letters.records
    headers = headers_of(letter)
    assert letter.value == b"{"
    assert headers["reason"] == "invalid_json"
    assert (headers["before"], headers["na\ufffdme"], headers["\ufffd"]) == ("1", "2", "3")


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_records_count(evidence: Evidence, codec: str) -> None:
    evidence.counts(codec, EACH)


@pytest.mark.embedded
def test_a_batch_that_nobody_can_read_ends_the_worker_with_a_sentence(evidence: Evidence) -> None:
    """The last of the tests with the worker. Apache Kafka looks into batches and does not take such a one."""
    assert evidence.worker.alive
    asyncio.run(send_damaged(evidence.place))
    assert evidence.worker.wait_for_end(15) == 1
    said = evidence.worker.log.read_text().splitlines()
    (reason,) = [line for line in said if line.startswith("stream-app worker: ")]
    assert f"{evidence.place.topic('email.opens')}, partition 2 cannot be read on at offset 0" in reason


async def send_damaged(place: Installation) -> None:
    """A record that says it is longer than it is, under a checksum that is right."""
    producer = AIOKafkaProducer(bootstrap_servers=place.address)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch.append(key=b"key", value=b"value", timestamp=now_ms())
        batch._buffer = packed(["fine"], longer_by=2)
        await (await producer.send_batch(batch, place.topic("email.opens"), partition=2))
    finally:
        await producer.stop()


# --- Bytes ---


def packed(names: list[str], codec: int = 0, base: int = 0, longer_by: int = 0, marked: int = 0) -> bytearray:
    """A batch with a record for each name of a header, at offsets from ``base`` on."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1_000_000,
    )  # fmt: skip
    for number, name in enumerate(names):
        builder.append(number, 1_000, b"key", b"value", [(name, b"x")])
    data: bytearray = builder.build()
    data[FIRST_RECORD] += longer_by
    data[CODEC] |= marked
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">I", data, CHECKSUM, calc_crc32c(bytes(data[CHECKSUM + 4 :])))
    return data


def read(data: bytes, offset: int = 0) -> Any:
    batches = ForgivingBatches(data)
    return NamedPartitionRecords(
        TopicPartition("t", 3), batches, None, offset, None, None, True, READ_COMMITTED
    )


@pytest.mark.parametrize("codec", range(5))
def test_wrong_names_come_once_in_order_and_the_batches_around_them_too(codec: int) -> None:
    names = ["a", WrongName("b?"), "c", WrongName("d?")]
    first, rest = packed(["x", "y"], codec), packed(names, codec, base=2) + packed(["z"], codec, base=6)
    found = [(record.offset, record.headers[0][0]) for record in read(bytes(first + rest))]
    assert found == list(enumerate(["x", "y", "a", "b\ufffd", "c", "d\ufffd", "z"]))
    assert [record.offset for record in read(bytes(rest), offset=4)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (packed(["a"], longer_by=2), "record"),
        (packed(["a"], marked=5), "codec"),
        (packed(["a"], marked=4), ""),
        (packed(["a"])[:-1] + b"!", "CRC"),
        (bytearray(80), "size"),
    ],
    ids=["length", "unknown-codec", "not-what-the-codec-says", "checksum", "zeros"],
)
def test_what_cannot_be_unpacked_is_a_failure_that_names_the_place(data: bytearray, says: str) -> None:
    good = packed(["a", WrongName("b?")])
    struct.pack_into(">q", data, 0, 2)
    records = read(bytes(good + data))
    assert [next(records).offset, next(records).offset] == [0, 1]
    with pytest.raises(Failure, match=f"^t, partition 3 cannot be read on at offset 2: .*{says}"):
        next(records)


# --- Seeks amid a rebalance ---


class MovingConsumer:
    """aiokafka's consumer as far as a seek goes; some partitions go elsewhere while it waits."""

    def __init__(self, held: set[TP], leaving: set[TP]) -> None:
        self.held = held
        self.leaving = leaving
        self.at: dict[TP, int] = {}

    def assignment(self) -> set[TP]:
        return self.held

    def seek(self, place: TP, offset: int) -> None:
        assert place in self.held
        self.at[place] = offset

    async def position(self, place: TP) -> int:
        self.held = self.held - self.leaving
        if place in self.leaving or place.topic == "broken":
            raise IllegalStateError(place)
        return self.at[place]


def seek(consumer: MovingConsumer, offsets: dict[TP, int]) -> None:
    thread: Any = object.__new__(BatchConsumerThread)
    thread._handed_over = {}
    thread.app = SimpleNamespace(conf=SimpleNamespace(broker_request_timeout=5))
    thread.consumer = SimpleNamespace(_read_offset={})
    thread.log = SimpleNamespace(dev=lambda *_: None, warning=lambda *_: None)
    asyncio.run(thread._seek_assigned(consumer, offsets))


def test_partitions_that_went_elsewhere_are_left_out_of_a_seek() -> None:
    gone, going, ours = (TP("t", number) for number in range(3))
    consumer = MovingConsumer({going, ours}, leaving={going})
    seek(consumer, {gone: 1, going: 2, ours: 3})
    assert consumer.at[ours] == 3


def test_a_seek_that_fails_for_a_partition_of_ours_is_an_error() -> None:
    broken = TP("broken", 0)
    with pytest.raises(IllegalStateError):
        seek(MovingConsumer({broken}, leaving=set()), {broken: 1})


@pytest.mark.parametrize(
    "problem",
    [IllegalStateError("Partition is not assigned"), AssertionError("No partitions are currently assigned")],
    ids=["moved", "none"],
)
def test_committed_offsets_out_of_reach_amid_a_rebalance_are_a_warning_and_journals_still_count(
    problem: Exception,
) -> None:
    place = TP("t", 0)
    warnings: list[Any] = []
    sought: dict[TP, int] = {}

    async def raise_it() -> None:
        raise problem

    async def seek_assigned(offsets: dict[TP, int]) -> None:
        sought.update(offsets)

    consumer: Any = object.__new__(BatchConsumer)
    consumer.__post_init__()
    consumer._read_offset = {}
    consumer.seek_to_committed = raise_it
    consumer.assignment = lambda: {place, TP("unknown", 0)}
    consumer._is_changelog_tp = lambda _: False
    consumer.position_of = {place: 7}.get
    consumer._thread = SimpleNamespace(seek_assigned=seek_assigned)
    consumer.log = SimpleNamespace(warning=lambda *said: warnings.append(said))
    asyncio.run(consumer._seek_back())
    assert warnings[0][1] is problem
    assert sought == {place: 7}
    with pytest.raises(type(problem)):
        asyncio.run(consumer.perform_seek())
