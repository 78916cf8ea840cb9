"""Records whose value, key and headers are together too large for the dead letters: each has its letter, cut, and once.

One worker for all. Without the cut such a record would end every worker, again at each start.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topic_specs import topic_specs
from stream_app.ingest.topics import DEAD_LETTERS
from stream_app.sinks.dead_letters import read_back
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import Broker, create_roomy_topics
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
from tests.support.raw_sender import RawSender
from tests.support.traffic import Headers, customers, delivered

pytestmark = pytest.mark.integration

PARTITIONS = 4
MOST = 20_000_000
ALICE = next(customers(0, PARTITIONS, "alice"))
SMALL: Headers = [("trace", b"7"), ("truncated", b"says who?")]


def header(size: int) -> Headers:
    return [("huge", bytes(size)), *SMALL]


class Large(NamedTuple):
    """A bad record: what it is, what is left out of its letter, and what it holds."""

    what: str
    cut: str
    value: bytes = b"{"
    key: bytes | None = ALICE.encode()
    headers: Headers = SMALL


LARGE = [
    Large("a header of 18 MB", "headers", headers=header(18_000_000)),
    Large("100,000 headers and a large one", "headers", headers=[("", b"")] * 100_000 + [("last", bytes(17_000_000))]),
    Large("a key of 18 MB", "key", key=b"k" * 18_000_000),
    Large("a value of 18 MB", "value", bytes(18_000_000)),
    Large("a value of 9 MB and a header of 8 MB", "value, headers", bytes(9_000_000), headers=header(8_000_000)),
    Large("8 MB of a key, 6 of a header and 5 of a value", "key, headers, value", bytes(5_000_000), b"k" * 8_000_000,
          header(6_000_000)),
    Large("a header of 2 MB", "", headers=header(2_000_000)),
    Large("a key of 2 MB", "", key=b"k" * 2_000_000),
    Large("300 kB each", "", bytes(300_000), b"k" * 300_000, header(300_000)),
]  # fmt: skip


@dataclass
class Evidence:
    """What was sent, and the dead letters by where their record lies."""

    place: Installation
    sent: dict[str, Any]
    letters: TopicReader
    worker: Worker

    def letter(self, what: str) -> Any:
        """The dead letter of a record, by its headers; there must be one."""
        lies = self.sent[what]
        return next(letter for letter in self.letters.records if _source(letter) == _place(lies))


def _place(metadata: Any) -> tuple[str, str, str]:
    return metadata.topic, str(metadata.partition), str(metadata.offset)


def _source(letter: Any) -> tuple[str, str, str]:
    headers = headers_of(letter)
    return headers["topic"], headers["partition"], headers["offset"]


@pytest.fixture(scope="module")
def evidence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    directory: Path = tmp_path_factory.mktemp("oversized")
    place = installation(broker.address, redis_server.url, directory)
    create_roomy_topics(place.settings)
    with Crew(place, directory) as crew, RawSender(place.settings) as sender:
        worker = crew.start()
        reader = TopicReader(place.address, place.topic("deadletters"), max_bytes=2 * MOST)
        sent = {}
        for large in LARGE:
            metadata = sender.send("email.opens", 0, large.key, large.value, large.headers).result(30)
            sent[large.what] = metadata
        wait_for_letters(reader, len(LARGE))
        good = json.dumps(delivered(ALICE, now_ms(), "good")).encode()
        sender.send("email.deliveries", 0, ALICE.encode(), good).result(20)
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        wait_until(lambda: snapshots.total("campaign:good", "deliveries") == 1, 20, "the good record counts")
        snapshots.close()
        yield Evidence(place, sent, reader, worker)
        reader.close()


def wait_for_letters(reader: TopicReader, number: int) -> None:
    wait_until(lambda: reader.read(100) is None or len(reader.records) >= number, 40, "the dead letters")


@pytest.mark.parametrize("large", LARGE, ids=[large.what.replace(" ", "-") for large in LARGE])
def test_a_letter_keeps_what_fits_and_names_what_does_not(evidence: Evidence, large: Large) -> None:
    letter = evidence.letter(large.what)
    cut = large.cut.split(", ") if large.cut else []
    assert (letter.value or b"") == (b"" if "value" in cut else large.value)
    assert letter.key == (None if "key" in cut else large.key)
    theirs = (
        []
        if "headers" in cut
        else [(name, content) for name, content in large.headers if name != "truncated"]
    )
    names = ["reason", "detail", "topic", "partition", "offset", *(["truncated"] if cut else [])]
    assert [name for name, _ in letter.headers[: len(names)]] == names
    assert letter.headers[len(names) :] == theirs
    assert headers_of(letter).get("truncated", "").split(":")[0] == large.cut


def test_each_has_one_letter_and_the_worker_lives(evidence: Evidence) -> None:
    evidence.letters.read(500)
    assert Counter(map(_source, evidence.letters.records)) == Counter(map(_place, evidence.sent.values()))
    assert evidence.worker.alive


def test_a_worker_that_takes_over_finds_them_all(evidence: Evidence) -> None:
    """As after a crash between the letters and the journal's epoch."""
    found = asyncio.run(read_back(evidence.place.settings, {0: 0}))
    assert found == {0: {("email.opens", lies.offset) for lies in evidence.sent.values()}}


def test_a_topic_of_before_that_takes_a_megabyte_gets_letters_that_fit(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    if broker.name == "embedded":
        pytest.skip("the embedded broker acts on no topic's max.message.bytes")
    place = installation(broker.address, redis_server.url, tmp_path)
    create_roomy_topics(place.settings)
    specs = topic_specs(place.settings)
    name = place.topic(DEAD_LETTERS)
    ensure_topics(place.settings, [replace(spec, configs={}) for spec in specs if spec.name == name])
    fitting = Large("fits", "", bytes(300_000), b"k" * 300_000, header(300_000))
    cut = Large("does not", "headers", bytes(400_000), headers=header(700_000))
    with Crew(place, tmp_path) as crew, RawSender(place.settings) as sender:
        worker = crew.start()
        for large in (fitting, cut):
            sender.send("email.opens", 0, large.key, large.value, large.headers).result(30)
        reader = TopicReader(place.address, name, max_bytes=MOST)
        wait_for_letters(reader, 2)
        reader.close()
        whole, rest = reader.records
        assert (whole.key, whole.value, len(whole.headers)) == (fitting.key, fitting.value, 5 + 2)
        assert (rest.key, rest.value, len(rest.headers)) == (cut.key, cut.value, 5 + 1)
        assert headers_of(rest)["truncated"].startswith("headers: ")
        assert worker.alive
