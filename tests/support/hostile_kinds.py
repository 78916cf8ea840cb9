"""The kinds of hostile records: every way we know in which a record can be wrong, or odd and yet right. Data.

A kind bends a valid event and says what must become of it: the reason of its dead letter, or that it counts.
``hostile.py`` makes records of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream_app.clock import DAY_MS, MINUTE_MS, to_rfc3339
from stream_app.ingest.decode import Reason
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS

Json = dict[str, Any]
Headers = list[tuple[str, bytes | None]]

LARGEST_BYTES = 5_000_000
_ATTRIBUTES = {"event_id": "id", "event_type": "type", "event_time": "time", "customer_id": "subject"}
_CAMPAIGNS = [name for name in EVENT_TYPES if name in ("email.delivered", "email.opened", "email.clicked")]
_TYPES = [*EVENT_TYPES]


class WrongName(str):
    """A header's name that a producer writes as bytes that are no UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode(encoding, errors).replace(b"?", b"\xff")


@dataclass
class Good:
    """A valid event that bears every field any type needs, ready to be bent."""

    event: Json
    chance: random.Random
    clock_ms: int

    @property
    def topic(self) -> str:
        return EVENT_TYPES[self.event["event_type"]].topic

    @property
    def other_topic(self) -> str:
        return self.chance.choice([topic for topic in INPUT_TOPICS if topic != self.topic])

    @property
    def key(self) -> bytes:
        return str(self.event["customer_id"]).encode()

    def json(self, **changes: Any) -> bytes:
        """Its JSON with fields changed; those that are None are left out."""
        changed = {**self.event, **changes}
        return json.dumps({name: value for name, value in changed.items() if value is not None}).encode()

    def raw(self, field: str, text: bytes) -> bytes:
        """Its JSON in which a field's value is exactly these bytes."""
        return self.json(**{field: "HERE"}).replace(b'"HERE"', text)

    def more(self, text: bytes) -> bytes:
        """Its JSON with this text as one more field at the end."""
        return self.json()[:-1] + b", " + text + b"}"

    def cut(self) -> bytes:
        whole = self.json()
        return whole[: self.chance.randrange(1, len(whole) - 1)]

    def cloud(self, **changes: Any) -> bytes:
        """It as a structured CloudEvent with attributes changed; those that are None are left out."""
        attributes = {name: self.event[field] for field, name in _ATTRIBUTES.items()}
        data = {name: value for name, value in self.event.items() if name not in _ATTRIBUTES}
        given = {"specversion": "1.0", "source": "/hostile", **attributes, "data": data, **changes}
        return json.dumps({name: value for name, value in given.items() if value is not None}).encode()

    def data(self) -> bytes:
        """What a binary CloudEvent has in its value."""
        return json.dumps({n: v for n, v in self.event.items() if n not in _ATTRIBUTES}).encode()

    def attributes(self, **changes: bytes | None) -> Headers:
        """The headers of a binary CloudEvent, changed."""
        given: dict[str, bytes | None] = {"specversion": b"1.0", "source": b"/hostile"}
        given |= {name: str(self.event[field]).encode() for field, name in _ATTRIBUTES.items()}
        given["time"] = to_rfc3339(self.event["event_time"]).encode()
        return [(f"ce_{name}", value) for name, value in {**given, **changes}.items()]

    def moment(self, first_ms: int, last_ms: int) -> str:
        """A time between two times, as text."""
        return to_rfc3339(self.chance.randrange(first_ms, last_ms))

    def noise(self, size: int) -> bytes:
        return self.chance.randbytes(size)


Maker = Callable[[Good], Any]


def _same_topic(good: Good) -> str:
    return good.topic


def _same_key(good: Good) -> bytes | None:
    return good.key


def _no_headers(good: Good) -> Headers:
    return []


class Kind(NamedTuple):
    """A way to be hostile: what becomes of such a record, and how a valid event is bent into one.

    ``reason`` is None for what counts, as the event with the changes of ``counts``. ``of`` are the event types
    that it can be made of. A heavy one is rare.
    """

    name: str
    reason: Reason | None
    value: Maker
    of: list[str] = _TYPES
    topic: Callable[[Good], str] = _same_topic
    key: Callable[[Good], bytes | None] = _same_key
    headers: Callable[[Good], Headers] = _no_headers
    is_heavy: bool = False


