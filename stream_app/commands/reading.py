"""Reads output topics without a consumer group, for ``watch`` and ``deadletters``: nobody's place is moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stream_app.failure import Failure, Unreachable
from stream_app.ingest.topic_specs import DEAD_LETTER_BYTES
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.connections import CONNECT_SECONDS, kafka_python_options
from stream_app.sinks.reach import require_kafka

POLL_MS = 200
REQUEST_MS = 15_000


@contextmanager
def consumer(settings: Settings, topics: Sequence[str]) -> Iterator[Any]:
    """A consumer of all partitions of topics, by their full names, that starts at their beginning.

    Raises:
        Unreachable: Kafka gives no answer, or stops giving answers.
        Failure: a topic is missing.
    """
    require_kafka(settings)
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    reader = None
    try:
        reader = KafkaConsumer(
            **kafka_python_options(settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=2 * DEAD_LETTER_BYTES,
            request_timeout_ms=REQUEST_MS,
            bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
            metrics_enabled=False,
        )
        _assign_all(reader, topics)
        yield reader
    except KafkaError as problem:
        raise Unreachable(
            f"Kafka at {settings.kafka} ({ENV_PREFIX}KAFKA) cannot be read "
            f"({type(problem).__name__}: {problem}); `stream-app doctor` says more"
        ) from None
    finally:
        if reader is not None:
            reader.close(autocommit=False)


def read_to_end(reader: Any) -> Iterator[Any]:
    """All records from where the consumer stands to the ends that its partitions have now.

    What is published while reading is left out, so that reading ends. The end that a broker lists may
    lie inside the last batch (the embedded broker's does); the first fetch tells the true one.
    """
    listed = reader.end_offsets(reader.assignment())
    ends: dict[Any, int] = {}
    unread = {partition for partition, end in listed.items() if reader.position(partition) < end}
    while unread:
        for partition, records in reader.poll(timeout_ms=POLL_MS).items():
            end = ends.setdefault(partition, max(listed[partition], reader.highwater(partition) or 0))
            yield from (record for record in records if record.offset < end)
        unread = {
            partition
            for partition in unread
            if reader.position(partition) < ends.get(partition, listed[partition])
        }


def headers_of(record: Any) -> dict[str, str]:
    """A record's headers as text; of several of one name the last."""
    return {name: (content or b"").decode("utf-8", "replace") for name, content in record.headers or ()}


def _assign_all(reader: Any, topics: Sequence[str]) -> None:
    from kafka import TopicPartition

    known = reader.topics()
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise Failure(f"{', '.join(missing)}: missing; run `stream-app topics create`")
    assigned = [
        TopicPartition(topic, number)
        for topic in topics
        for number in reader.partitions_for_topic(topic) or ()
    ]
    reader.assign(assigned)
    reader.seek_to_beginning(*assigned)
