"""How soon a worker that was killed serves again, when it holds a million customers.

``python -m benchmarks.restart`` lets a worker count a first visit of every customer, kills it, and times its
successors: until they say that they are ready, and until an event that waits on the topic shows in Redis. Totals are
checked before and after. On each store; what the worker holds in memory is noted as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.environment import bench_python
from benchmarks.life import COUNT_OF, Counts, Json, Population, first_visits
from benchmarks.own_system import (
    Stage,
    best_broker,
    finish,
    headline,
    run_checked,
    stage,
    table,
    wait_until_counted,
    wait_until_ready,
)
from benchmarks.traffic import send_backlog, write_plan
from stream_app.clock import MINUTE_MS, now_ms
from tests.support.brokers import BROKER_NAMES
from tests.support.traffic import Sender, delivered

GOAL_SECONDS = 60
STORES = ("memory", "rocksdb")
SPAN_MS = 30 * MINUTE_MS
LEAST_EVENTS_A_SECOND = 2_000
"""Slower than this, the worker is given up."""
QUIET_SECONDS = 3.0


def main() -> None:
    options = _options()
    bench_python()  # made before the clock runs
    found = {}
    for store in options.stores:
        with stage(options.broker, store=store) as place:
            found[store] = {"settings": place.settings_used(), **measure(place, options)}
    finish("restart", {"stores": found}, as_markdown, options.write)


def measure(place: Stage, options: argparse.Namespace) -> Json:
    """Fill, kill, and start again and again."""
    population = Population(options.customers, options.campaigns)
    wanted: Counts = {"all:all": Counter()}
    plan = place.directory / "plan"
    events = write_plan(plan, _noted(population, wanted["all:all"]), place.place.settings)
    patience = 60 + events / LEAST_EVENTS_A_SECOND
    with place.worker() as worker:
        begun = time.monotonic()
        end_ms = now_ms()
        send_backlog(place.place.settings, plan, events, (end_ms - SPAN_MS, end_ms), "first")
        wait_until_counted(place, wanted, patience)
        filled_after = time.monotonic() - begun
        time.sleep(QUIET_SECONDS)
        resident = worker.resident_bytes
    restarts = []
    with Sender(place.place.settings) as sender:
        for number in range(options.restarts):
            sender.send(delivered("probe", now_ms(), f"probe-{number}"))
            sender.flush()
            wanted["all:all"]["deliveries"] += 1
            wanted[f"campaign:probe-{number}"] = Counter(deliveries=1)
            restarts.append(_restart(place, wanted, patience))
    return {
        "customers": options.customers,
        "campaigns": options.campaigns,
        "events": events,
        "filled_after_seconds": round(filled_after, 1),
        "resident_bytes": resident,
        "restarts": restarts,
    }


def as_markdown(figures: Json) -> str:
    """The figures as a section of the document."""
    rows = []
    for store, found in figures["stores"].items():
        cells = [store, f"{found['resident_bytes'] / 1e6:,.0f} MB"]
        for name in ("ready_seconds", "counting_seconds"):
            values = [restart[name] for restart in found["restarts"]]
            cells.append(f"{statistics.median(values):.1f} s ({min(values):.1f}–{max(values):.1f})")
        rows.append(
            [*cells, f"{statistics.median(r['resident_bytes'] for r in found['restarts']) / 1e6:,.0f} MB"]
        )
    first = next(iter(figures["stores"].values()))
    return "\n".join(
        [
            f"{headline({**figures, **first})} {first['customers']:,} customers, {first['campaigns']:,} campaigns, "
            f"{first['events']:,} events. Goal: it serves again within {GOAL_SECONDS} s.\n",
            table(["store", "memory before", "ready", "next event in Redis", "memory after"], rows),
        ]
    )


def _restart(place: Stage, wanted: Counts, patience: float) -> Json:
    begun = time.monotonic()
    with place.new_worker() as worker:
        wait_until_ready(worker, patience)
        ready = time.monotonic() - begun
        wait_until_counted(place, wanted, patience, every=0.02)
        counting = time.monotonic() - begun
        time.sleep(QUIET_SECONDS)
        return {
            "ready_seconds": round(ready, 2),
            "counting_seconds": round(counting, 2),
            "resident_bytes": worker.resident_bytes,
        }


def _noted(population: Population, counts: Counter[str]) -> Iterator[Json]:
    """The first visits, counted as they pass."""
    for event in first_visits(population):
        if event["event_type"] in COUNT_OF:
            counts[COUNT_OF[event["event_type"]]] += 1
        yield event


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.restart", description=__doc__)
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--campaigns", type=int, default=1_000)
    arguments.add_argument("--restarts", type=int, default=3)
    arguments.add_argument("--stores", choices=STORES, nargs="+", default=STORES)
    arguments.add_argument("--broker", choices=BROKER_NAMES[:2], default=best_broker())
    arguments.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    return arguments.parse_args()


if __name__ == "__main__":
    run_checked("restart", main)
