"""Which topics there must be, with how many partitions and which configuration: data.

Stands beside ``topics.py``, which only names them; ``sinks/topic_admin.py`` creates and checks them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from stream_app.clock import DAY_MS, MINUTE_MS
from stream_app.ingest.topics import ALERT_TOPICS, DEAD_LETTERS, INPUT_TOPICS, METRICS, PARTIALS
from stream_app.settings import Settings

SHARDS_TABLE: Final = "shards"
MERGE_TABLE: Final = "merge"
REPLAYED: Final = "deadletters.replayed"
"""Internal: notes which dead letters were replayed, so that none is replayed twice."""

DEAD_LETTER_BYTES: Final = 16 * 1024 * 1024
"""A dead letter is as large as its record, up to this size; a larger one is cut."""

CHANGELOG_CONFIGS: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(2 * 1024 * 1024),
    "delete.retention.ms": str(10 * MINUTE_MS),
}
"""A new owner reads a journal whole, and Kafka compacts only what lies behind the segment being written: with its usual
segments that is a gigabyte, and with its usual day of tombstones a million of those. What a tombstone removes is void or
outdated to any reader (decision 2), so that none has to see it."""


@dataclass(frozen=True)
class TopicSpec:
    """One topic, by its full name.

    ``exact`` says that another number of partitions breaks the counting, because a shard is one
    partition number over all those topics; elsewhere any number will do.
    """

    name: str
    partitions: int
    exact: bool
    configs: dict[str, str] = field(default_factory=dict)


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """All topics of an installation, in the order of the flow."""
    shards = settings.partitions
    # What fires is known from these topics, to `notify` and to others who come later: kept as long as its key is.
    kept = {"retention.ms": str(settings.retention)}
    alerts = tuple(
        TopicSpec(settings.topic(name), shards, exact=False, configs=kept) for name in ALERT_TOPICS
    )
    return (
        *input_topic_specs(settings),
        TopicSpec(settings.topic(PARTIALS), shards, exact=True, configs={"retention.ms": str(7 * DAY_MS)}),
        TopicSpec(settings.topic(METRICS), shards, exact=False, configs={"cleanup.policy": "compact"}),
        *alerts,
        TopicSpec(
            settings.topic(DEAD_LETTERS),
            shards,
            exact=True,
            configs={"max.message.bytes": str(DEAD_LETTER_BYTES)},
        ),
        replayed_topic_spec(settings),
        *_changelog_specs(settings),
    )


def input_topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """The seven input topics."""
    return tuple(TopicSpec(settings.topic(name), settings.partitions, exact=True) for name in INPUT_TOPICS)


def _changelog_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """The journals of the shards and the mergers, under the names that Faust gives them. It would create them too,
    but so late that a worker may be given partitions without their journals."""
    names = [f"{settings.group_id}-{table}-changelog" for table in (SHARDS_TABLE, MERGE_TABLE)]
    return tuple(
        TopicSpec(name, settings.partitions, exact=True, configs=CHANGELOG_CONFIGS) for name in names
    )


def replayed_topic_spec(settings: Settings) -> TopicSpec:
    """The notes of what was replayed: small, and kept for as long as a dead letter could be."""
    return TopicSpec(settings.topic(REPLAYED), 1, exact=False, configs={"cleanup.policy": "compact"})
