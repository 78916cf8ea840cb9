"""The job in Faust as its documentation teaches it: an agent, an event at a time, a tumbling table, a timer.

    python -m benchmarks.programs.faust_as_taught worker --without-web

Made easy for it where that is honest: changed cells go to Redis once a second in one pipeline, and the events are
not repartitioned by campaign (`group_by`, which its tutorial has and which doubles the work): with one worker, all
parts of a campaign's count are in the same place.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any, cast

import faust
import redis.asyncio

from benchmarks.programs.decoding import topics

PANE_SECONDS = 10
GROUP = os.environ["BENCH_GROUP"]


class Event(faust.Record, serializer="json", coerce=True):
    """The fields of the job."""

    event_time: datetime
    campaign_id: str | None = None


app = faust.App(
    GROUP,
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    store="memory://",
    datadir=os.environ["BENCH_STATE"],
    topic_partitions=4,
    topic_replication_factor=1,
)
events = app.topic(*topics(), value_type=Event)
counts = (
    app.Table("counts", default=int).tumbling(PANE_SECONDS).relative_to_field(cast(Any, Event.event_time))
)
client = redis.asyncio.Redis.from_url(os.environ["BENCH_REDIS"])
changed: dict[tuple[str, int], int] = {}


@app.agent(events)
async def count(stream: faust.StreamT[Event]) -> None:
    async for event in stream:
        if event.campaign_id is not None:
            counts[event.campaign_id] += 1
            pane = int(event.event_time.timestamp()) // PANE_SECONDS * PANE_SECONDS
            changed[event.campaign_id, pane] = counts[event.campaign_id].value()


@app.timer(interval=1.0)
async def show() -> None:
    shown = dict(changed)
    changed.clear()
    pipeline = client.pipeline(transaction=False)
    for (campaign, pane), value in shown.items():
        pipeline.hset(f"bench:{GROUP}:{campaign}", str(pane * 1000), value)
    await pipeline.execute()


if __name__ == "__main__":
    app.main()
