"""The job in Quix Streams: the topics in one stream, grouped by campaign, counted in tumbling windows.

As its documentation has it: `concat`, `group_by` (through a repartition topic), `tumbling_window().count()`, state in
RocksDB with a changelog topic. A sink of our own because the one it ships (`RedisSink`) only knows SET: like that one
it writes in a pipeline at every checkpoint, and of each cell only the newest count.
"""

import os
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import redis
from quixstreams import Application
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.models import Topic
from quixstreams.sinks import BatchingSink, SinkBatch

TOPICS = ("email.deliveries", "email.opens", "email.clicks", "email.optouts", "chats", "carts", "tickets")
PANE = timedelta(seconds=10)
NEVER_LATE = timedelta(hours=2)
CHECKPOINT_SECONDS = 1.0
SENTINEL = (
    "sentinel"  # an hour ahead of the clock, perhaps: a broker refuses such a record in the repartition topic
)


class RedisPanes(BatchingSink):
    """Writes the newest count of every cell of a checkpoint."""

    def __init__(self, url: str, group: str) -> None:
        super().__init__()
        self._url = url
        self._group = group

    def setup(self) -> None:
        self._redis = redis.Redis.from_url(self._url)
        self._redis.ping()

    def write(self, batch: SinkBatch) -> None:
        campaigns: dict[str, dict[int, int]] = {}
        for item in batch:
            campaigns.setdefault(item.key, {})[item.value["start"]] = item.value["value"]
        with self._redis.pipeline(transaction=False) as pipeline:
            for campaign, counts in campaigns.items():
                pipeline.hset(f"bench:{self._group}:{campaign}", mapping=counts)
            pipeline.execute()


def event_time_ms(value: Any, headers: Any, timestamp: float, timestamp_type: Any) -> int:
    return round(datetime.fromisoformat(value["event_time"]).timestamp() * 1000)


def has_campaign(value: dict[str, Any]) -> bool:
    return value.get("campaign_id", SENTINEL) != SENTINEL


def campaign_of(value: dict[str, Any]) -> dict[str, Any]:
    return {"campaign_id": value["campaign_id"]}


def input_stream(app: Application) -> StreamingDataFrame:
    def topic(name: str) -> Topic:
        full_name = os.environ["BENCH_PREFIX"] + name
        return app.topic(full_name, value_deserializer="json", timestamp_extractor=event_time_ms)

    frames = [app.dataframe(topic(name)) for name in TOPICS]
    return reduce(StreamingDataFrame.concat, frames)


def main() -> None:
    group = os.environ["BENCH_GROUP"]
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=Path(os.environ["BENCH_STATE"]),
        commit_interval=CHECKPOINT_SECONDS,
        loglevel="WARNING",
    )
    events = input_stream(app).filter(has_campaign).apply(campaign_of)
    # Keys are text, which the default of group_by, JSON, would only quote.
    campaigns = events.group_by("campaign_id", key_serializer="str", key_deserializer="str")
    panes = campaigns.tumbling_window(PANE, grace_ms=NEVER_LATE).count().current()
    panes.sink(RedisPanes(os.environ["BENCH_REDIS"], group))
    app.run()


if __name__ == "__main__":
    main()
