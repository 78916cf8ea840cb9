"""What is accepted, what is not, and which reason a bad record's owner reads in the dead letters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream_app.ingest.dead_letter import MOST_DETAIL, Record
from stream_app.ingest.decode import Headers, Reason, Rejected, decode
from stream_app.ingest.events import EVENT_TYPES, EmailOpened
from stream_app.state.shard import Shard
from stream_app.state.shelf import Shelf
from tests.support.pipeline import START_MS, Pipeline
from tests.support.strategies import world_settings

TOPIC = "email.opens"
PLAIN = {
    "event_id": "e1",
    "event_type": "email.opened",
    "event_time": START_MS,
    "customer_id": "c",
    "campaign_id": "m",
}
CLOUD = {"specversion": "1.0", "id": "e1", "source": "/x", "type": "email.opened", "subject": "c"}
BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"e1"), ("ce_type", b"email.opened"), ("ce_subject", b"c")]


def plain(**fields: Any) -> bytes:
    return json.dumps({**PLAIN, **fields}).encode()


def raw(field: str, text: bytes) -> bytes:
    """A plain event in which a field's value is exactly these bytes."""
    return json.dumps({**PLAIN, field: "HERE"}).encode().replace(b'"HERE"', text)


def cloud(**fields: Any) -> bytes:
    event = {**CLOUD, "time": START_MS, "data": {"campaign_id": "m"}, **fields}
    return json.dumps({name: value for name, value in event.items() if value != "-"}).encode()


def reason_of(value: bytes | None, key: bytes | None = b"c", headers: Headers = ()) -> str:
    """Why a record is refused, or "accepted"."""
    try:
        decode(TOPIC, key, value, headers)
    except Rejected as rejected:
        return rejected.reason.value if 0 < len(rejected.detail) < 1_200 else "no detail for a person"
    return "accepted"


