"""``schemas/`` against the code: the files, their examples, and that JSON Schema and msgspec agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from stream_app.ingest import topics
from stream_app.ingest.decode import Reason
from stream_app.ingest.events import EVENT_TYPES, AnyEvent
from stream_app.ingest.topic_specs import topic_specs
from stream_app.metrics.catalogue import COUNT_BY_NAME, RATE_BY_NAME, Dimension, counts_of, rates_of
from stream_app.schemas.__main__ import main
from stream_app.schemas.asyncapi import DEFAULTS
from stream_app.schemas.files import EVENTS, ROOT, SCHEMAS, differences, pretty, write

Json = dict[str, Any]

TYPES = sorted(EVENT_TYPES)
DECODER = msgspec.json.Decoder(AnyEvent)

IDS = ("event_id", "customer_id", "campaign_id", "chat_id", "cart_id", "ticket_id")
NEVER: tuple[Any, ...] = (True, [], {}, ["a"])
NO_ID = (*NEVER, 7, "", "x" * 201)
NO_DIMENSION = (*NEVER, 7, "x" * 201)
NO_AMOUNT = (*NEVER, "1", -0.01, 1.1e12)
NO_TIME = (*NEVER, -1, 1.5, "", "yesterday", "1795341600000", "2026-11-22", "2026-11-22T10:00:00")
NO_TIME_EITHER = ("2026-11-22T24:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T10:00Z", "2026-11-22T10:00:60Z")
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(IDS, NO_ID),
    "event_type": (*NEVER, 7, "", "email.unknown"),
    "event_time": (*NO_TIME, *NO_TIME_EITHER, "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00+25:00"),
    "segment": NO_DIMENSION,
    "channel": NO_DIMENSION,
    "link_url": (*NEVER, 7),
    "user_agent": (*NEVER, 7),
    "machine": (0, 1, "true", [], {}),
    "value": NO_AMOUNT,
    "currency": (*NEVER, 7, "", "eur", "EURO", "€UR"),
    "items": (*NEVER, "1", -1, 1.5),
    "author": (*NEVER, 7, "", "robot"),
    "rating": (*NEVER, "5", 0, 6, 3.5),
}
RIGHT: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(IDS, ("x", "x" * 200, "😀" * 200)),
    "event_time": (
        0,
        10**15,
        "2026-11-22t10:00:00z",
        "2026-11-22T10:00:00.123456789-00:30",
        "2028-02-29 00:00:00Z",
    ),
    "segment": (None, "", "x" * 200),
    "channel": (None, "", "x" * 200),
    "link_url": (None, "", "x" * 5000),
    "user_agent": (None, ""),
    "machine": (None, True, False),
    "value": (0, 12, 12.5, 1e12),
    "currency": (None, "EUR"),
    "items": (None, 0, 1000),
    "author": ("customer", "agent"),
    "rating": (1, 5),
}

# Where the two must differ, and why; everything else is the same, which the tests below hold.
REFUSED_BY_MSGSPEC_ONLY = (
    # JSON Schema calls 5.0 an integer; the decoder wants an integer written as one.
    ("chat.rated", "rating", 5.0),
    ("cart.updated", "items", 0.0),
    ("email.delivered", "event_time", 1_795_341_600_000.0),
    # A pattern has no calendar: JSON Schema leaves days that do not exist to `format`, an annotation.
    ("email.delivered", "event_time", "2026-02-30T00:00:00Z"),
    ("email.delivered", "event_time", "0000-01-01T00:00:00Z"),
)
REFUSED_BY_SCHEMA_ONLY = (
    # The decoder is lenient with an offset without a colon; it is not RFC 3339, so it is not promised.
    ("email.delivered", "event_time", "2026-11-22T10:00:00+0200"),
)


def load(path: str | Path) -> Any:
    return json.loads((ROOT / SCHEMAS / path).read_text("utf-8"))


SCHEMA_OF = {event_type: load(f"events/{event_type}.json") for event_type in TYPES}
VALIDATOR_OF = {event_type: Draft202012Validator(schema) for event_type, schema in SCHEMA_OF.items()}


def by_schema(event_type: str, event: Json) -> bool:
    return bool(VALIDATOR_OF[event_type].is_valid(event))


def by_msgspec(event_type: str, event: Json) -> bool:
    try:
        return type(DECODER.decode(json.dumps(event))) is EVENT_TYPES[event_type]
    except msgspec.ValidationError:
        return False


def verdicts(event_type: str, event: Json) -> tuple[bool, bool]:
    return by_schema(event_type, event), by_msgspec(event_type, event)


def full(event_type: str) -> Json:
    return dict(SCHEMA_OF[event_type]["examples"][1])


def test_generated_files_equal_the_code() -> None:
    assert differences() == [], "run `python -m stream_app.schemas`"


def test_every_event_type_has_a_schema_and_no_other() -> None:
    assert sorted(path.stem for path in (ROOT / EVENTS).glob("*.json")) == TYPES
    assert [SCHEMA_OF[one]["title"] for one in TYPES] == TYPES


@pytest.mark.parametrize("path", sorted((ROOT / SCHEMAS).rglob("*.json")), ids=lambda path: path.name)
def test_schemas_are_valid_and_their_examples_too(path: Path) -> None:
    schema = load(path)
    if path.name == "asyncapi.json":
        return
    Draft202012Validator.check_schema(schema)
    assert schema["title"] and schema["description"] and schema["required"]
    assert schema["additionalProperties"] is True
    assert schema["examples"]
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)
        Draft7Validator({**schema, "$schema": Draft7Validator.META_SCHEMA["$schema"]}).validate(example)


@pytest.mark.parametrize("event_type", TYPES)
def test_examples_decode_into_their_struct(event_type: str) -> None:
    schema = SCHEMA_OF[event_type]
    minimal, everything, integer = schema["examples"]
    assert set(minimal) == set(schema["required"])
    assert set(everything) == set(schema["properties"])
    assert isinstance(integer["event_time"], int)
    decoded = [DECODER.decode(json.dumps(example)) for example in schema["examples"]]
    assert {type(event) for event in decoded} == {EVENT_TYPES[event_type]}
    assert len({event.event_id for event in decoded}) == 3
    assert decoded[0].time_ms() == decoded[2].time_ms() == decoded[1].time_ms() - 250


@pytest.mark.parametrize("event_type", TYPES)
def test_a_required_field_is_required_by_both(event_type: str) -> None:
    for name in SCHEMA_OF[event_type]["properties"]:
        event = full(event_type)
        del event[name]
        if name == "event_type":  # without it msgspec cannot tell the struct
            with pytest.raises(msgspec.ValidationError):
                DECODER.decode(json.dumps(event))
        needed = name in SCHEMA_OF[event_type]["required"]
        assert verdicts(event_type, event) == (not needed, not needed), name


@pytest.mark.parametrize("event_type", TYPES)
def test_wrong_and_right_values_are_so_for_both(event_type: str) -> None:
    for name in SCHEMA_OF[event_type]["properties"]:
        for value in WRONG[name]:
            assert verdicts(event_type, {**full(event_type), name: value}) == (False, False), (name, value)
        for value in RIGHT.get(name, ()):
            assert verdicts(event_type, {**full(event_type), name: value}) == (True, True), (name, value)
        nullable = name not in SCHEMA_OF[event_type]["required"]
        assert verdicts(event_type, {**full(event_type), name: None}) == (nullable, nullable), name


@pytest.mark.parametrize("event_type", TYPES)
def test_another_event_type_is_refused_and_unknown_fields_are_ignored(event_type: str) -> None:
    other = next(one for one in TYPES if one != event_type)
    assert verdicts(event_type, {**full(event_type), "event_type": other}) == (False, False)
    assert verdicts(event_type, {**full(event_type), "new_field": {"any": ["thing"]}}) == (True, True)


@pytest.mark.parametrize(("event_type", "name", "value"), REFUSED_BY_MSGSPEC_ONLY)
def test_what_only_msgspec_refuses(event_type: str, name: str, value: Any) -> None:
    assert verdicts(event_type, {**full(event_type), name: value}) == (True, False)


@pytest.mark.parametrize(("event_type", "name", "value"), REFUSED_BY_SCHEMA_ONLY)
def test_what_only_the_schema_refuses(event_type: str, name: str, value: Any) -> None:
    assert verdicts(event_type, {**full(event_type), name: value}) == (False, True)


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**16)
    | st.floats(-10, 2e12).filter(lambda number: not number.is_integer())
    | st.text(max_size=210)
    | st.datetimes(timezones=st.just(None)).map(lambda moment: moment.isoformat())
    | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(TYPES), st.data(), ANY_JSON)
def test_any_value_in_any_field_gets_the_same_verdict(
    event_type: str, data: st.DataObject, value: Any
) -> None:
    name = data.draw(st.sampled_from(sorted(SCHEMA_OF[event_type]["properties"])))
    ours, decoders = verdicts(event_type, {**full(event_type), name: value})
    assert ours == decoders, (name, value)


def test_a_snapshot_lists_the_catalogue() -> None:
    definitions = load("metrics.snapshot.json")["$defs"]
    for dimension in Dimension:
        window = definitions[dimension]["properties"]
        counts, rates = counts_of(dimension), rates_of(dimension)
        assert window["counts"]["required"] == [count.name for count in counts]
        assert window["rates"]["required"] == [rate.name for rate in rates]
    names = ["proportion", "mean", *COUNT_BY_NAME, *RATE_BY_NAME, *Dimension]
    assert list(definitions) == names, "each name once"


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("windows", "1h", "counts", "deliveries"), -1),
        (("windows", "1h", "counts", "deliveries"), 1.5),
        (("windows", "24h", "rates", "ctr", "low"), 1.1),
        (("windows", "total", "rates", "ctr"), 0.1),
        (("dimension",), "customer"),
        (("as_of",), "2026-11-22T10:00:10Z"),
    ],
)
def test_a_wrong_snapshot_is_refused(path: tuple[str, ...], wrong: object) -> None:
    schema = load("metrics.snapshot.json")
    snapshot = place = schema["examples"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    assert not Draft202012Validator(schema).is_valid(snapshot)


def test_a_snapshot_without_a_window_or_a_count_is_refused() -> None:
    validator = Draft202012Validator(load("metrics.snapshot.json"))
    snapshot = load("metrics.snapshot.json")["examples"][0]
    del snapshot["windows"]["1m"]["counts"]["lost_before"]
    assert not validator.is_valid(snapshot)
    snapshot = load("metrics.snapshot.json")["examples"][0]
    del snapshot["windows"]["total"]
    assert not validator.is_valid(snapshot)


def test_an_alert_without_what_its_kind_needs_is_refused() -> None:
    schema = load("alert.json")
    validator = Draft202012Validator(schema)
    for example in schema["examples"]:
        needed = ["score", "band"] if example["kind"] == "churn" else ["value", "threshold", "low"]
        for name in [*schema["required"], *needed]:
            assert not validator.is_valid({key: value for key, value in example.items() if key != name}), name


ASYNCAPI = load("asyncapi.json")


def references(value: object, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield at, value["$ref"]
        for name, inner in value.items():
            yield from references(inner, f"{at}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from references(inner, f"{at}/{index}")


def resolve(document: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("#/").split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    files = set()
    for at, reference in references(ASYNCAPI):
        file, _, pointer = reference.partition("#")
        assert resolve(load(file) if file else ASYNCAPI, f"#{pointer}" if pointer else "#/title"), at
        files.add((ROOT / SCHEMAS / file).resolve())
    others = {path for path in (ROOT / SCHEMAS).rglob("*.json") if path.name != "asyncapi.json"}
    assert others <= files, "a schema that no message refers to"


def test_the_asyncapi_document_has_the_structure_of_version_3() -> None:
    """No package on PyPI ships the official JSON Schema, so what it asks of the parts we use is said here.

    By hand: ``npm pack @asyncapi/specs`` (schemas/3.0.0.json), or ``npx @asyncapi/cli validate``.
    """
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert set(ASYNCAPI) <= {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    assert all({"host", "protocol"} <= set(server) for server in ASYNCAPI["servers"].values())
    for channel in ASYNCAPI["channels"].values():
        assert set(channel) == {"address", "title", "description", "servers", "messages", "bindings"}
        known = {"topic", "partitions", "replicas", "topicConfiguration", "bindingVersion"}
        assert set(channel["bindings"]["kafka"]) <= known
        cleanup = channel["bindings"]["kafka"].get("topicConfiguration", {}).get("cleanup.policy", [])
        assert set(cleanup) <= {"compact", "delete"}
    for message in ASYNCAPI["components"]["messages"].values():
        assert set(message) <= {"title", "description", "contentType", "headers", "payload", "bindings"}
        assert set(message["bindings"]["kafka"]) == {"key", "bindingVersion"}
        for schema in (message["bindings"]["kafka"]["key"], message.get("headers", {})):
            Draft7Validator.check_schema(schema)
        assert message.get("headers", {}).get("type", "object") == "object"


def test_channels_are_the_topics() -> None:
    channels = ASYNCAPI["channels"]
    assert list(channels) == [*topics.INPUT_TOPICS, *topics.OUTPUT_TOPICS]
    specs = {spec.name: spec for spec in topic_specs(DEFAULTS)}
    for topic, channel in channels.items():
        assert channel["address"] == f"engagement.{topic}"
        assert channel["bindings"]["kafka"]["partitions"] == specs[channel["address"]].partitions
    compacted = [name for name, one in channels.items() if "compact" in json.dumps(one["bindings"])]
    assert compacted == [topics.METRICS]


def test_operations_receive_what_comes_in_and_send_what_goes_out() -> None:
    way = {}
    for operation in ASYNCAPI["operations"].values():
        channel = operation["channel"]["$ref"]
        way[channel.removeprefix("#/channels/")] = operation["action"]
        of_channel = resolve(ASYNCAPI, channel)["messages"]
        assert [one["$ref"] for one in operation["messages"]] == [
            f"{channel}/messages/{name}" for name in of_channel
        ]
    received, sent = (
        dict.fromkeys(topics.INPUT_TOPICS, "receive"),
        dict.fromkeys(topics.OUTPUT_TOPICS, "send"),
    )
    assert way == received | sent
    assert len(ASYNCAPI["operations"]) == len(way)


def test_messages_are_on_the_topic_that_carries_them() -> None:
    for event_type, event_class in EVENT_TYPES.items():
        holders = [
            topic for topic, channel in ASYNCAPI["channels"].items() if event_type in channel["messages"]
        ]
        assert holders == [event_class.topic]


def test_dead_letter_reasons_are_those_of_the_decoder() -> None:
    headers = ASYNCAPI["components"]["messages"]["deadletter"]["headers"]
    assert headers["properties"]["reason"]["enum"] == [str(reason) for reason in Reason]
    assert headers["required"] == ["reason", "detail", "topic", "partition", "offset"]


def test_check_names_each_file_that_differs_and_write_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    arguments = ["--root", str(tmp_path)]
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    stale = tmp_path / EVENTS / "email.gone.json"
    stale.write_text("{}")
    (tmp_path / SCHEMAS / "alert.json").write_text("{}")
    (tmp_path / "docs/reference/topics.md").unlink()
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [
        "schemas/alert.json: differs from the code",
        "docs/reference/topics.md: missing",
        "schemas/events/email.gone.json: belongs to no event type",
    ]
    assert "python -m stream_app.schemas" in said[3]
    assert len(write(tmp_path)) == 3
    assert not stale.exists()
    assert write(tmp_path) == []


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--root", str(tmp_path)])
    assert stopped.value.code == 2


@given(ANY_JSON)
def test_pretty_is_the_same_json(value: Any) -> None:
    assert json.loads(pretty(value)) == value
