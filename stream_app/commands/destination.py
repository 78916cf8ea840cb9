"""Where a line belongs: its topic and its event, once the decoder has found nothing wrong with it."""

from __future__ import annotations

import msgspec

from stream_app.ingest.decode import Reason, Rejected, decode
from stream_app.ingest.events import EVENT_TYPES, Event
from stream_app.ingest.topics import INPUT_TOPICS

_NOTHING = msgspec.Raw()


class _Head(msgspec.Struct):
    """The few fields that say where an event belongs, in both forms; all other content is passed over."""

    event_type: msgspec.Raw = _NOTHING
    customer_id: msgspec.Raw = _NOTHING
    type: msgspec.Raw = _NOTHING
    subject: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING

    def is_cloud_event(self) -> bool:
        """Whether it is that of a structured CloudEvent."""
        return bool(self.type) and not self.event_type


_HEAD = msgspec.json.Decoder(_Head)
_TEXT = msgspec.json.Decoder(str)


def destination(line: bytes, max_bytes: int) -> tuple[str, bytes]:
    """The topic (without prefix) and the key of a line that is a valid event.

    Raises:
        Rejected: the worker would not count it; the reason is the one it would give.
    """
    topic, event = event_of(line, max_bytes)
    return topic, event.customer_id.encode()


def event_of(line: bytes, max_bytes: int) -> tuple[str, Event]:
    """The topic (without prefix) and the event of a line.

    Raises:
        Rejected: as ``destination``; its event time may still be late, or of the future.
    """
    if len(line) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"longer than {max_bytes} bytes")
    head = _head(line)
    event_type = _text(head.type if head.is_cloud_event() else head.event_type)
    event_class = EVENT_TYPES.get(event_type or "")
    topic = INPUT_TOPICS[0] if event_class is None else event_class.topic
    key = (_customer(head) or "").encode()
    try:
        event = decode(topic, key, line)
    except Rejected as problem:
        if problem.reason == Reason.UNKNOWN_TYPE and event_class is None and event_type is not None:
            raise Rejected(problem.reason, f"{event_type[:100]!r} is no event type") from None
        raise
    return topic, event


def customer_of(value: bytes) -> str | None:
    """The customer that a value names, read as leniently as can be; None if it names none."""
    return _customer(_head(value))


def _head(value: bytes | msgspec.Raw) -> _Head:
    """The head of a JSON object; an empty one for anything else, which is the decoder's to refuse."""
    try:
        return _HEAD.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Head()


def _customer(head: _Head) -> str | None:
    if not head.is_cloud_event():
        return _text(head.customer_id)
    candidates = (head.subject, _head(head.data).customer_id, head.customer_id)
    return next(filter(None, map(_text, candidates)), None)


def _text(content: msgspec.Raw) -> str | None:
    """The text that a field holds; None if it is not there, or holds something else."""
    try:
        return _TEXT.decode(content) if content else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
