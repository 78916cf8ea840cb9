"""A worker's report of itself, and the figures in it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from stream_app.sinks.worker_report import (
    REPORT_EVERY_MS,
    REPORT_EXPIRY_SECONDS,
    Reporter,
    WorkerReport,
    worker_name,
)
from stream_app.vitals import BATCH_BOUNDS, Histogram

NOW = 1_700_000_000_000


def report() -> WorkerReport:
    return WorkerReport("w-1", NOW - 5_000, NOW, [0, 2], [1], 7, None, {"chats": 3}, {"late": 1}, 2, 3)


def test_a_report_is_due_once_a_second_and_expires() -> None:
    reporter = Reporter(report, "p:")
    written = reporter.commands(NOW)
    assert [command[:2] for command in written] == [
        ("HSET", "p:workers:w-1"),
        ("EXPIRE", "p:workers:w-1"),
        ("ZADD", "p:workers"),
        ("ZREMRANGEBYSCORE", "p:workers"),
    ]
    assert written[1][2] == REPORT_EXPIRY_SECONDS
    assert reporter.commands(NOW + REPORT_EVERY_MS - 1) == []
    assert reporter.commands(NOW + REPORT_EVERY_MS) != []


def test_a_report_says_nothing_of_a_time_that_is_not_known() -> None:
    fields = report().fields()
    assert fields["watermark"] == ""
    assert fields["started_at"] == "2023-11-14T22:13:15.000Z"
    assert orjson.loads(fields["events"]) == {"chats": 3}
    assert orjson.loads(fields["shards"]) == [0, 2]
    assert fields["churn_held_back"] == "0"


def test_two_workers_bear_two_names() -> None:
    assert worker_name() != worker_name()


@given(st.lists(st.integers(0, 20_000)))
def test_a_histogram_counts_each_value_once_in_the_bucket_that_holds_it(values: list[int]) -> None:
    histogram = Histogram(BATCH_BOUNDS)
    for value in values:
        histogram.observe(value)
    assert histogram.count == len(values)
    assert histogram.sum == sum(values)
    for place, bound in enumerate(BATCH_BOUNDS, 1):
        assert sum(histogram.buckets[:place]) == sum(value <= bound for value in values)
