"""`python -m benchmarks.pure_path`: what the pure path of an event costs, beside the least that reading it could.

Prints medians of interleaved runs and their ratio. It shows a change of the hot path within seconds and needs no
servers; the whole system side by side with its peers is `make bench`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import msgspec

from benchmarks.newsletter import newsletter_day
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.decode import decode
from stream_app.settings import load_settings
from stream_app.state.journal import Journal
from stream_app.state.shard import Shard
from stream_app.state.shelf import Shelf

BATCH = 1_000
BATCHES_A_FLUSH = 20

Batches = list[tuple[str, list[Record]]]


def decode_only(batches: Batches) -> None:
    """The limit: every record decoded and checked, and nothing else."""
    for topic, records in batches:
        for record in records:
            decode(topic, record.key, record.value)


def whole_shard(batches: Batches) -> None:
    """All of a shard's work: decode, duplicates, panes, uniques, lifecycles, signs of churn, journal."""
    clock_ms = time.time_ns() // 1_000_000
    settings = load_settings()
    shelf = Shelf()
    journal = Journal(shelf)
    shard = Shard(shelf, None, settings, clock_ms)
    for number, (topic, records) in enumerate(batches):
        shard.watermark.arrived(topic, records[-1].offset + 1, clock_ms)
        shard.process(topic, records, clock_ms)
        if number % BATCHES_A_FLUSH == BATCHES_A_FLUSH - 1 or number == len(batches) - 1:
            header = msgspec.msgpack.encode(shard.flush().header)
            journal.write(shelf.write_down(), header, shard.forgetting)
            journal.dead_records()
    if shard.accepted != sum(len(records) for _, records in batches):
        raise SystemExit("benchmarks: the shard did not accept every event; the figures would mean nothing")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="benchmarks.pure_path", description=__doc__)
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    measured = costs(options.events, options.runs)
    for name, values in measured.items():
        print(
            f"{name:12} {statistics.median(values):6.2f} µs of CPU per event  ({min(values):.2f}–{max(values):.2f})"
        )
    ratios = [
        whole / least for whole, least in zip(measured["whole shard"], measured["decode only"], strict=True)
    ]
    print(
        f"ratio        {statistics.median(ratios):6.2f}  ({min(ratios):.2f}–{max(ratios):.2f}), {options.runs} runs"
    )


def costs(events: int, runs: int) -> dict[str, list[float]]:
    """Microseconds of CPU per event, of decoding alone and of the whole shard, run by run in turns."""
    batches = newsletter_day(events, BATCH)
    measured: dict[str, list[float]] = {"decode only": [], "whole shard": []}
    for _ in range(runs):
        measured["decode only"].append(_microseconds(decode_only, batches, events))
        measured["whole shard"].append(_microseconds(whole_shard, batches, events))
    return measured


def _microseconds(work: Callable[[Batches], None], batches: Batches, events: int) -> float:
    start = time.process_time()
    work(batches)
    return (time.process_time() - start) * 1e6 / events


if __name__ == "__main__":
    main()