BAD: dict[str, tuple[str, bytes | None]] = {
    "a tombstone": ("invalid_json", None),
    "an empty record": ("invalid_json", b""),
    "a space": ("invalid_json", b" "),
    "truncated JSON": ("invalid_json", plain()[:-5]),
    "trailing text": ("invalid_json", plain() + b"x"),
    "two objects": ("invalid_json", plain() + plain()),
    "a byte order mark": ("invalid_json", b"\xef\xbb\xbf" + plain()),
    "single quotes": ("invalid_json", plain().replace(b'"', b"'")),
    "bytes that are no text": ("invalid_json", b"\xff\xfe\x00"),
    "bad UTF-8 in a field": ("invalid_json", raw("campaign_id", b'"\xff"')),
    "bad UTF-8 in an unknown field": ("invalid_json", raw("x", b'"\xff"')),
    "bad UTF-8 in a CloudEvent": ("invalid_json", cloud(x="HERE").replace(b"HERE", b"\xff")),
    "a raw surrogate": ("invalid_json", raw("campaign_id", b'"\xed\xa0\x80"')),
    "a lone escaped surrogate": ("invalid_json", raw("segment", b'"\\ud800"')),
    "a lone surrogate as customer": ("invalid_json", raw("customer_id", b'"\\udc00x"')),
    "a raw line feed in a text": ("invalid_json", raw("segment", b'"a\nb"')),
    "NaN": ("invalid_json", raw("event_time", b"NaN")),
    "Infinity": ("invalid_json", raw("event_time", b"-Infinity")),
    "nested 10,000 deep": ("invalid_json", raw("x", b"[" * 10_000 + b"]" * 10_000)),
    "objects 10,000 deep": ("invalid_json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a list": ("invalid_event", b"[]"),
    "a deep list": ("invalid_json", b"[" * 10_000),
    "an open list": ("invalid_json", b"[1, 2"),
    "truncated JSON with a wrong field": ("invalid_json", plain(event_id=7)[:-5]),
    "truncated JSON of unknown type": ("invalid_json", plain(event_type="x")[:-5]),
    "a truncated CloudEvent with a wrong version": ("invalid_json", cloud(specversion="2.0")[:-5]),
    "a text": ("invalid_event", b'"x"'),
    "null": ("invalid_event", b"null"),
    "a number": ("invalid_event", b"1"),
    "no fields": ("invalid_event", b"{}"),
    "no type": ("invalid_event", b'{"event_id": "e"}'),
    "a type that is a list": ("invalid_event", plain(event_type=["email.opened"])),
    "a type that is an object": ("invalid_event", plain(event_type={})),
    "a type that is null": ("invalid_event", plain(event_type=None)),
    "an id of 10 kB": ("invalid_event", plain(event_id="x" * 10_000)),
    "an empty id": ("invalid_event", plain(event_id="")),
    "an id that is a number": ("invalid_event", plain(event_id=7)),
    "an empty campaign": ("invalid_event", plain(campaign_id="")),
    "no campaign": ("invalid_event", json.dumps({**PLAIN, "campaign_id": None}).encode()),
    "a time with a fraction": ("invalid_event", plain(event_time=1.5)),
    "a time too large for a float": ("invalid_event", raw("event_time", b"1e400")),
    "a time of 5,000 digits": ("invalid_event", raw("event_time", b"1" * 5_000)),
    "a negative time": ("invalid_event", plain(event_time=-1)),
    "a time as digits in a text": ("invalid_event", plain(event_time="1700000000000")),
    "a time without an offset": ("invalid_event", plain(event_time="2026-11-22T10:00:00")),
    "a day without a time": ("invalid_event", plain(event_time="2026-11-22")),
    "a 13th month": ("invalid_event", plain(event_time="2026-13-22T10:00:00Z")),
    "a time before 1970": ("invalid_event", plain(event_time="1969-12-31T23:59:59Z")),
    "the year 1": ("invalid_event", plain(event_time="0001-01-01T00:00:00+14:00")),
    "a segment that is an object": ("invalid_event", plain(segment={})),
    "a flag that is a text": ("invalid_event", plain(machine="yes")),
    "an unknown type": ("unknown_type", plain(event_type="email.read")),
    "a type of 10 kB": ("unknown_type", plain(event_type="x" * 10_000)),
    "an empty type": ("unknown_type", plain(event_type="")),
    "a type of another topic": ("unknown_type", plain(event_type="email.clicked")),
    "the last of two customers": ("key_mismatch", plain()[:-1] + b', "customer_id": "d"}'),
    "another customer": ("key_mismatch", plain(customer_id="C")),
    "a customer of five MB": ("invalid_event", plain(customer_id="c" * 5_000_000)),
    "CloudEvents 0.3": ("invalid_event", cloud(specversion="0.3")),
    "CloudEvents version 1": ("invalid_event", cloud(specversion=1)),
    "a CloudEvent without an id": ("invalid_event", cloud(id="-")),
    "a CloudEvent without a subject": ("invalid_event", cloud(subject="-")),
    "a CloudEvent whose data is a list": ("invalid_event", cloud(data=[1])),
    "a CloudEvent without data": ("invalid_event", cloud(data="-")),
    "a CloudEvent whose type is a list": ("invalid_event", cloud(type=[])),
    "a CloudEvent of unknown type": ("unknown_type", cloud(type="com.example.other")),
}
GOOD: dict[str, bytes] = {
    "null bytes in a text": plain(segment="a\0b"),
    "unknown fields": plain(extra={"a": [1, {"b": None}]}),
    "a huge unknown integer": raw("extra", b"1" * 5_000),
    "a huge unknown number": raw("extra", b"1e999"),
    "a CloudEvent with a huge unknown integer": cloud(extra="HERE").replace(b'"HERE"', b"1" * 5_000),
    "a CloudEvent with a huge unknown number in its data": cloud(
        data={"campaign_id": "m", "x": "HERE"}
    ).replace(b'"HERE"', b"1e999"),
    "escaped field names": plain().replace(b"event_id", b"\\u0065vent_id"),
    "the last of two ids": plain()[:-1] + b', "event_id": "e1"}',
    "a surrogate pair": raw("segment", b'"\\ud83d\\ude00"'),
    "spaces around": b" \n" + plain() + b"\r\n\t",
    "a plain event with the word specversion": plain(specversion="1.0", type="x"),
    "an offset": plain(event_time="2025-11-21T12:00:00.000+02:00"),
    "the year 9999": plain(event_time="9999-12-31T23:59:59-14:00"),
    "a time of 30 digits": raw("event_time", b"1" * 30),
    "optional fields that are null": plain(segment=None, machine=None, user_agent=None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_refused_with_its_reason(name: str) -> None:
    reason, value = BAD[name]
    assert reason_of(value) == reason


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_but_valid_record_is_accepted(name: str) -> None:
    assert reason_of(GOOD[name]) == "accepted"


@pytest.mark.parametrize("key", [None, b"", b"C", b"c ", b"c\0", b"\xff" * 300, b"x" * 100_000])
def test_a_key_that_is_not_the_customer_is_a_mismatch(key: bytes | None) -> None:
    assert reason_of(plain(), key) == "key_mismatch"


def test_the_three_forms_of_an_event_are_the_same_event() -> None:
    whole = {**PLAIN, "event_time": "2025-11-21T10:00:00Z", "segment": "é", "user_agent": "x"}
    data = {name: whole[name] for name in ("campaign_id", "segment", "user_agent")}
    headers = [*BINARY, ("ce_time", b"2025-11-21T10:00:00Z"), ("content-type", b"application/json")]
    forms = [
        decode(TOPIC, b"c", json.dumps(whole).encode()),
        decode(TOPIC, b"c", cloud(time="2025-11-21T10:00:00Z", data=data)),
        decode(TOPIC, b"c", json.dumps(data).encode(), headers),
    ]
    assert forms[0] == forms[1] == forms[2]
    assert isinstance(forms[0], EmailOpened)
    assert forms[0].time_ms() == START_MS


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ([("x", None), ("", b""), ("x", b"\xff" * 9_000)], plain(), "accepted"),
        ([("ce_specversion", b"1.0"), ("ce_id", b"\xff")], b"{}", "invalid_json"),
        ([("ce_specversion", None)], b"{}", "invalid_event"),
        ([("ce_specversion", b"9.9")], b"{}", "invalid_event"),
        (BINARY, None, "invalid_event"),
        (BINARY, b"[]", "invalid_event"),
        (BINARY, b"{", "invalid_json"),
        (BINARY, plain(), "accepted"),
        ([*BINARY, ("ce_time", b"2025-11-21T10:00:00Z")], raw("x", b"1" * 5_000), "accepted"),
        (BINARY, raw("x", b'"\xff"'), "invalid_json"),
        ([*BINARY, ("ce_time", b"yesterday")], plain(), "invalid_event"),
        ([*BINARY, ("ce_type", b"nonsense")], plain(), "unknown_type"),
        ([*BINARY, ("ce_subject", b"d")], plain(), "key_mismatch"),
    ],
)
def test_headers_however_wild_are_read_or_refused(headers: Headers, value: bytes | None, reason: str) -> None:
    assert reason_of(value, headers=headers) == reason


def test_details_tell_a_person_what_to_mend() -> None:
    details = {}
    for name in ("an unknown type", "a type of another topic", "another customer", "an empty record"):
        with pytest.raises(Rejected) as caught:
            decode(TOPIC, b"c", BAD[name][1])
        details[name] = caught.value.detail
    assert details["an unknown type"] == "'email.read' is no event type; email.opens carries email.opened"
    assert "email.clicked belongs on email.clicks" in details["a type of another topic"]
    assert "the record key is 'c', but customer_id is 'C'" in details["another customer"]
    assert "expected one JSON object" in details["an empty record"]


def test_every_event_type_is_accepted_on_its_own_topic_only() -> None:
    extra = {"chat_id": "x", "cart_id": "x", "ticket_id": "x", "value": 1, "author": "agent", "rating": 5}
    for event_type, event_class in EVENT_TYPES.items():
        value = plain(event_type=event_type, **extra)
        assert decode(event_class.topic, b"c", value).event_id == "e1"
        for topic in {other.topic for other in EVENT_TYPES.values()} - {event_class.topic}:
            with pytest.raises(Rejected) as caught:
                decode(topic, b"c", value)
            assert caught.value.reason == Reason.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("event_type", "fields"),
    [
        ("cart.updated", {"value": -0.01}),
        ("cart.updated", {"value": "12"}),
        ("cart.updated", {"value": 1e13}),
        ("cart.updated", {"value": None}),
        ("cart.updated", {"value": 1, "items": -1}),
        ("cart.updated", {"value": 1, "items": 1.5}),
        ("cart.purchased", {"value": 1, "currency": "eur"}),
        ("cart.purchased", {"value": 1, "currency": "EUR\n"}),
        ("cart.purchased", {"value": 1, "currency": "EURO"}),
        ("cart.purchased", {}),
        ("chat.rated", {"rating": 0}),
        ("chat.rated", {"rating": 6}),
        ("chat.rated", {"rating": True}),
        ("ticket.replied", {"author": "robot"}),
        ("ticket.replied", {}),
    ],
)
def test_fields_out_of_their_range_are_refused(event_type: str, fields: dict[str, Any]) -> None:
    ids = {"chat_id": "x", "cart_id": "x", "ticket_id": "x"}
    with pytest.raises(Rejected) as caught:
        decode(EVENT_TYPES[event_type].topic, b"c", plain(event_type=event_type, **ids, **fields))
    assert caught.value.reason == Reason.INVALID_EVENT


