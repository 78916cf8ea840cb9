"""The job in Pathway: the topics read as JSON, put together, counted in tumbling windows, persisted to files.

Reading, decoding, windows and counting are its Rust engine's. It ships no writer for Redis, so the results go through
`pw.io.subscribe`: the changes of a minibatch are gathered, and written in one pipeline when its time ends.
"""

import os
from datetime import timedelta
from typing import Any

import pathway as pw
import redis

TOPICS = ("email.deliveries", "email.opens", "email.clicks", "email.optouts", "chats", "carts", "tickets")
PANE = timedelta(seconds=10)
COMMIT_MS = 1_000
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%3fZ"  # its `%z` does not know the Z


class Event(pw.Schema):
    event_time: str
    campaign_id: str | None = pw.column_definition(default_value=None)


class RedisPanes:
    """Gathers the cells that a minibatch changed and writes them when it ends."""

    def __init__(self, url: str, group: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._group = group
        self._changed: dict[str, dict[int, int]] = {}

    def on_change(self, key: pw.Pointer, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            self._changed.setdefault(row["campaign"], {})[int(row["pane_ms"])] = row["count"]

    def on_time_end(self, time: int) -> None:
        if not self._changed:
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for campaign, counts in self._changed.items():
                pipeline.hset(f"bench:{self._group}:{campaign}", mapping=counts)
            pipeline.execute()
        self._changed.clear()


def input_table(group: str) -> pw.Table:
    settings = {
        "bootstrap.servers": os.environ["BENCH_KAFKA"],
        "group.id": group,
        "auto.offset.reset": "earliest",
    }
    tables = [
        pw.io.kafka.read(
            settings,
            os.environ["BENCH_PREFIX"] + name,
            schema=Event,
            format="json",
            autocommit_duration_ms=COMMIT_MS,
            name=name,
        )
        for name in TOPICS
    ]
    return pw.Table.concat_reindex(*tables)


def main() -> None:
    group = os.environ["BENCH_GROUP"]
    events = input_table(group)
    events = events.filter(pw.this.campaign_id.is_not_none()).select(
        pw.this.campaign_id, time=pw.this.event_time.dt.strptime(TIME_FORMAT)
    )
    panes = events.windowby(
        pw.this.time, window=pw.temporal.tumbling(duration=PANE), instance=pw.this.campaign_id
    ).reduce(
        campaign=pw.this._pw_instance,
        pane_ms=pw.this._pw_window_start.dt.timestamp(unit="ms"),
        count=pw.reducers.count(),
    )
    results = RedisPanes(os.environ["BENCH_REDIS"], group)
    pw.io.subscribe(panes, results.on_change, on_time_end=results.on_time_end)
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(
            pw.persistence.Backend.filesystem(os.environ["BENCH_STATE"]), snapshot_interval_ms=COMMIT_MS
        ),
    )


if __name__ == "__main__":
    main()
