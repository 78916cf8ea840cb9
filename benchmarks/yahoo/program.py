"""What is measured: views counted by campaign and window, on the batches of `stream_app`, shown as the original does.

    python -m benchmarks.yahoo.program worker --without-web

Redis holds the counts and, changed in the same transaction, up to which offset they go. A start reads on from there, so
a crash neither loses nor counts twice. That is the small form of what our journal does; it is for one program, as
nothing keeps a stale owner of a partition from writing.

In Redis, as in the original: campaign → {window: id, "windows": id of a list}, the list → windows,
window id → {seen_count, time_updated}.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid5

import faust
import msgspec
import redis.asyncio
from faust.types import TP

from benchmarks.yahoo.world import WINDOW_MS
from stream_app.clock import now_ms
from stream_app.ingest.batches import BatchConsumer, BatchSchema, BatchTransport

GROUP = os.environ["BENCH_GROUP"]
TOPIC = os.environ["BENCH_PREFIX"] + "ad-events"
FLUSH_SECONDS = 0.2
OFFSETS = f"{GROUP}:offsets"


class Ad(msgspec.Struct):
    """The fields that matter."""

    ad_id: str
    event_type: str
    event_time: str


decode = msgspec.json.Decoder(Ad).decode


class Views:
    """Views that are not in Redis yet, and up to where the partitions have been read."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._campaigns: dict[str, str | None] = {}
        self._shown: set[tuple[str, int]] = set()
        self._seen: Counter[tuple[str, int]] = Counter()
        self.read: dict[int, int] = {}

    async def load(self) -> None:
        """Read where an earlier run has left it."""
        self.read = {int(number): int(end) for number, end in (await self._client.hgetall(OFFSETS)).items()}
        for campaign in await self._client.smembers("campaigns"):
            windows = set(await self._client.hkeys(campaign)) - {"windows"}
            self._shown |= {(campaign, int(window)) for window in windows}

    async def take(self, partition: int, records: Sequence[Any]) -> None:
        """Count the views of a batch; what is counted already is passed over."""
        start = self.read.get(partition, 0)
        ads = [decode(record.value) for record in records if record.offset >= start]
        views = [ad for ad in ads if ad.event_type == "view"]
        await self._look_up({ad.ad_id for ad in views} - self._campaigns.keys())
        for ad in views:
            campaign = self._campaigns[ad.ad_id]
            if campaign is not None:  # an ad of no campaign is in no count, as in the original
                self._seen[campaign, int(ad.event_time) // WINDOW_MS * WINDOW_MS] += 1
        self.read[partition] = max(start, records[-1].offset + 1)

    async def _look_up(self, unknown: set[str]) -> None:
        if unknown:
            names = sorted(unknown)
            self._campaigns |= zip(names, await self._client.mget(names), strict=True)

    async def flush(self) -> dict[int, int]:
        """Write what was counted, with the offsets, all or nothing; returns these."""
        seen, self._seen = self._seen, Counter()
        read = dict(self.read)
        if not seen:
            return read
        transaction = self._client.pipeline(transaction=True)
        for (campaign, window), count in seen.items():
            self._show(transaction, campaign, window, count)
        transaction.hset(OFFSETS, mapping=read)
        await transaction.execute()
        return read

    def _show(self, transaction: Any, campaign: str, window: int, count: int) -> None:
        window_id = str(uuid5(NAMESPACE_URL, f"{campaign}/{window}"))
        if (campaign, window) not in self._shown:
            windows_id = str(uuid5(NAMESPACE_URL, campaign))
            transaction.hset(campaign, mapping={str(window): window_id, "windows": windows_id})
            transaction.lpush(windows_id, window)
            self._shown.add((campaign, window))
        transaction.hincrby(window_id, "seen_count", count)
        transaction.hset(window_id, "time_updated", now_ms())


class AdsApp(faust.App):
    """A Faust app on batches that begins where Redis says."""

    fetch_wait_ms = 100
    batched_topics = (TOPIC,)
    views: Views

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_start(self) -> None:
        """Know the offsets before partitions come."""
        client = redis.asyncio.Redis.from_url(os.environ["BENCH_REDIS"], decode_responses=True)
        self.views = Views(client)
        await self.views.load()
        consumer = cast(BatchConsumer, self.consumer)
        consumer.position_of = lambda place: self.views.read.get(place.partition)
        await super().on_start()


app = AdsApp(
    GROUP,
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    broker_session_timeout=6.0,
    broker_heartbeat_interval=1.5,
    datadir=os.environ["BENCH_STATE"],
    consumer_auto_offset_reset="earliest",
    key_serializer="raw",
    value_serializer="raw",
    stream_buffer_maxsize=16,
    stream_wait_empty=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
)


@app.agent(app.topic(TOPIC, schema=BatchSchema(), allow_empty=True))
async def count(stream: Any) -> None:
    async for event in stream.noack().events():
        try:
            await app.views.take(event.value.partition, event.value.records)
        except Exception as problem:
            await app.crash(problem)  # Faust would go on with the next batch


@app.task
async def show() -> None:
    consumer = cast(BatchConsumer, app.consumer)
    while not app.should_stop:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            read = await app.views.flush()
        except Exception as problem:
            await app.crash(problem)
            return
        consumer.committable = {TP(TOPIC, number): end for number, end in read.items()}


if __name__ == "__main__":
    app.main()
