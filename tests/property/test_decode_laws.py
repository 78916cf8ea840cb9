"""Nothing that a record holds can raise anything but ``Rejected``, or bring a shard down."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_app.ingest.decode import Rejected, decode
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS
from tests.support.pipeline import START_MS, Pipeline
from tests.support.strategies import draws, event_of, examples, world_settings

Json = dict[str, Any]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*EVENT_TYPES])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "event_id event_type event_time customer_id segment campaign_id channel chat_id cart_id ticket_id value"
    " currency items author rating machine user_agent specversion id type time subject data"
)
fields = st.sampled_from(FIELDS.split())
events = draws.map(lambda draw: event_of(draw, START_MS, "e"))
topics = st.sampled_from(INPUT_TOPICS)
keys = st.none() | st.binary(max_size=4) | st.just(b"c0")
headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_specversion", "ce_id", "ce_type", "ce_time", "ce_subject", "x"])
        | st.text(max_size=5),
        st.none()
        | st.binary(max_size=8)
        | st.sampled_from([b"1.0", b"email.opened", b"2026-01-01T00:00:00Z"]),
    ),
    max_size=6,
)


def refuse_or_accept(topic: str, key: bytes | None, value: bytes | None, given: Any = ()) -> None:
    with suppress(Rejected):
        assert decode(topic, key, value, given).time_ms() >= 0


@examples(1)
@given(topics, keys, st.none() | st.binary(max_size=60), headers)
def test_any_bytes_are_accepted_or_rejected(
    topic: str, key: bytes | None, value: bytes | None, given: Any
) -> None:
    refuse_or_accept(topic, key, value, given)


@examples(1)
@given(events, st.dictionaries(fields, values, max_size=4), st.lists(fields, max_size=2), headers)
def test_any_json_is_accepted_or_rejected(event: Json, changed: Json, dropped: list[str], given: Any) -> None:
    topic = EVENT_TYPES[event["event_type"]].topic
    bent = {name: value for name, value in {**event, **changed}.items() if name not in dropped}
    value = json.dumps(bent).encode("utf-8", "replace")
    refuse_or_accept(topic, event["customer_id"].encode(), value)
    refuse_or_accept(topic, event["customer_id"].encode(), value, given)


@examples()
@given(events, st.integers(0, 400), st.integers(0, 400), st.binary(max_size=3))
def test_a_damaged_record_is_accepted_or_rejected(event: Json, first: int, cut: int, patch: bytes) -> None:
    value = json.dumps(event).encode()
    damaged = value[:first] + patch + value[first + cut :]
    refuse_or_accept(EVENT_TYPES[event["event_type"]].topic, b"c0", damaged)


@examples()
@given(events, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9))
def test_any_form_of_an_event_decodes_to_the_same(event: Json, name: str) -> None:
    event = {**event, "event_id": name, "customer_id": name, "event_time": "2026-01-02T03:04:05.678Z"}
    topic, key = EVENT_TYPES[event["event_type"]].topic, name.encode()
    attributes = {
        "id": event["event_id"],
        "type": event["event_type"],
        "time": event["event_time"],
        "subject": event["customer_id"],
    }
    data = {field: value for field, value in event.items() if value not in attributes.values()}
    structured = {"specversion": "1.0", "source": "/a", **attributes, "data": data}
    binary = [("ce_specversion", b"1.0"), *((f"ce_{n}", v.encode()) for n, v in attributes.items())]
    plain = decode(topic, key, json.dumps(event).encode())
    assert decode(topic, key, json.dumps(structured).encode()) == plain
    assert decode(topic, key, json.dumps(data).encode(), binary) == plain


@examples(0.5)
@given(st.lists(st.tuples(topics, events, st.dictionaries(fields, values, max_size=2), keys), max_size=8))
def test_every_record_is_counted_or_a_duplicate_or_a_dead_letter(sent: list[Any]) -> None:
    made = Pipeline(world_settings(), 1, START_MS)
    for topic, event, changed, key in sent:
        place = EVENT_TYPES[event["event_type"]].topic if changed else topic
        made.send(
            json.dumps({**event, **changed}).encode(), topic=place, key=key or event["customer_id"].encode()
        )
    made.settle()
    shard = made.shards[0].shard
    assert shard.accepted + shard.duplicates + len(made.dead_letters) == len(sent)
    before = made.merged()
    made.crash(rewind=1_000)
    made.settle()
    assert {k: v["windows"] for k, v in made.merged().items()} == {k: v["windows"] for k, v in before.items()}
