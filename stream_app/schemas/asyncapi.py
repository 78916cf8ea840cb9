"""The AsyncAPI 3.0 document of all topics, in and out.

Stands beside ``ingest/topics.py`` and ``ingest/topic_specs.py``: one channel per topic, seen from this
program, which receives from the seven and sends to the others (the internal topics between its parts
are nobody's contract). Payloads are the JSON Schemas next to the document; they use nothing that draft
7, AsyncAPI's own dialect, reads differently. Names and numbers are those of the default settings.
"""

from __future__ import annotations

from stream_app import __version__
from stream_app.ingest import topics
from stream_app.ingest.topic_specs import topic_specs
from stream_app.schemas.alerts import alert_headers_schema, dead_letter_headers_schema
from stream_app.schemas.events import types_of
from stream_app.schemas.fields import CLOUD_EVENT_ATTRIBUTES, KEY_MEANINGS, TOPIC_MEANINGS, Json
from stream_app.settings import Settings

BINDING = {"bindingVersion": "0.5.0"}
JSON_TYPE = "application/json"
DEFAULTS = Settings.model_construct()
"""The settings when nobody sets any, whatever the environment says now."""
CLOUD_EVENT_MESSAGES = ("cloudevent.structured", "cloudevent.binary")


def asyncapi_document() -> Json:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "stream-app",
            "version": __version__,
            "description": "Live engagement metrics and alerts from Kafka. Topic names begin with "
            "STREAM_APP_PREFIX; the addresses here are those of its default. Unknown fields are ignored, "
            "and fields may be added to what goes out.",
        },
        "defaultContentType": JSON_TYPE,
        "servers": {
            "kafka": {
                "host": DEFAULTS.kafka,
                "protocol": "kafka",
                "description": "Kafka's bootstrap servers: STREAM_APP_KAFKA",
            }
        },
        "channels": {topic: _channel(topic) for topic in (*topics.INPUT_TOPICS, *topics.OUTPUT_TOPICS)},
        "operations": _operations(),
        "components": {"messages": _messages()},
    }


def messages_of(topic: str) -> list[str]:
    """The messages that a topic carries, by name."""
    if topic in topics.INPUT_TOPICS:
        return [*types_of(topic), *CLOUD_EVENT_MESSAGES]
    if topic in topics.ALERT_TOPICS:
        return ["alert"]
    return {topics.METRICS: ["snapshot"], topics.DEAD_LETTERS: ["deadletter"]}[topic]


def _channel(topic: str) -> Json:
    return {
        "address": DEFAULTS.topic(topic),
        "title": topic,
        "description": f"{TOPIC_MEANINGS[topic]}. The record key is {KEY_MEANINGS[topic]}.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages_of(topic)},
        "bindings": {"kafka": _kafka_topic(topic)},
    }


def _kafka_topic(topic: str) -> Json:
    spec = next(spec for spec in topic_specs(DEFAULTS) if spec.name == DEFAULTS.topic(topic))
    configuration: Json = {name: int(text) if text.isdigit() else text for name, text in spec.configs.items()}
    if "cleanup.policy" in configuration:
        configuration["cleanup.policy"] = configuration["cleanup.policy"].split(",")
    written = {"topicConfiguration": configuration} if configuration else {}
    return {"partitions": spec.partitions, "replicas": DEFAULTS.replication, **written, **BINDING}


def _operations() -> Json:
    received = {
        _operation_name("receive", topic): _operation("receive", topic) for topic in topics.INPUT_TOPICS
    }
    sent = {_operation_name("send", topic): _operation("send", topic) for topic in topics.OUTPUT_TOPICS}
    return received | sent


def _operation_name(action: str, topic: str) -> str:
    return action + "".join(part.capitalize() for part in topic.split("."))


def _operation(action: str, topic: str) -> Json:
    operation: Json = {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": f"{action} {TOPIC_MEANINGS[topic]}",
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in messages_of(topic)],
    }
    if action == "receive":
        operation["bindings"] = {
            "kafka": {"groupId": {"type": "string", "const": DEFAULTS.group_id}, **BINDING}
        }
    return operation


def _messages() -> Json:
    events = {name: _event_message(name) for topic in topics.INPUT_TOPICS for name in types_of(topic)}
    structured, binary = CLOUD_EVENT_MESSAGES
    return {
        **events,
        structured: {
            "title": "any event, as a CloudEvent in structured mode",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "./cloudevent.json"},
            "bindings": _key("the customer: the same as subject"),
        },
        binary: _binary_cloud_event(),
        "snapshot": {
            "title": "snapshot",
            "contentType": JSON_TYPE,
            "payload": {"$ref": "./metrics.snapshot.json"},
            "bindings": _key("dimension:key, such as campaign:spring-sale"),
        },
        "alert": {
            "title": "alert, as a CloudEvent in binary mode",
            "contentType": JSON_TYPE,
            "headers": alert_headers_schema(),
            "payload": {"$ref": "./alert.json"},
            "bindings": _key("the alert's fingerprint"),
        },
        "deadletter": {
            "title": "dead letter",
            "description": "The value is the original bytes, untouched, whatever they are.",
            "contentType": "application/octet-stream",
            "headers": dead_letter_headers_schema(),
            "bindings": {"kafka": {"key": {"description": "the original key, untouched"}, **BINDING}},
        },
    }


def _event_message(event_type: str) -> Json:
    return {
        "title": event_type,
        "contentType": JSON_TYPE,
        "payload": {"$ref": f"./events/{event_type}.json"},
        "bindings": _key("the customer: the same as customer_id", {"minLength": 1, "maxLength": 200}),
    }


def _binary_cloud_event() -> Json:
    headers = {
        f"ce_{name}": {"description": text, "type": "string"} for name, text in CLOUD_EVENT_ATTRIBUTES.items()
    }
    return {
        "title": "any event, as a CloudEvent in Kafka's binary mode",
        "contentType": JSON_TYPE,
        "headers": {"type": "object", "required": list(headers), "properties": headers},
        "payload": {"description": "the fields that the headers do not hold", "type": "object"},
        "bindings": _key("the customer: the same as ce_subject"),
    }


def _key(description: str, limits: Json | None = None) -> Json:
    key: Json = {"description": description, "type": "string", **(limits or {})}
    return {"kafka": {"key": key, **BINDING}}
