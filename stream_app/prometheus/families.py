"""Every family of metrics that our programs serve, as data. Pure; stands beside the catalogue.

Names follow Prometheus's conventions: base units, ``_total`` for what only grows, ``_seconds`` and ``_ratio``. Those of
the engagement metrics are made from the catalogue: of a count ``stream_app_engagement_<count>``, of a proportion
``…_<rate without _rate>_ratio`` with the bounds of its interval, of a mean ``…_<rate>_seconds``. They are gauges, also
where a window only fills: a click that turns out to be a machine's is taken off again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from stream_app.metrics.catalogue import COUNTS, RATES, TOTAL, Count, Rate, Unit

EXPOSED_WINDOWS: Final = ("5m", "1h", "24h", TOTAL)
ENGAGEMENT_PREFIX: Final = "stream_app_engagement_"
KEY_LABELS: Final = ("dimension", "key", "window")


class Kind(StrEnum):
    """The types of Prometheus that we use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """One family: its name as it is queried, its type, what it means, and the labels of its samples."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


BUILD: Final = Family(
    "stream_app_build_info", Kind.GAUGE, "always 1; the label names the version", ("version",)
)
READY: Final = Family(
    "stream_app_ready", Kind.GAUGE, "1 if /ready says that the process does its work, or else 0"
)
EVENTS: Final = Family(
    "stream_app_events_total",
    Kind.COUNTER,
    "records read and applied, by input topic; dead letters are among them",
    ("topic",),
)
DEAD_LETTERS: Final = Family(
    "stream_app_dead_letters_total",
    Kind.COUNTER,
    "records that are not counted but in the dead letters, by reason",
    ("reason",),
)
BATCHES: Final = Family(
    "stream_app_batch_records", Kind.HISTOGRAM, "records in each fetched batch of the input topics"
)
FLUSHES: Final = Family(
    "stream_app_flush_seconds",
    Kind.HISTOGRAM,
    "from the begin of a flush until the broker has confirmed all of it; of the shards or of the mergers",
    ("of",),
)
COMMITS: Final = Family(
    "stream_app_commit_seconds", Kind.HISTOGRAM, "how long commits of offsets took, answered well or not"
)
LAG: Final = Family(
    "stream_app_lag_records",
    Kind.GAUGE,
    "records that wait unread in this worker's partitions, a few seconds old at most",
)
WATERMARK: Final = Family(
    "stream_app_watermark_timestamp_seconds",
    Kind.GAUGE,
    "the event time up to which a shard has decided everything, in seconds since 1970",
    ("shard",),
)
WATERMARK_DELAY: Final = Family(
    "stream_app_watermark_delay_seconds",
    Kind.GAUGE,
    "how far a shard's newest event time lies behind the clock: the watermark's distance, less the allowed lateness",
    ("shard",),
)
PARTITIONS: Final = Family(
    "stream_app_partitions", Kind.GAUGE, "partitions that this worker serves: shards and mergers", ("of",)
)
STATE_OBJECTS: Final = Family(
    "stream_app_state_objects",
    Kind.GAUGE,
    "objects that the state holds at rest (customers, carts, panes, …); with rocksdb about so many",
    ("of",),
)
REDIS_UP: Final = Family(
    "stream_app_redis_up", Kind.GAUGE, "1 if the last writing to Redis was accepted, or else 0"
)
REDIS_ERRORS: Final = Family(
    "stream_app_redis_errors_total", Kind.COUNTER, "writings to Redis that failed or were refused"
)
BLOCK: Final = Family(
    "stream_app_event_loop_block_seconds",
    Kind.GAUGE,
    "for how long the event loop let nothing else run, at most, in the last minute or two; clock: by the clock, "
    "busy: at work itself",
    ("by",),
)
ALERTS: Final = Family(
    "stream_app_alerts_firing",
    Kind.GAUGE,
    "firing alerts of this worker's keys, by kind and severity; those of customers are stream_app_churn_alerts",
    ("kind", "severity"),
)
CHURN_ALERTS: Final = Family(
    "stream_app_churn_alerts", Kind.GAUGE, "customers of this worker with a churn alert"
)
CHURN_HELD_BACK: Final = Family(
    "stream_app_churn_alerts_held_back",
    Kind.GAUGE,
    "churn alerts of this worker's customers that wait for a later hour, because as many as most_per_hour allows have "
    "begun in this one",
)
KEYS_LEFT_OUT: Final = Family(
    "stream_app_engagement_keys_left_out",
    Kind.GAUGE,
    "keys whose engagement metrics this worker does not serve, because they are too many",
    ("dimension",),
)

WORKER_FAMILIES: Final = (
    *(BUILD, READY, EVENTS, DEAD_LETTERS, BATCHES, FLUSHES, COMMITS, LAG, WATERMARK, WATERMARK_DELAY),
    *(PARTITIONS, STATE_OBJECTS, REDIS_UP, REDIS_ERRORS, BLOCK, ALERTS, CHURN_ALERTS, CHURN_HELD_BACK),
    KEYS_LEFT_OUT,
)

_TARGET = ("target",)
NOTIFY_WAITING: Final = Family(
    "stream_app_notify_waiting", Kind.GAUGE, "changes of alerts that a target is still to be told", _TARGET
)
NOTIFY_DELIVERED: Final = Family(
    "stream_app_notify_delivered_total", Kind.COUNTER, "changes that a target was told", _TARGET
)
NOTIFY_GIVEN_UP: Final = Family(
    "stream_app_notify_given_up_total",
    Kind.COUNTER,
    "changes that a target will not be told, because it refuses them or for too long takes nothing",
    _TARGET,
)
NOTIFY_FAILING: Final = Family(
    "stream_app_notify_failing_seconds",
    Kind.GAUGE,
    "for how long a target has taken nothing; 0 if it takes what it is sent",
    _TARGET,
)
NOTIFY_FAMILIES: Final = (*(BUILD, READY, NOTIFY_WAITING, NOTIFY_DELIVERED, NOTIFY_GIVEN_UP, NOTIFY_FAILING),)

CONSOLE_VIEWERS: Final = Family(
    "stream_app_console_viewers", Kind.GAUGE, "browsers that the console tells of changes now"
)
CONSOLE_FAMILIES: Final = (BUILD, READY, CONSOLE_VIEWERS)


def count_family(count: Count) -> Family:
    """The family of a count of the catalogue."""
    labels = (*KEY_LABELS, "currency") if count.unit is Unit.AMOUNT else KEY_LABELS
    return Family(ENGAGEMENT_PREFIX + count.name, Kind.GAUGE, count.meaning, labels)


def rate_families(rate: Rate) -> tuple[Family, ...]:
    """The families of a rate of the catalogue: its value and, of a proportion, the bounds of its interval."""
    if not rate.interval:
        return (Family(f"{ENGAGEMENT_PREFIX}{rate.name}_seconds", Kind.GAUGE, rate.meaning, KEY_LABELS),)
    name = f"{ENGAGEMENT_PREFIX}{rate.name.removesuffix('_rate')}_ratio"
    low, high = (f"{side} bound of the 95 % interval of {name}" for side in ("lower", "upper"))
    return (
        Family(name, Kind.GAUGE, rate.meaning, KEY_LABELS),
        Family(f"{name}_low", Kind.GAUGE, low, KEY_LABELS),
        Family(f"{name}_high", Kind.GAUGE, high, KEY_LABELS),
    )


def engagement_families() -> tuple[Family, ...]:
    """The families of the catalogue, in its order."""
    counts = [count_family(count) for count in COUNTS]
    return (*counts, *(family for rate in RATES for family in rate_families(rate)))
