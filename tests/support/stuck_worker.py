"""A worker with a mistake in it: ``python -m tests.support.stuck_worker KIND`` gets stuck at the first cart, or at its end.

Production code has no way to be made stuck; here parts of it are exchanged before it runs. The line ``STUCK`` on
standard error says when it happens.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from stream_app.engine import Engine
from stream_app.ingest.batches import BatchConsumerThread
from stream_app.settings import load_settings
from stream_app.sinks.publisher import OutRecord
from stream_app.state.slices import MemoryStore
from stream_app.stations.base import Station
from stream_app.stations.shard import ShardStation
from stream_app.worker import run

_ingest = Engine.ingest
_fetch = BatchConsumerThread._fetch_records
_ends_from = BatchConsumerThread._ends_from
STUCK = "stuck from now on"


def _say() -> None:
    sys.stderr.write(f"{STUCK}\n")
    sys.stderr.flush()


async def _never() -> None:
    _say()
    await asyncio.Event().wait()


async def _ingest_for_ever(self: Engine, topic: str, partition: int, records: Any) -> None:
    """An agent that never comes back from a batch."""
    if topic == "carts":
        await _never()
    await _ingest(self, topic, partition, records)


async def _ingest_and_block(self: Engine, topic: str, partition: int, records: Any) -> None:
    """An agent that blocks the event loop."""
    if topic == "carts":
        _say()
        time.sleep(3_600)  # noqa: ASYNC251 - that is the mistake
    await _ingest(self, topic, partition, records)


async def _fetch_and_block(self: Any, *arguments: Any, **options: Any) -> Any:
    """A client of Kafka that blocks its thread as soon as carts come."""
    found = await _fetch(self, *arguments, **options)
    if any(place.topic.endswith("carts") for place in found):
        _say()
        time.sleep(3_600)  # noqa: ASYNC251 - that is the mistake
    return found


async def _open_for_ever(self: Engine, journals: Any) -> None:
    """A recovery that never ends."""
    await _never()


async def _write_for_ever(self: Station, *arguments: Any) -> None:
    """A journal that is never confirmed."""
    await _never()


async def _ingest_and_ask_no_more(self: Engine, topic: str, partition: int, records: Any) -> None:
    """A client of Kafka whose questions are never sent from the first cart on, while its loop goes on."""
    if topic == "carts" and BatchConsumerThread._ends_from is not _answer_never:
        setattr(BatchConsumerThread, "_ends_from", _answer_never)  # noqa: B010 - a function is no method for mypy
        _say()
    await _ingest(self, topic, partition, records)


async def _answer_never(self: BatchConsumerThread, *arguments: Any) -> Any:
    await asyncio.Event().wait()


async def _write_slowly(self: Station, *arguments: Any) -> None:
    """A flush that takes for ever, of which Kafka confirms a little all the time, as over a slow link."""
    _say()
    topic = self.settings.topic("deadletters" if isinstance(self, ShardStation) else "metrics")
    while True:
        await self.publisher.write([OutRecord(topic, b"slow", None)])
        await asyncio.sleep(1)


async def _ends_but_one(self: BatchConsumerThread, consumer: Any, offsets: Any) -> Any:
    """The answer of a Kafka in which a partition has no leader."""
    ends = await _ends_from(self, consumer, offsets)
    return {place: end for place, end in ends.items() if place != min(ends)}


def _lose_a_leader() -> None:
    """A partition has no leader, and so a journal is never confirmed."""
    setattr(BatchConsumerThread, "_ends_from", _ends_but_one)  # noqa: B010 - a function is no method for mypy
    setattr(Station, "write_epoch", _write_for_ever)  # noqa: B010 - as above


MISTAKES: dict[str, Callable[[], None]] = {
    "agent": lambda: setattr(Engine, "ingest", _ingest_for_ever),
    "event loop": lambda: setattr(Engine, "ingest", _ingest_and_block),
    "consumer": lambda: setattr(BatchConsumerThread, "_fetch_records", _fetch_and_block),
    "questions": lambda: setattr(Engine, "ingest", _ingest_and_ask_no_more),
    "recovery": lambda: setattr(Engine, "open_shards", _open_for_ever),
    "flush": lambda: setattr(Station, "write_epoch", _write_for_ever),
}

NO_LEADER = "no leader"
HINDRANCES: dict[str, Callable[[], None]] = {
    "slow link": lambda: setattr(Station, "write_epoch", _write_slowly),
    NO_LEADER: _lose_a_leader,
}
"""What holds a worker up and is not its mistake: it waits."""

CLOSING = "closing"
"""A store that takes its time to close, as one of many gigabytes may."""


if __name__ == "__main__":
    if sys.argv[1] == CLOSING:
        setattr(MemoryStore, "close", lambda self: time.sleep(3_600))  # noqa: B010 - mypy
    else:
        (MISTAKES | HINDRANCES)[sys.argv[1]]()
    run(load_settings())
