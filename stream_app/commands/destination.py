"""Where a line of ``send`` goes: its topic and its key, once the decoder has found nothing wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec

from stream_app.ingest.decode import Reason, Rejected, decode
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS


class _Head(msgspec.Struct):
    """The few fields that say where an event belongs, in both forms; the rest is passed over."""

    event_type: Any = None
    customer_id: Any = None
    type: Any = None
    subject: Any = None
    data: Any = None


_HEAD = msgspec.json.Decoder(_Head)


def destination(line: bytes, max_bytes: int) -> tuple[str, bytes]:
    """The topic (without prefix) and the key of a line that is a valid event.

    Raises:
        Rejected: the worker would not count it; the reason is the one it would give.
    """
    if len(line) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"longer than {max_bytes} bytes")
    try:
        head = _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode(INPUT_TOPICS[0], None, line)  # says why
        raise Rejected(Reason.INVALID_JSON, "not one JSON object") from None
    event_type = head.type if head.event_type is None else head.event_type
    event_class = EVENT_TYPES.get(event_type) if isinstance(event_type, str) else None
    if event_class is None and isinstance(event_type, str):
        raise Rejected(Reason.UNKNOWN_TYPE, f"{event_type[:100]!r} is no event type")
    topic = INPUT_TOPICS[0] if event_class is None else event_class.topic
    event = decode(topic, customer_key(head), line)
    return topic, event.customer_id.encode()


def customer_of(value: bytes) -> str | None:
    """The customer that a value names, read as leniently as can be; None if it names none."""
    try:
        head = _HEAD.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _customer(head)


def customer_key(head: _Head) -> bytes:
    """The key that goes with a head; empty where it has none, for the decoder to say what is missing."""
    return (_customer(head) or "").encode("utf-8", "surrogatepass")


def _customer(head: _Head) -> str | None:
    candidates = [head.customer_id]
    if head.event_type is None and head.type is not None:  # a structured CloudEvent
        inside = head.data.get("customer_id") if isinstance(head.data, dict) else None
        candidates = [head.subject, inside, head.customer_id]
    return next((name for name in candidates if isinstance(name, str) and name), None)