def shard_after(*records: Record, clock_ms: int = START_MS) -> Shard:
    """A fresh shard that was given some records."""
    shard = Shard(Shelf(), None, world_settings(), clock_ms)
    shard.watermark.arrived(TOPIC, len(records), clock_ms)
    shard.process(TOPIC, records, clock_ms)
    return shard


def letters_of(*values: bytes | None, clock_ms: int = START_MS) -> list[str]:
    """The reasons of the dead letters of a fresh shard."""
    records = [Record(offset, b"c", value) for offset, value in enumerate(values)]
    return [letter.reason.value for letter in shard_after(*records, clock_ms=clock_ms).flush().dead_letters]


def test_the_future_begins_five_minutes_ahead_of_the_clock() -> None:
    times = [START_MS + 300_000, START_MS + 300_001, 10**30, 10**4_000]
    values = [plain(event_id=f"e{n}", event_time=time) for n, time in enumerate(times)]
    assert letters_of(*values) == ["future"] * 3


def test_a_long_detail_is_cut_and_still_says_what_is_wrong() -> None:
    (letter,) = shard_after(Record(0, b"c", plain(event_time=10**4_000))).flush().dead_letters
    assert letter.detail.startswith("event_time is more than 300 s ahead of the clock: 9999")
    assert len(letter.detail) == MOST_DETAIL


