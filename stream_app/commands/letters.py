"""What a dead letter says, and whether and where to it can be replayed. Pure: no Kafka, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_app.clock import MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.commands.destination import customer_of
from stream_app.commands.reading import headers_of
from stream_app.ingest.decode import Rejected, decode
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.output import printable

FUTURE_MS = 5 * MINUTE_MS
REPLAYED_FROM = "replayed_from"
_OUR_HEADERS = frozenset({"reason", "detail", "topic", "partition", "offset", "truncated", REPLAYED_FROM})


class Skipped(Exception):
    """A dead letter that is not replayed; the text says why."""


@dataclass(frozen=True)
class Letter:
    """A dead letter: where it lies, where its record came from, and the record itself."""

    partition: int
    offset: int
    time_ms: int
    headers: dict[str, str]
    rest: list[tuple[str, bytes]]
    """The record's own headers, such as a binary CloudEvent's."""
    key: bytes | None
    value: bytes

    @classmethod
    def of(cls, record: Any) -> Letter:
        """The dead letter that a record of the topic is."""
        rest = [(name, content or b"") for name, content in record.headers or () if name not in _OUR_HEADERS]
        value = record.value or b""
        return cls(
            record.partition, record.offset, record.timestamp, headers_of(record), rest, record.key, value
        )

    @property
    def reason(self) -> str:
        """Why the record is here."""
        return self.headers.get("reason", "unknown")

    @property
    def note(self) -> bytes:
        """What its replay is remembered by; the time tells a recreated topic's letters from the old one's."""
        return f"{self.partition}:{self.offset}:{self.time_ms}".encode()

    def described(self) -> dict[str, Any]:
        """For a program, and for a line to a person."""
        return {
            "letter": f"{self.partition}:{self.offset}",
            "time": to_rfc3339(self.time_ms),
            "reason": printable(self.reason),
            "detail": printable(self.headers.get("detail"), 300),
            "truncated": printable(self.headers.get("truncated"), 300),
            "topic": printable(self.headers.get("topic"), 250),
            "partition": printable(self.headers.get("partition")),
            "offset": printable(self.headers.get("offset")),
            "key": printable(self.key, 200),
            "size": len(self.value),
            "preview": printable(self.value),
        }


@dataclass(frozen=True)
class Destination:
    """Where a dead letter is replayed to: the topic without prefix, the key, the headers."""

    topic: str
    key: bytes
    headers: list[tuple[str, bytes]]


def destination_of(letter: Letter, prefix: str, max_bytes: int, now_ms: int, force: bool) -> Destination:
    """Where a dead letter goes, with its customer as its key.

    Raises:
        Skipped: it names no input topic, or is not the whole record; or, unless forced, it would only come back.
    """
    topic = letter.headers.get("topic", "").removeprefix(prefix)
    if topic not in INPUT_TOPICS:
        raise Skipped("its topic header names no input topic")
    if "truncated" in letter.headers:
        raise Skipped(
            f"not the whole record: {printable(letter.headers['truncated'], 300)}, and send it again"
        )
    customer = customer_of(letter.value) or letter.headers.get("ce_subject")
    key = customer.encode("utf-8", "replace") if customer else letter.key or b""
    if not force:
        _refuse_what_would_come_back(letter, topic, key, max_bytes, now_ms)
    origin = f"{letter.partition}:{letter.offset}".encode()
    return Destination(topic, key, [*letter.rest, (REPLAYED_FROM, origin)])


def _refuse_what_would_come_back(letter: Letter, topic: str, key: bytes, max_bytes: int, now_ms: int) -> None:
    if len(letter.value) > max_bytes:
        raise Skipped(f"still larger than {max_bytes} bytes")
    try:
        event = decode(topic, key, letter.value, letter.rest)
    except Rejected as problem:
        raise Skipped(f"still {problem.reason}: {printable(problem.detail, 300)}") from None
    ahead = event.time_ms() - now_ms
    if ahead > FUTURE_MS:
        raise Skipped(f"still {printable(str(ahead // SECOND_MS))} s in the future")
