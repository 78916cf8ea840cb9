"""From a record's bytes to a checked event, or to the reason why not.

Stands between the Kafka batches and the shard. Accepts the plain form (one JSON object) and
CloudEvents 1.0, structured or in Kafka's binary mode. Nothing that a record holds can raise
anything but ``Rejected``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from stream_app.ingest.events import EVENT_TYPES, AnyEvent, Event, event_type_of

Headers = Sequence[tuple[str, bytes | None]]


class Reason(StrEnum):
    """Why a record is in the dead letters."""

    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    UNKNOWN_TYPE = "unknown_type"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    LATE = "late"
    FUTURE = "future"


class Rejected(Exception):
    """A record that is not counted: the reason, and the detail for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


_NULL = msgspec.Raw(b"null")
_Object = dict[str, msgspec.Raw]
"""A JSON object whose values are read later: those of unknown fields never, so that they cannot be wrong."""


class _Envelope(msgspec.Struct):
    """A structured CloudEvent."""

    id: msgspec.Raw
    type: msgspec.Raw
    specversion: str
    time: msgspec.Raw = _NULL
    subject: msgspec.Raw = _NULL
    data: _Object | None = None


_decode_event: Callable[[bytes], Event] = msgspec.json.Decoder(AnyEvent).decode
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_OBJECT = msgspec.json.Decoder(_Object)
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)
_FIELDS_OF_CLOUD_EVENTS = {
    "id": "event_id",
    "type": "event_type",
    "time": "event_time",
    "subject": "customer_id",
}


def decode(topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Event:
    """Decode and check one record of an input topic (named without the prefix).

    Raises:
        Rejected: the record is no valid event of this topic, or its key is not its customer.
    """
    return decode_with_time(topic, key, value, headers)[0]


def decode_with_time(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()
) -> tuple[Event, int]:
    """As ``decode``; returns the event time as well, in milliseconds since 1970."""
    try:
        # Nearly all records are plain events: what is not, or is wrong, is looked at again with more care.
        if headers or not value or not value.isascii():
            event = _read_with_care(topic, value, headers)
        else:
            event = _decode_event(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        event = _read_with_care(topic, value, headers)
    if event.topic != topic:
        raise _misplaced(type(event), topic)
    time_ms = event.time_ms()
    if time_ms < 0:
        raise Rejected(Reason.INVALID_EVENT, "event_time is before 1970")
    if key != event.customer_id.encode():
        raise _key_mismatch(key, event.customer_id)
    return event, time_ms


def _read_with_care(topic: str, value: bytes | None, headers: Headers) -> Event:
    try:
        return _read(value, headers)
    except msgspec.ValidationError as problem:
        raise _refusal(topic, str(problem)) from None
    except msgspec.DecodeError as problem:
        raise Rejected(Reason.INVALID_JSON, str(problem)) from None
    except UnicodeDecodeError as problem:
        raise Rejected(Reason.INVALID_JSON, f"not UTF-8 text ({problem.reason})") from None
    except RecursionError:
        raise Rejected(Reason.INVALID_JSON, "nested too deeply") from None


def _read(value: bytes | None, headers: Headers) -> Event:
    is_binary = bool(headers) and any(name == "ce_specversion" for name, _ in headers)
    if not value and not is_binary:
        raise Rejected(Reason.INVALID_JSON, "the record is empty; expected one JSON object")
    value = value or b"{}"
    if not value.isascii():
        value.decode("utf-8")  # the decoder passes over the text of unknown fields
    try:
        if is_binary:
            return _read_binary_cloud_event(value, headers)
        return _read_perhaps_structured(value) if b'"specversion"' in value else _decode_event(value)
    except msgspec.ValidationError:
        _ANY_JSON.decode(value)  # what is no JSON is called that, whatever is wrong before it breaks
        raise


def _read_binary_cloud_event(value: bytes, headers: Headers) -> Event:
    texts = {
        name[3:]: (content or b"").decode("utf-8") for name, content in headers if name.startswith("ce_")
    }
    attributes = {name: msgspec.Raw(msgspec.json.encode(text)) for name, text in texts.items()}
    return _from_cloud_event(texts["specversion"], attributes, _OBJECT.decode(value))


def _read_perhaps_structured(value: bytes) -> Event:
    fields = _OBJECT.decode(value)
    if "event_type" in fields or "type" not in fields:  # a plain event that happens to bear the word
        return _decode_event(value)
    envelope = _ENVELOPE.decode(value)
    return _from_cloud_event(envelope.specversion, msgspec.structs.asdict(envelope), envelope.data or {})


def _from_cloud_event(version: str, attributes: _Object, data: _Object) -> Event:
    if not version.startswith("1."):
        raise msgspec.ValidationError(f"CloudEvents {version!r} is not 1.0")
    fields = dict(data)
    for attribute, field in _FIELDS_OF_CLOUD_EVENTS.items():
        given = attributes.get(attribute, _NULL)
        if bytes(given) != b"null":
            fields[field] = given
    return _decode_event(msgspec.json.encode(fields))


def _refusal(topic: str, message: str) -> Rejected:
    """``$.event_type`` is where msgspec says that the tag is none of the union's."""
    if message.startswith("Invalid value") and message.endswith("`$.event_type`"):
        name = message.removeprefix("Invalid value ").split(" - at")[0].strip("'\"")
        return Rejected(
            Reason.UNKNOWN_TYPE, f"{name[:100]!r} is no event type; {topic} carries {_carried(topic)}"
        )
    return Rejected(Reason.INVALID_EVENT, message[:500])


def _misplaced(event_class: type[Event], topic: str) -> Rejected:
    name = event_type_of(event_class)
    detail = f"{name} belongs on {event_class.topic}; {topic} carries {_carried(topic)}"
    return Rejected(Reason.UNKNOWN_TYPE, detail)


def _carried(topic: str) -> str:
    return ", ".join(name for name, event_class in EVENT_TYPES.items() if event_class.topic == topic)


def _key_mismatch(key: bytes | None, customer_id: str) -> Rejected:
    shown = "missing" if key is None else repr(key[:100].decode("utf-8", "replace"))
    return Rejected(
        Reason.KEY_MISMATCH,
        f"the record key is {shown}, but customer_id is {customer_id!r}; they must be equal",
    )