@pytest.mark.parametrize(
    "record",
    [
        Record(0, b"c", b"x" * 1_000_000),
        Record(0, b"x" * 1_000_000, b"{"),
        Record(0, b"c", None, [("huge", b"x" * 1_000_000), ("null", None)]),
        Record(0, b"c", b"{", [("x" * 1_000_000, b"")]),
        Record(0, b"c", b"{", [("", b"")] * 10_000),
    ],
    ids=["value", "key", "header", "name", "many headers"],
)
def test_a_dead_letter_counts_as_unflushed_by_all_that_it_holds(record: Record) -> None:
    shard = shard_after(record)
    assert shard.unflushed >= 900
    shard.flush()
    assert shard.unflushed == 0


def test_an_event_counts_as_unflushed_once_whatever_comes_with_it() -> None:
    record = Record(0, b"c", plain(unknown="x" * 200_000), [("huge", b"x" * 200_000)])
    assert shard_after(record).unflushed == 1


def test_a_record_over_the_limit_is_too_large_whatever_is_in_it() -> None:
    limit = world_settings().max_event_bytes
    padded = plain() + b" " * (limit - len(plain()))
    assert letters_of(padded) == []
    assert letters_of(padded + b" ", b"\xff" * 5_000_000) == ["too_large"] * 2


def test_every_bad_record_becomes_a_dead_letter_with_its_own_bytes_and_the_rest_is_counted() -> None:
    pipeline = Pipeline(world_settings(), 1, START_MS)
    sent = {}
    for number, (name, (_, value)) in enumerate(BAD.items()):
        place = pipeline.send(value, topic=TOPIC, key=b"c")
        sent[place] = (name, value)
        pipeline.send({**PLAIN, "event_id": f"good {number}"})
    pipeline.settle()
    rejected = pipeline.rejected()
    assert rejected.keys() == sent.keys()
    for place, (name, value) in sent.items():
        assert rejected[place].record.value == value
        expected = "too_large" if value and len(value) > pipeline.settings.max_event_bytes else BAD[name][0]
        assert rejected[place].reason.value == expected
    assert pipeline.counts("campaign:m")["opens"] == len(BAD)


def test_a_late_event_says_how_far_it_lies_behind() -> None:
    pipeline = Pipeline(world_settings(allowed_lateness=1_000), 1, START_MS)
    pipeline.tick(31_000)
    for number, time_ms in enumerate((START_MS, START_MS - 1_000, START_MS - 1_001)):
        pipeline.send({**PLAIN, "event_id": f"e{number}", "event_time": time_ms})
    pipeline.settle()
    [(_, letter)] = pipeline.dead_letters
    assert (letter.reason.value, letter.record.offset) == ("late", 2)
    assert letter.detail == "event_time is 0.001 s older than the shard's watermark"