def _wild(good: Good) -> Headers:
    names = ["", "\0", "reason", "offset", "same", "same", "ce-id", "CE_TYPE", "é"]
    return [(name, good.chance.choice([None, b"", b"\xff\xfe\x00", good.noise(40)])) for name in names]


def _wrong_names(good: Good) -> Headers:
    return [("before", b"1"), (WrongName("na?me"), good.noise(9)), (WrongName("?"), b""), ("after", b"2")]


def _thousands(good: Good) -> Headers:
    return [(f"header-{number}", b"x") for number in range(3_000)]


def _large(good: Good) -> Headers:
    return [("large", good.noise(100_000)), ("trace", b"x" * 100_000)]


def _deep(depth: int) -> bytes:
    return b'"x": ' + b"[" * depth + b"]" * depth


BROKEN: tuple[Kind, ...] = (
    Kind("a tombstone", Reason.INVALID_JSON, lambda good: None),
    Kind("an empty value", Reason.INVALID_JSON, lambda good: b""),
    Kind("nothing but spaces", Reason.INVALID_JSON, lambda good: b" \r\n\t" * 9),
    Kind("null bytes only", Reason.INVALID_JSON, lambda good: bytes(64)),
    Kind("noise", Reason.INVALID_JSON, lambda good: b"\xff" + good.noise(200)),
    Kind("JSON cut off", Reason.INVALID_JSON, Good.cut),
    Kind("JSON cut off behind a wrong field", Reason.INVALID_JSON, lambda good: good.json(event_id=7)[:-1]),
    Kind("JSON cut off behind an unknown type", Reason.INVALID_JSON, lambda good: good.json(event_type="x")[:-1]),
    Kind("trailing text", Reason.INVALID_JSON, lambda good: good.json() + b"x"),
    Kind("two objects", Reason.INVALID_JSON, lambda good: good.json() + good.json()),
    Kind("a byte order mark", Reason.INVALID_JSON, lambda good: b"\xef\xbb\xbf" + good.json()),
    Kind("UTF-16", Reason.INVALID_JSON, lambda good: good.json().decode().encode("utf-16")),
    Kind("single quotes", Reason.INVALID_JSON, lambda good: good.json().replace(b'"', b"'")),
    Kind("a comma too many", Reason.INVALID_JSON, lambda good: good.json()[:-1] + b",}"),
    Kind("a comment", Reason.INVALID_JSON, lambda good: b"/* hello */" + good.json()),
    Kind("NaN", Reason.INVALID_JSON, lambda good: good.raw("value", b"NaN")),
    Kind("Infinity", Reason.INVALID_JSON, lambda good: good.raw("event_time", b"-Infinity")),
    Kind("a number with a plus", Reason.INVALID_JSON, lambda good: good.raw("event_time", b"+1")),
    Kind("an open list 10,000 deep", Reason.INVALID_JSON, lambda good: b"[" * 10_000),
    Kind("a field 10,000 deep", Reason.INVALID_JSON, lambda good: good.more(_deep(10_000))),
    Kind("a field 100,000 deep", Reason.INVALID_JSON, lambda good: good.more(_deep(100_000)), is_heavy=True),
    Kind("objects 10,000 deep", Reason.INVALID_JSON, lambda good: b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    Kind("bad UTF-8 in an id", Reason.INVALID_JSON, lambda good: good.raw("event_id", b'"\xff\xfe"')),
    Kind("bad UTF-8 in an unknown field", Reason.INVALID_JSON, lambda good: good.more(b'"x": "\xff"')),
    Kind("an overlong null", Reason.INVALID_JSON, lambda good: good.raw("segment", b'"\xc0\x80"')),
    Kind("a raw surrogate", Reason.INVALID_JSON, lambda good: good.raw("segment", b'"\xed\xa0\x80"')),
    Kind("a lone escaped surrogate", Reason.INVALID_JSON, lambda good: good.raw("segment", b'"\\ud800"')),
    Kind("a raw control character", Reason.INVALID_JSON, lambda good: good.raw("segment", b'"a\x01b"')),
    Kind("broken JSON, wild headers", Reason.INVALID_JSON, lambda good: b"{", headers=_wild),
    Kind("broken JSON, headers whose names are no UTF-8", Reason.INVALID_JSON, lambda good: b"{", headers=_wrong_names),
    Kind("broken JSON, 3,000 headers", Reason.INVALID_JSON, lambda good: b"{", headers=_thousands, is_heavy=True),
    Kind("broken JSON, headers of 100 kB", Reason.INVALID_JSON, lambda good: b"{", headers=_large, is_heavy=True),
    Kind("a binary CloudEvent of broken JSON", Reason.INVALID_JSON, lambda good: b"{", headers=Good.attributes),
    Kind("a binary CloudEvent whose id is no UTF-8", Reason.INVALID_JSON, Good.data,
         headers=lambda good: good.attributes(id=b"\xff")),
)  # fmt: skip

WRONG: tuple[Kind, ...] = (
    Kind("a list", Reason.INVALID_EVENT, lambda good: b"[%s]" % good.json()),
    Kind("a text", Reason.INVALID_EVENT, lambda good: json.dumps(good.json().decode()).encode()),
    Kind("a number", Reason.INVALID_EVENT, lambda good: b"17"),
    Kind("null", Reason.INVALID_EVENT, lambda good: b"null"),
    Kind("no fields", Reason.INVALID_EVENT, lambda good: b"{}"),
    Kind("no id", Reason.INVALID_EVENT, lambda good: good.json(event_id=None)),
    Kind("no type", Reason.INVALID_EVENT, lambda good: good.json(event_type=None)),
    Kind("no time", Reason.INVALID_EVENT, lambda good: good.json(event_time=None)),
    Kind("no customer", Reason.INVALID_EVENT, lambda good: good.json(customer_id=None)),
    Kind("no campaign", Reason.INVALID_EVENT, lambda good: good.json(campaign_id=None), _CAMPAIGNS),
    Kind("an id that is a number", Reason.INVALID_EVENT, lambda good: good.json(event_id=7)),
    Kind("an id that is null", Reason.INVALID_EVENT, lambda good: good.raw("event_id", b"null")),
    Kind("an empty id", Reason.INVALID_EVENT, lambda good: good.json(event_id="")),
    Kind("an id of 10 kB", Reason.INVALID_EVENT, lambda good: good.json(event_id="x" * 10_000)),
    Kind("an empty customer", Reason.INVALID_EVENT, lambda good: good.json(customer_id=""), key=lambda good: b""),
    Kind("a customer of 10 kB", Reason.INVALID_EVENT, lambda good: good.json(customer_id="c" * 10_000),
         key=lambda good: b"c" * 10_000),
    Kind("a customer that is a list", Reason.INVALID_EVENT, lambda good: good.json(customer_id=["c"])),
    Kind("a type that is an object", Reason.INVALID_EVENT, lambda good: good.json(event_type={})),
    Kind("a segment that is an object", Reason.INVALID_EVENT, lambda good: good.json(segment={"a": 1})),
    Kind("a field's name in other letters", Reason.INVALID_EVENT,
         lambda good: good.json().replace(b"event_id", "еvent_id".encode())),
    Kind("a field's name in capitals", Reason.INVALID_EVENT, lambda good: good.json().replace(b"event_id", b"Event_Id")),
    Kind("a flag that is a text", Reason.INVALID_EVENT, lambda good: good.json(machine="yes"), ["email.opened"]),
    Kind("a value below 0", Reason.INVALID_EVENT, lambda good: good.json(value=-0.01), ["cart.purchased"]),
    Kind("a value that is a text", Reason.INVALID_EVENT, lambda good: good.json(value="12"), ["cart.updated"]),
    Kind("a value too large for a float", Reason.INVALID_EVENT, lambda good: good.raw("value", b"1e400"), ["cart.updated"]),
    Kind("a value of 5,000 digits", Reason.INVALID_EVENT, lambda good: good.raw("value", b"9" * 5_000), ["cart.updated"]),
    Kind("no currency of ISO 4217", Reason.INVALID_EVENT, lambda good: good.json(currency="eur\n"), ["cart.updated"]),
    Kind("half an item", Reason.INVALID_EVENT, lambda good: good.json(items=0.5), ["cart.updated"]),
    Kind("a rating out of range", Reason.INVALID_EVENT,
         lambda good: good.json(rating=good.chance.choice([-1, 0, 6, 10**30])), ["chat.rated", "ticket.rated"]),
    Kind("an unknown author", Reason.INVALID_EVENT, lambda good: good.json(author="b\not"), ["ticket.replied"]),
    Kind("a time of 5,000 digits", Reason.INVALID_EVENT, lambda good: good.raw("event_time", b"1" * 5_000)),
    Kind("a time with a fraction", Reason.INVALID_EVENT, lambda good: good.raw("event_time", b"1763719200000.5")),
    Kind("a time that is true", Reason.INVALID_EVENT, lambda good: good.json(event_time=True)),
    Kind("a negative time", Reason.INVALID_EVENT, lambda good: good.json(event_time=-1)),
    Kind("a time before 1970", Reason.INVALID_EVENT, lambda good: good.json(event_time="1969-12-31T23:59:59Z")),
    Kind("the year 1", Reason.INVALID_EVENT, lambda good: good.json(event_time="0001-01-01T00:00:00+14:00")),
    Kind("a time without an offset", Reason.INVALID_EVENT, lambda good: good.json(event_time="2026-01-01T00:00:00")),
    Kind("a 13th month", Reason.INVALID_EVENT, lambda good: good.json(event_time="2026-13-01T00:00:00Z")),
    Kind("a time in other digits", Reason.INVALID_EVENT, lambda good: good.json(event_time="٢٠٢٦-01-01T00:00:00Z")),
    Kind("CloudEvents 2.0", Reason.INVALID_EVENT, lambda good: good.cloud(specversion="2.0")),
    Kind("CloudEvents 0.3", Reason.INVALID_EVENT, lambda good: good.cloud(specversion="0.3")),
    Kind("a CloudEvent without an id", Reason.INVALID_EVENT, lambda good: good.cloud(id=None)),
    Kind("a CloudEvent whose data is a list", Reason.INVALID_EVENT, lambda good: good.cloud(data=[1])),
    Kind("a binary CloudEvent of no version", Reason.INVALID_EVENT, Good.data,
         headers=lambda good: good.attributes(specversion=None)),
    Kind("a binary CloudEvent without a type", Reason.INVALID_EVENT, Good.data,
         headers=lambda good: [pair for pair in good.attributes() if pair[0] != "ce_type"]),
)  # fmt: skip

MISPLACED: tuple[Kind, ...] = (
    Kind("an unknown type", Reason.UNKNOWN_TYPE, lambda good: good.json(event_type="email.forwarded")),
    Kind("a type of 10 kB", Reason.UNKNOWN_TYPE, lambda good: good.json(event_type="x" * 10_000)),
    Kind("an empty type", Reason.UNKNOWN_TYPE, lambda good: good.json(event_type="")),
    Kind("a type in capitals", Reason.UNKNOWN_TYPE, lambda good: good.json(event_type=good.event["event_type"].upper())),
    Kind("a type with a null byte", Reason.UNKNOWN_TYPE, lambda good: good.json(event_type=good.event["event_type"] + "\0")),
    Kind("a type of another topic", Reason.UNKNOWN_TYPE, Good.json, topic=lambda good: good.other_topic),
    Kind("two types", Reason.UNKNOWN_TYPE, lambda good: b'{"event_type": "x", ' + good.json()[1:]),
    Kind("a binary CloudEvent whose type is null", Reason.UNKNOWN_TYPE, Good.data,
         headers=lambda good: good.attributes(type=None)),
    Kind("a CloudEvent of unknown type", Reason.UNKNOWN_TYPE, lambda good: good.cloud(type="com.example.x")),
    Kind("no key", Reason.KEY_MISMATCH, Good.json, key=lambda good: None),
    Kind("an empty key", Reason.KEY_MISMATCH, Good.json, key=lambda good: b""),
    Kind("another's key", Reason.KEY_MISMATCH, Good.json, key=lambda good: b"bob"),
    Kind("a key that is no text", Reason.KEY_MISMATCH, Good.json, key=lambda good: b"\xff\x00" + good.key),
    Kind("a key with a space", Reason.KEY_MISMATCH, Good.json, key=lambda good: good.key + b" "),
    Kind("a key of 10 kB", Reason.KEY_MISMATCH, Good.json, key=lambda good: b"k" * 10_000),
    Kind("a key in other letters", Reason.KEY_MISMATCH, Good.json, key=lambda good: "с".encode() + good.key[1:]),
    Kind("a binary CloudEvent of another customer", Reason.KEY_MISMATCH, Good.data,
         headers=lambda good: good.attributes(subject=b"bob")),
    Kind("300 kB", Reason.TOO_LARGE, lambda good: good.json(x="x" * 300_000), is_heavy=True),
    Kind("5 MB", Reason.TOO_LARGE, lambda good: good.json(x="x" * (LARGEST_BYTES - 1_000)), is_heavy=True),
    Kind("5 MB of zeros", Reason.TOO_LARGE, lambda good: bytes(LARGEST_BYTES), is_heavy=True),
    Kind("the far past", Reason.LATE, lambda good: good.json(event_time=good.moment(0, 10_000 * DAY_MS))),
    Kind("the year 1970", Reason.LATE, lambda good: good.json(event_time=0)),
    Kind("minutes ahead", Reason.FUTURE,
         lambda good: good.json(event_time=good.clock_ms + 10 * MINUTE_MS + good.chance.randrange(DAY_MS))),
    Kind("the year 9999", Reason.FUTURE, lambda good: good.json(event_time="9999-12-31T23:59:59.999-14:00")),
    Kind("a time of 4,000 digits", Reason.FUTURE, lambda good: good.raw("event_time", b"1" * 4_000)),
)  # fmt: skip

ODD: tuple[Kind, ...] = (
    Kind("fields given twice, the last counts", None,
         lambda good: b'{"event_id": "first", "event_time": 1, "customer_id": "bob", ' + good.json()[1:]),
    Kind("unknown fields", None, lambda good: good.json(x={"y": [1, {"z": None}]}, é="\0")),
    Kind("an unknown integer of 5,000 digits", None, lambda good: good.more(b'"x": ' + b"1" * 5_000)),
    Kind("an unknown number too large for a float", None, lambda good: good.more(b'"x": -1e999')),
    Kind("20,000 unknown fields", None,
         lambda good: good.more(b", ".join(b'"%d": 1' % number for number in range(20_000))), is_heavy=True),
    Kind("a field 100 deep", None, lambda good: good.more(_deep(100))),
    Kind("escaped names", None, lambda good: good.json().replace(b"event_", b"\\u0065vent_")),
    Kind("spaces around", None, lambda good: b" \n" + good.json() + b"\r\n\t"),
    Kind("wild headers", None, Good.json, headers=_wild),
    Kind("headers whose names are no UTF-8", None, Good.json, headers=_wrong_names),
    Kind("3,000 headers", None, Good.json, headers=_thousands, is_heavy=True),
    Kind("headers of 100 kB", None, Good.json, headers=_large, is_heavy=True),
    Kind("a structured CloudEvent", None, lambda good: good.cloud(x="\0")),
    Kind("a CloudEvent with an unknown number too large for a float", None,
         lambda good: good.cloud().replace(b'"data": {', b'"x": 1e999, "data": {"y": -1e999, ')),
    Kind("a binary CloudEvent whose headers are repeated, the last counts", None, Good.data,
         headers=lambda good: [("ce_id", b"\x00"), ("ce_type", b"nonsense"), *good.attributes()]),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (*BROKEN, *WRONG, *MISPLACED, *ODD)
