"""Bad records among good ones: each in the dead letters, once and soon, with its bytes; the good ones count.

One worker and one stream of records for all tests: every bad record has a good one before and after it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream_app.clock import HOUR_MS, MINUTE_MS, now_ms, to_rfc3339
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.decode import Reason
from tests.support.brokers import Broker, create_roomy_topics
from tests.support.comparison import to_ms
from tests.support.programs import (
    Crew,
    Installation,
    LastSnapshots,
    TopicReader,
    headers_of,
    installation,
    run_program,
    wait_until,
)
from tests.support.raw_sender import RawSender
from tests.support.traffic import Headers, Sender, customers, delivered, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
SOON_MS = 10_000
"""A letter is there within a second on a machine of one's own; this one is shared with other tests and their brokers."""
ALICE = next(customers(0, PARTITIONS, "alice"))
NOW = now_ms()
WILD_HEADERS: Headers = [
    ("reason", b"late"), ("offset", b"-1"), ("", b"no name"), ("bytes", b"\xff\xfe\x00"),
    *((f"header-{number}", b"x" * number) for number in range(100)), ("header-1", b"again"),
]  # fmt: skip


class Bad(NamedTuple):
    """A record that must not count: where it goes, what it holds, and what is said of it."""

    what: str
    reason: str
    says: str
    value: bytes | None
    topic: str = "email.opens"
    key: bytes | None = ALICE.encode()
    headers: Headers = ()


def opened(**changes: Any) -> bytes:
    """The JSON of a valid open, with changes; None leaves a field out."""
    given = {
        "event_id": "open-1",
        "event_type": "email.opened",
        "event_time": to_rfc3339(NOW),
        "customer_id": ALICE,
        "campaign_id": "bad",
        **changes,
    }
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


def cart(**changes: Any) -> bytes:
    return opened(event_type="cart.updated", campaign_id=None, cart_id="cart", **changes)


def ticket(event_type: str, **changes: Any) -> bytes:
    return opened(event_type=event_type, campaign_id=None, ticket_id="ticket", **changes)


def cloud(**changes: Any) -> bytes:
    """The JSON of a structured CloudEvent, with changes."""
    given: dict[str, Any] = {"specversion": "1.0", "id": "1", "type": "email.opened", "source": "/t"}
    given |= {"time": to_rfc3339(NOW), "subject": ALICE, "data": {"campaign_id": "bad"}} | changes
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/t"), ("ce_subject", ALICE.encode())]

