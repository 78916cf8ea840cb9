"""One JSON Schema (2020-12) per event type, made from the msgspec structs, with examples.

Stands beside ``ingest/events.py``: what is required, the types and the limits come from there; this
module makes the result readable (nothing behind a ``$ref``, ``type: [string, null]`` for what may be
null) and says more precisely than msgspec's own export how a time is written.
"""

from __future__ import annotations

import inspect

import msgspec

from stream_app.ingest.events import EVENT_TYPES, Event
from stream_app.schemas.fields import (
    CLOUD_EVENT_ATTRIBUTES,
    EVENT_TIME_MS,
    EVENT_TIME_OFFSET,
    EVENT_TIME_TEXT,
    EXAMPLE_VALUES,
    FIELD_MEANINGS,
    Json,
)

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
RFC_3339 = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]"
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
EVENT_TIME: Json = {
    "anyOf": [
        {"type": "string", "format": "date-time", "pattern": RFC_3339},
        {"type": "integer", "minimum": 0},
    ]
}


def event_schemas() -> dict[str, Json]:
    """The JSON Schema of every event type."""
    return {event_type: event_schema(event_type) for event_type in EVENT_TYPES}


def types_of(topic: str) -> list[str]:
    """The event types that an input topic carries."""
    return [event_type for event_type, cls in EVENT_TYPES.items() if cls.topic == topic]


def event_schema(event_type: str) -> Json:
    """The JSON Schema of one event type, with its examples."""
    event_class = EVENT_TYPES[event_type]
    _, components = msgspec.json.schema_components([event_class])
    raw = components[event_class.__name__]
    required = ["event_id", *(name for name in raw["required"] if name != "event_id")]
    order = [*required, *(name for name in raw["properties"] if name not in required)]
    return {
        "$schema": JSON_SCHEMA,
        "title": event_type,
        "description": f"{_first_line(event_class)} Topic: {event_class.topic} (after the prefix).",
        "type": "object",
        "required": required,
        "properties": {name: _property(event_type, name, raw["properties"][name]) for name in order},
        "additionalProperties": True,
        "examples": _examples(event_type, required, order),
    }


def cloud_event_schema() -> Json:
    """The envelope of an event in CloudEvents' structured mode."""
    attributes: Json = {
        "specversion": {"type": "string", "pattern": "^1[.]"},
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "source": {"type": "string", "minLength": 1},
        "type": {"enum": list(EVENT_TYPES)},
        "time": EVENT_TIME["anyOf"][0],
        "subject": {"type": "string", "minLength": 1, "maxLength": 200},
    }
    properties = {
        name: {"description": CLOUD_EVENT_ATTRIBUTES[name], **attributes[name]} for name in attributes
    }
    properties["data"] = {"description": "the event's other fields", "type": ["object", "null"]}
    stands_for = {"id": "event_id", "type": "event_type", "time": "event_time", "subject": "customer_id"}
    plain = event_schema("email.clicked")["examples"][0]
    example = {"specversion": "1.0", "source": "/mail"}
    example |= {attribute: plain[field] for attribute, field in stands_for.items()}
    data = {name: value for name, value in plain.items() if name not in stands_for.values()}
    return {
        "$schema": JSON_SCHEMA,
        "title": "CloudEvent",
        "description": "Any event in CloudEvents 1.0 structured mode: id, type, time and subject stand for "
        "event_id, event_type, event_time and customer_id; data holds the rest.",
        "type": "object",
        "required": list(attributes),
        "properties": properties,
        "additionalProperties": True,
        "examples": [{**example, "data": data}],
    }


def _property(event_type: str, name: str, raw: Json) -> Json:
    if name not in FIELD_MEANINGS:
        raise KeyError(f"{event_type}.{name} has no meaning in FIELD_MEANINGS; write one")
    if name == "event_type":
        return {"description": FIELD_MEANINGS[name], "type": "string", "const": event_type}
    return {"description": FIELD_MEANINGS[name], **(EVENT_TIME if name == "event_time" else _plain(raw))}


def _plain(raw: Json) -> Json:
    """Without the default, ``X or null`` as one type, and the limits in the order one reads them."""
    raw = {key: value for key, value in raw.items() if key != "default"}
    if "anyOf" in raw:
        kinds = [kind for kind in raw["anyOf"] if kind != {"type": "null"}]
        if len(kinds) != 1 or "type" not in kinds[0]:
            raise ValueError(f"{raw} is more than one type or null; say here how it is to be written")
        raw = {**kinds[0], "type": [kinds[0]["type"], "null"]}
    if "enum" in raw:
        raw = {"type": "string", **raw}
    limits = ("type", "enum", "minLength", "maxLength", "pattern", "minimum", "maximum")
    unknown = set(raw) - set(limits)
    if unknown:
        raise ValueError(f"{sorted(unknown)} are not known here; say how they are to be written")
    return {key: _whole(raw[key]) for key in limits if key in raw}


def _whole(limit: object) -> object:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _examples(event_type: str, required: list[str], names: list[str]) -> list[Json]:
    """Three examples: only what is needed, every field, and a time in milliseconds with a null."""
    values = {**EXAMPLE_VALUES, "event_type": event_type}
    minimal = values | {"event_id": f"{event_type}-1", "event_time": EVENT_TIME_TEXT}
    full = values | {"event_id": f"{event_type}-2", "event_time": EVENT_TIME_OFFSET}
    integer = values | {"event_id": f"{event_type}-3", "event_time": EVENT_TIME_MS}
    return [
        {name: minimal[name] for name in required},
        {name: full[name] for name in names},
        {name: integer[name] for name in required} | {"segment": None},
    ]


def _first_line(event_class: type[Event]) -> str:
    return (inspect.getdoc(event_class) or "").split("\n\n")[0].replace("\n", " ").replace("``", "")
