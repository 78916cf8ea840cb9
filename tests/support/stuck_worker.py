"""A worker with a mistake in it: ``python -m tests.support.stuck_worker KIND`` gets stuck at the first cart.

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
from stream_app.stations.base import Station
from stream_app.worker import run

_ingest = Engine.ingest
_fetch = BatchConsumerThread._fetch_records
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


MISTAKES: dict[str, Callable[[], None]] = {
    "agent": lambda: setattr(Engine, "ingest", _ingest_for_ever),
    "event loop": lambda: setattr(Engine, "ingest", _ingest_and_block),
    "consumer": lambda: setattr(BatchConsumerThread, "_fetch_records", _fetch_and_block),
    "recovery": lambda: setattr(Engine, "open_shards", _open_for_ever),
    "flush": lambda: setattr(Station, "write_epoch", _write_for_ever),
}


if __name__ == "__main__":
    MISTAKES[sys.argv[1]]()
    run(load_settings())