BAD = [
    Bad("a tombstone", "invalid_json", "empty", None),
    Bad("an empty value", "invalid_json", "empty", b""),
    Bad("bytes that are no text", "invalid_json", "", b"\x00\x01\x02\xff"),
    Bad("JSON cut off", "invalid_json", "truncated", opened()[:-20]),
    Bad("two objects", "invalid_json", "trailing", opened() + opened()),
    Bad("not UTF-8", "invalid_json", "", opened().replace(b"open-1", b"open-\xff\xfe")),
    Bad("a lone surrogate", "invalid_json", "", opened().replace(b"open-1", b"open-\\ud800")),
    Bad("NaN", "invalid_json", "", cart(value=1).replace(b": 1}", b": NaN}"), "carts"),
    Bad("brackets 10,000 deep", "invalid_json", "deep", b"[" * 10_000),
    Bad("a field 10,000 deep", "invalid_json", "deep", opened()[:-1] + b', "x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    Bad("a list", "invalid_event", "object", b"[]"),
    Bad("a number", "invalid_event", "object", b"17"),
    Bad("no id", "invalid_event", "event_id", opened(event_id=None)),
    Bad("an empty id", "invalid_event", "event_id", opened(event_id="")),
    Bad("an id of 10 kB", "invalid_event", "event_id", opened(event_id="x" * 10_000)),
    Bad("an id that is a number", "invalid_event", "event_id", opened(event_id=7)),
    Bad("no time", "invalid_event", "event_time", opened(event_time=None)),
    Bad("a time without an offset", "invalid_event", "event_time", opened(event_time="2026-01-01T00:00:00")),
    Bad("a time that is no time", "invalid_event", "event_time", opened(event_time="yesterday")),
    Bad("a fraction of a millisecond", "invalid_event", "event_time", opened(event_time=1.5)),
    Bad("a time that is true", "invalid_event", "event_time", opened(event_time=True)),
    Bad("a time before 1970", "invalid_event", "event_time", opened(event_time="1969-12-31T23:59:59Z")),
    Bad("a huge time", "invalid_event", "event_time", opened().replace(b'": "2', b'": 7%s, "x": "2' % (b"7" * 5_000))),
    Bad("no campaign", "invalid_event", "campaign_id", opened(campaign_id=None)),
    Bad("a value below 0", "invalid_event", "value", cart(value=-1), "carts"),
    Bad("a huge value", "invalid_event", "", cart(value=10**400), "carts"),
    Bad("no currency of ISO 4217", "invalid_event", "currency", cart(value=1, currency="euro"), "carts"),
    Bad("half an item", "invalid_event", "items", cart(value=1, items=0.5), "carts"),
    Bad("a rating of 6", "invalid_event", "rating", ticket("ticket.rated", rating=6), "tickets"),
    Bad("an unknown author", "invalid_event", "author", ticket("ticket.replied", author="bot"), "tickets"),
    Bad("no type", "invalid_event", "event_type", opened(event_type=None)),
    Bad("an unknown type", "unknown_type", "email.opened", opened(event_type="email.forwarded")),
    Bad("a type of another topic", "unknown_type", "email.clicks", opened(event_type="email.clicked")),
    Bad("no key", "key_mismatch", "missing", opened(event_id="mended-1", campaign_id="mended"), key=None),
    Bad("another's key", "key_mismatch", "bob", opened(event_id="mended-2", campaign_id="mended"), key=b"bob"),
    Bad("a key of 10 kB", "key_mismatch", "kkk", opened(event_id="mended-3", campaign_id="mended"), key=b"k" * 10_000),
    Bad("a key that is no text", "key_mismatch", "", opened(event_id="mended-4", campaign_id="mended"), key=b"\xff\x00"),
    Bad("300 kB", "too_large", "262144", opened(link=300_000 * "x")),
    Bad("5 MB", "too_large", "262144", opened(link=5_000_000 * "x")),
    Bad("ten minutes ahead", "future", "ahead", opened(event_time=to_rfc3339(NOW + 10 * MINUTE_MS))),
    Bad("the year 9999", "future", "ahead", opened(event_time="9999-12-31T23:59:59.999Z")),
    Bad("two hours late", "late", "watermark", opened(event_time=to_rfc3339(NOW - 2 * HOUR_MS))),
    Bad("CloudEvents 2.0", "invalid_event", "1.0", cloud(specversion="2.0")),
    Bad("a CloudEvent without an id", "invalid_event", "id", cloud(id=None)),
    Bad("a CloudEvent whose data is a list", "invalid_event", "data", cloud(data=[1])),
    Bad("a binary CloudEvent without a type", "invalid_event", "", b'{"campaign_id": "bad"}', headers=BINARY),
    Bad("a binary CloudEvent of broken JSON", "invalid_json", "", b"{", headers=[*BINARY, ("ce_type", b"email.opened")]),
    Bad("headers gone wild", "invalid_json", "", b"{", headers=WILD_HEADERS),
]  # fmt: skip

GOOD_BUT_ODD: list[tuple[str, bytes, Headers]] = [
    ("unknown fields and wild headers", opened(event_id="odd-1", campaign_id="odd", x={"y": [1]}), WILD_HEADERS),
    ("null bytes in names", opened(event_id="odd-\0-2", campaign_id="odd", segment="a\0b"), ()),
    ("fields given twice", opened(event_id="odd-3", campaign_id="odd")[:-1] + b', "event_id": "odd-4"}', ()),
    ("four minutes ahead", opened(event_id="odd-5", campaign_id="odd", event_time=NOW + 4 * MINUTE_MS), ()),
]  # fmt: skip


@dataclass
class Evidence:
    """What was sent, and the dead letters by where their record lies."""

    place: Installation
    worker_lives: Callable[[], bool]
    sent: list[tuple[Bad, Any]] = field(default_factory=list)
    good: int = 0
    letters: list[Any] = field(default_factory=list)
    total: Callable[[str, str], Any] = lambda key, count: None

    def letter(self, metadata: Any) -> Any:
        """The dead letter of a record, by its headers; there must be one."""
        return next(letter for letter in self.letters if _source(letter) == _place(metadata))


def _place(metadata: Any) -> tuple[str, str, str]:
    return metadata.topic, str(metadata.partition), str(metadata.offset)


def _source(letter: Any) -> tuple[str, str, str]:
    headers = headers_of(letter)
    return headers["topic"], headers["partition"], headers["offset"]


@pytest.fixture(scope="module")
def evidence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    directory: Path = tmp_path_factory.mktemp("dead_letters")
    place = installation(broker.address, redis_server.url, directory)
    create_roomy_topics(place.settings)
    with (
        Crew(place, directory) as crew,
        Sender(place.settings) as sender,
        RawSender(place.settings) as raw_sender,
    ):
        worker = crew.start()
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        found = Evidence(place, lambda: worker.alive, total=snapshots.total)
        _let_time_begin(sender, snapshots)
        _send_mixed(sender, raw_sender, found)
        reader = TopicReader(place.address, place.topic("deadletters"), max_bytes=20_000_000)
        with suppress(AssertionError):  # the tests say which one is missing
            wait_until(
                lambda: reader.read(100) is None or len(reader.records) >= len(BAD), 15, "dead letters"
            )
        found.letters = reader.records
        yield found
        reader.close()
        snapshots.close()


def _let_time_begin(sender: Sender, snapshots: LastSnapshots) -> None:
    """One delivery in each shard; when the other topics have been silent for a second, there is a watermark."""
    sender.send(*(delivered(customer, NOW, "first") for customer in one_in_each(PARTITIONS)))
    sender.flush()

    def begun() -> bool:
        first = snapshots.update().get("campaign:first")
        if first is not None and to_ms(first["watermark"]) > NOW - HOUR_MS:
            return True
        # A snapshot tells how far time is, and is sent where something changed.
        sender.send(*(delivered(customer, now_ms(), "first") for customer in one_in_each(PARTITIONS)))
        return False

    wait_until(begun, 20, "there is a watermark", every=0.4)


def _send_mixed(sender: Sender, raw_sender: RawSender, found: Evidence) -> None:
    people = one_in_each(PARTITIONS)
    odd = [Bad(what, "", "", value, headers=headers) for what, value, headers in GOOD_BUT_ODD]
    for number, bad in enumerate([*BAD, *odd]):
        sender.send(delivered(people[number % PARTITIONS], NOW, "good"), delivered(ALICE, NOW, "good"))
        found.good += 2
        metadata = raw_sender.send(bad.topic, 0, bad.key, bad.value, bad.headers).result(20)
        if bad.reason:
            found.sent.append((bad, metadata))
    sender.flush()


# --- What is bad ---


def test_the_table_has_every_reason_of_the_contract() -> None:
    assert {bad.reason for bad in BAD} == set(Reason)


@pytest.mark.parametrize("number", range(len(BAD)), ids=[bad.what.replace(" ", "-") for bad in BAD])
def test_a_bad_record_is_a_dead_letter_with_its_reason_and_its_bytes(evidence: Evidence, number: int) -> None:
    bad, metadata = evidence.sent[number]
    letter = evidence.letter(metadata)
    headers = letter.headers
    assert [name for name, _ in headers[:5]] == ["reason", "detail", "topic", "partition", "offset"]
    given = {name: value.decode() for name, value in headers[:5]}
    assert given["reason"] == bad.reason, given["detail"]
    assert bad.says in given["detail"]
    assert 0 < len(given["detail"]) < 1000
    assert "\n" not in given["detail"]
    assert (letter.key, letter.value or b"") == (bad.key, bad.value or b"")
    assert letter.timestamp - metadata.timestamp <= SOON_MS


def test_every_bad_record_is_there_exactly_once_and_no_good_one(evidence: Evidence) -> None:
    assert Counter(map(_source, evidence.letters)) == Counter(_place(sent) for _, sent in evidence.sent)


def test_a_tombstone_stays_a_tombstone(evidence: Evidence) -> None:
    _, metadata = evidence.sent[0]
    assert evidence.letter(metadata).value is None


def test_a_dead_letter_keeps_the_records_own_headers_but_for_the_names_that_are_ours(
    evidence: Evidence,
) -> None:
    metadata = next(sent for bad, sent in evidence.sent if bad.headers is WILD_HEADERS)
    assert evidence.letter(metadata).headers[5:] == list(WILD_HEADERS[2:])


def test_the_good_records_among_the_bad_ones_all_count(evidence: Evidence) -> None:
    wait_until(
        lambda: evidence.total("campaign:good", "deliveries") == evidence.good, 10, "all good ones count"
    )


def test_what_is_only_odd_counts(evidence: Evidence) -> None:
    wait_until(lambda: evidence.total("campaign:odd", "opens") == len(GOOD_BUT_ODD), 10, "the odd ones count")
    assert evidence.total("segment:a\0b", "opens") == 1


def test_bad_records_do_not_stop_the_worker(evidence: Evidence) -> None:
    assert evidence.worker_lives()
    assert evidence.total("campaign:bad", "opens") is None


# --- Another try ---


def test_the_list_names_every_dead_letter(evidence: Evidence) -> None:
    answer = run_program(evidence.place, "deadletters", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    listed = [json.loads(line) for line in answer.stdout.splitlines()]
    assert Counter(line["reason"] for line in listed) == Counter(bad.reason for bad in BAD)


def test_a_replayed_key_mismatch_gets_its_right_key_and_counts_once(evidence: Evidence) -> None:
    answer = run_program(evidence.place, "deadletters", "replay", "--reason", "key_mismatch", "--json")
    assert answer.returncode == 0, answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["action"] for line in lines] == ["replayed"] * 4
    wait_until(lambda: evidence.total("campaign:mended", "opens") == 4, 10, "the replayed records count")
    opens = TopicReader(evidence.place.address, evidence.place.topic("email.opens"), max_bytes=20_000_000)
    wait_until(lambda: opens.read(100) is None or b"mended-4" in _last_value(opens), 10, "the last is there")
    opens.close()
    mended = [r for r in opens.records if b"mended-" in (r.value or b"") and "replayed_from" in headers_of(r)]
    assert [record.key for record in mended] == [ALICE.encode()] * 4


def _last_value(reader: TopicReader) -> bytes:
    return reader.records[-1].value or b"" if reader.records else b""
