"""The job in Bytewax: its event-time tumbling window, its recovery store, one worker.

A watermark of Bytewax is one key's own, so a campaign's last panes close when the *campaign* gets newer events, or the
wait has gone by on the clock (an hour here), or the input ends. So that it can finish at once the topics are read as
its documentation has it for a replay: to their ends (`tail=False`), which closes every window. That is also what costs
it least. Records are decoded a batch at a time (`flat_map_batch`), and the window does not sort (`ordered=False`).
"""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
import redis
from bytewax._bytewax import cli_main
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir

TOPICS = ("email.deliveries", "email.opens", "email.clicks", "email.optouts", "chats", "carts", "tickets")
PANE = timedelta(seconds=10)
PANE_MS = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_LATE = timedelta(hours=1)
SNAPSHOT_EVERY = timedelta(seconds=10)
RECORDS_A_BATCH = 10_000

Cell = tuple[str, tuple[int, int]]
"""A campaign, the number of its pane since 1970, and the count."""


class Event(msgspec.Struct):
    """What of an event matters here."""

    event_time: datetime
    campaign_id: str | None = None


class RedisPart(StatelessSinkPartition[Cell]):
    def __init__(self, url: str, group: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._group = group

    def write_batch(self, items: list[Cell]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for campaign, (pane, count) in items:
                pipeline.hset(f"bench:{self._group}:{campaign}", pane * PANE_MS, count)
            pipeline.execute()

    def close(self) -> None:
        self._redis.close()


class RedisSink(DynamicSink[Cell]):
    """Writes cells in a pipeline for each batch that arrives."""

    def __init__(self, url: str, group: str) -> None:
        self._url = url
        self._group = group

    def build(self, step_id: str, worker_index: int, worker_count: int) -> RedisPart:
        return RedisPart(self._url, self._group)


_decode = msgspec.json.Decoder(Event).decode


def times_by_campaign(messages: list[KafkaSourceMessage[Any, Any]]) -> Iterator[tuple[str, datetime]]:
    for message in messages:
        event = _decode(message.value)
        if event.campaign_id is not None:
            yield event.campaign_id, event.event_time


def dataflow() -> Dataflow:
    flow = Dataflow("panes")
    topics = [os.environ["BENCH_PREFIX"] + name for name in TOPICS]
    source = KafkaSource([os.environ["BENCH_KAFKA"]], topics, tail=False, batch_size=RECORDS_A_BATCH)
    messages = op.input("read", flow, source)
    times = op.flat_map_batch("decode", messages, times_by_campaign)
    clock = EventClock(
        lambda time: time,
        wait_for_system_duration=NEVER_LATE,
        # Events of the past would have it look at every campaign whenever it wakes up.
        to_system_utc=lambda close_time: None,
    )
    windower = TumblingWindower(length=PANE, align_to=EPOCH)
    counted = fold_window(
        "count",
        times,
        clock,
        windower,
        builder=int,
        folder=lambda count, time: count + 1,
        merger=lambda one, other: one + other,
        ordered=False,
    )
    op.output("write", counted.down, RedisSink(os.environ["BENCH_REDIS"], os.environ["BENCH_GROUP"]))
    return flow


def main() -> None:
    # The end of the input is not the end of the contestant: that is for the bench to say.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    state = Path(os.environ["BENCH_STATE"])
    init_db_dir(state, 1)
    # What `python -m bytewax.run -w 1 -r … -s 10` does.
    cli_main(
        dataflow(),
        workers_per_process=1,
        epoch_interval=SNAPSHOT_EVERY,
        recovery_config=RecoveryConfig(state),
    )
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
