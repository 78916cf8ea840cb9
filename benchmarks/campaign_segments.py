"""`python -m benchmarks.campaign_segments`: what it costs to count campaigns by segment as well.

The pure path of a day of newsletters, from a record to what would go to the topic `metrics` and to Redis: one shard, one
merger and their journals, with the setting and without it, in turns. It needs no servers. What matters is the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import NamedTuple

import msgspec

from benchmarks.newsletter import CAMPAIGNS, SEGMENTS, newsletter_day
from benchmarks.pure_path import Batches
from stream_app.clock import SECOND_MS
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import Partial, decode_partial, key_partials, pack
from stream_app.settings import Settings, load_settings
from stream_app.sinks.redis_commands import commands_of
from stream_app.state.journal import Journal
from stream_app.state.shard import Shard
from stream_app.state.shelf import Shelf
from stream_app.state.standings import campaigns_among

BATCH = 500


class Cost(NamedTuple):
    """Microseconds of CPU per event, in the shard and in all, and how many snapshots came of it."""

    shard: float
    whole: float
    snapshots: int


class PurePath:
    """A shard and a merger, each with its journal. The clock goes on by a second with every flush."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock_ms = time.time_ns() // 1_000_000
        self._shelf, self._merged_shelf = Shelf(), Shelf()
        self._journal, self._merged_journal = Journal(self._shelf), Journal(self._merged_shelf)
        self.shard = Shard(self._shelf, None, settings, self._clock_ms)
        self._merger = Merger(self._merged_shelf, None, settings)
        self._partials = 0
        self.snapshots = 0
        self.behind_seconds = 0.0
        """Of CPU, behind the shard: in the merger, its journal and what is sent."""

    def run(self, batches: Batches, batches_a_flush: int) -> None:
        """Count all of it, and show it."""
        for number, (topic, records) in enumerate(batches, 1):
            self.shard.watermark.arrived(topic, records[-1].offset + 1, self._clock_ms)
            self.shard.process(topic, records, self._clock_ms)
            if number % batches_a_flush == 0 or number == len(batches):
                partials = self._tell()
                start = time.process_time()
                self._show(partials)
                self.behind_seconds += time.process_time() - start

    def _tell(self) -> list[bytes]:
        """Flush the shard; returns its partials."""
        out = self.shard.flush()
        header = msgspec.msgpack.encode(out.header)
        self._journal.write(self._shelf.write_down(), header, self.shard.forgetting)
        self._journal.dead_records()
        standings = self.shard.standings.of(campaigns_among(change.key for change in out.keys))
        place = (0, 0, self._journal.epoch, out.header.watermark_ms)
        return [value for _, value in pack(Partial(*place, key_partials(out.keys), standings), 1)]

    def _show(self, partials: list[bytes]) -> None:
        """Merge, and make what is sent of it."""
        for value in partials:
            self._merger.process([(self._partials, decode_partial(value))])
            self._partials += 1
        self._clock_ms += SECOND_MS
        out = self._merger.flush(self._clock_ms)
        if out is None:
            raise SystemExit("benchmarks: the merger has nothing to show; the figures would mean nothing")
        header = msgspec.msgpack.encode(out.header)
        self._merged_journal.write(self._merged_shelf.write_down(), header, self._merger.forgetting)
        self._merged_journal.dead_records()
        for snapshot in out.snapshots:
            snapshot.to_json()
            list(commands_of(snapshot, self._settings.redis_prefix, self._clock_ms))
        self.snapshots += len(out.snapshots)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.campaign_segments", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--flush", type=int, default=5_000, help="events between two flushes, a second apart")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    batches = newsletter_day(options.events, BATCH)
    without: list[Cost] = []
    with_them: list[Cost] = []
    for _ in range(options.runs):
        for wanted, costs in ((False, without), (True, with_them)):
            costs.append(_cost(batches, options.events, options.flush // BATCH, wanted))
    print(f"{CAMPAIGNS} campaigns, {len(SEGMENTS)} segments, {options.flush:,} events between two flushes")
    for words, costs in (("campaigns alone", without), ("by segment as well", with_them)):
        shard, whole = (statistics.median(one[place] for one in costs) for place in range(2))
        print(f"{words:19} {shard:6.1f} µs of CPU per event in the shard, {whole:6.1f} in all", end="; ")
        print(f"{costs[0].snapshots:,} snapshots")
    for place, words in enumerate(("in the shard", "in all")):
        ratios = [more[place] / less[place] for less, more in zip(without, with_them, strict=True)]
        print(f"ratio {words:13} {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


def _cost(batches: Batches, events: int, batches_a_flush: int, wanted: bool) -> Cost:
    path = PurePath(load_settings(campaign_segments=wanted))
    start = time.process_time()
    path.run(batches, batches_a_flush)
    whole = time.process_time() - start
    if path.shard.accepted != events:
        raise SystemExit("benchmarks: not every event was accepted; the figures would mean nothing")
    return Cost((whole - path.behind_seconds) * 1e6 / events, whole * 1e6 / events, path.snapshots)


if __name__ == "__main__":
    main()
