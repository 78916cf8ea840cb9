"""The job in Quix Streams: the events of all topics re-keyed into one, and counted there in tumbling windows.

As its documentation has it: a dataframe for each topic that ends in `to_topic`, and one with
`tumbling_window().count()` on the topic between, state in RocksDB with a changelog topic. (Why not `concat` and
`group_by`: README.md.) A sink of our own because the one it ships (`RedisSink`) only knows SET: like that one it writes
in a pipeline at every checkpoint, and of each cell only the newest count.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from quixstreams import Application
from quixstreams.models import Topic, TopicConfig
from quixstreams.sinks import BatchingSink, SinkBatch

TOPICS = ("email.deliveries", "email.opens", "email.clicks", "email.optouts", "chats", "carts", "tickets")
PANE = timedelta(seconds=10)
NEVER_LATE = timedelta(hours=2)
PARTITIONS = 4
SENTINEL = (
    "sentinel"  # an hour ahead of the clock, perhaps: a broker refuses such a record in the topic between
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


def send_by_campaign(app: Application, events: Topic) -> None:
    """Re-key the events of all topics by campaign, into one topic."""
    for name in TOPICS:
        topic = app.topic(os.environ["BENCH_PREFIX"] + name, timestamp_extractor=event_time_ms)
        frame = app.dataframe(topic).filter(has_campaign).apply(campaign_of)
        frame.to_topic(events, key=lambda value: value["campaign_id"])


def main() -> None:
    group = os.environ["BENCH_GROUP"]
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=Path(os.environ["BENCH_STATE"]),
        loglevel="WARNING",
    )
    events = app.topic(
        f"{group}-by-campaign",
        key_serializer="str",
        key_deserializer="str",
        config=TopicConfig(num_partitions=PARTITIONS, replication_factor=1),
    )
    send_by_campaign(app, events)
    panes = app.dataframe(events).tumbling_window(PANE, grace_ms=NEVER_LATE).count().current()
    panes.sink(RedisPanes(os.environ["BENCH_REDIS"], group))
    app.run()


if __name__ == "__main__":
    main()
