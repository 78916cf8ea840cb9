"""One shard of a given size, in a process of its own: filled with customers, weighed, and timed.

Stands under ``growth.py``, which keeps one such process for each size and lets them work in turn. The shard and its
journal are the real ones, on the store asked for; what a broker would bring and take is made here and dropped.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson

from benchmarks.life import SEED, Json, Population, first_visits, life
from benchmarks.own_system import CheckFailed
from stream_app.clock import DAY_MS, HOUR_MS
from stream_app.garbage import spare_the_old, state_is_loaded
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings, load_settings
from stream_app.state.journal import Journal
from stream_app.state.shard import Shard
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SLICES, open_store

START_MS = 1_763_800_000_000
FILL_SPAN_MS = DAY_MS
REST_MS = 3 * HOUR_MS
"""Longer than the ids of events are remembered."""
REST_EVENTS = 10_000
LIVE_A_SECOND = 20_000
FLUSH_EVENTS = 4_000
"""What comes between two flushes at that pace."""
KINDS = {
    "u:": "customers", "c:": "carts", "k:": "chats", "t:": "tickets", "n:": "keys", "p:": "panes", "i:": "ids",
}  # fmt: skip

Batch = list[tuple[str, list[Record]]]
"""Records by topic, and so many flushed at once."""


class Size(NamedTuple):
    """How much there is, and where it rests."""

    customers: int
    campaigns: int
    store: str

    @property
    def population(self) -> Population:
        """Who there is."""
        return Population(self.customers, self.campaigns)


class Sized:
    """A shard that is filled up to a size."""

    def __init__(self, size: Size, directory: Path) -> None:
        spare_the_old()
        self._population = size.population
        self._settings: Settings = load_settings(store=size.store, data_dir=str(directory))
        self._store = open_store(self._settings)  # held: its directory goes when nobody does
        self._shelf = Shelf(self._store.new_slices())
        self._journal = Journal(self._shelf)
        self._shard = Shard(self._shelf, None, self._settings, START_MS)
        self._offsets: Counter[str] = Counter()
        self._sent = 0
        self._time_ms = float(START_MS)

    def fill(self) -> Json:
        """Let everyone come once; returns what that takes, in all and by kind of object."""
        resident_before = resident_bytes()
        everyone = first_visits(self._population)
        visits = 2 * self._population.customers  # about, so that the span of time is the same for all sizes
        for batch in self._batches(everyone, FILL_SPAN_MS / visits):
            self._process(batch)
        resident_full = resident_bytes()
        events = self._sent
        self._rest()
        state_is_loaded()
        return {
            "events": events,
            "resident_growth_with_ids": resident_full - resident_before,
            "resident_growth": resident_bytes() - resident_before,
            "shelf": self._weigh(),
        }

    def time(self, turn: int, events: int) -> float:
        """The CPU that an event of everyday life costs now, in microseconds."""
        some = islice(life(self._population, SEED + turn), events)
        batches = list(self._batches(some, 1000 / LIVE_A_SECOND))
        before = time.process_time()
        for batch in batches:
            self._process(batch)
        return (time.process_time() - before) * 1e6 / events

    def _rest(self) -> None:
        """Hours pass, a few people come, and every slice is written anew: what may be forgotten is."""
        self._time_ms += REST_MS
        late_comers = Population(10, 1, "late-")
        for batch in self._batches(islice(life(late_comers), REST_EVENTS), 1.0):
            self._process(batch)
        for _ in range(SLICES):
            self._flush()
        gc.collect()

    def _batches(self, events: Iterable[Json], step_ms: float) -> Iterator[Batch]:
        waiting = iter(events)
        while some := list(islice(waiting, FLUSH_EVENTS)):
            records: dict[str, list[Record]] = {}
            for event in some:
                self._sent += 1
                self._time_ms += step_ms
                topic = EVENT_TYPES[event["event_type"]].topic
                head = {"event_id": f"growth-{self._sent}", "event_time": int(self._time_ms)}
                value = orjson.dumps({**head, **event})
                key = event["customer_id"].encode()
                records.setdefault(topic, []).append(Record(self._offsets[topic], key, value))
                self._offsets[topic] += 1
            yield list(records.items())

    def _process(self, batch: Batch) -> None:
        clock_ms = int(self._time_ms)
        for topic, records in batch:
            self._shard.watermark.arrived(topic, records[-1].offset + 1, clock_ms)
        for topic, records in batch:
            self._shard.process(topic, records, clock_ms)
        self._flush()

    def _flush(self) -> None:
        out = self._shard.flush()
        if out.dead_letters:
            raise CheckFailed(f"the shard refused an event: {out.dead_letters[0].detail}")
        header = msgspec.msgpack.encode(out.header)
        self._journal.write(self._shelf.write_down(), header, self._shard.forgetting)
        self._journal.dead_records()

    def _weigh(self) -> Json:
        """How many objects of each kind rest on the shelf, and the bytes of their keys and values."""
        objects: Counter[str] = Counter()
        weight: Counter[str] = Counter()
        for index in range(SLICES):
            for key, value in self._shelf.slices.entries(index):
                kind = KINDS.get(key[:2], "others")
                objects[kind] += 1
                weight[kind] += len(key.encode()) + len(value)
        return {kind: {"objects": objects[kind], "bytes": weight[kind]} for kind in objects}


def resident_bytes() -> int:
    """The memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


_sized: list[Sized] = []
"""The one shard of this process."""


def fill(size: Size, directory: Path) -> Json:
    """Make this process's shard and fill it; see ``Sized.fill``."""
    _sized.append(Sized(size, directory))
    return _sized[0].fill()


def cost(turn: int, events: int) -> float:
    """See ``Sized.time``."""
    return _sized[0].time(turn, events)
