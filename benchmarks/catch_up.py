"""What a day-old backlog costs, and whether what comes live meanwhile is right as well.

``python -m benchmarks.catch_up`` fills the topics with a day's events while no worker runs, then starts one together
with live traffic behind the backlog, and times when the last campaign of the backlog is exact. At the end the totals
of every campaign, of the backlog and of the live traffic, must be those of what was sent: nothing late, nothing twice.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice

from benchmarks.environment import bench_python
from benchmarks.latency import together
from benchmarks.life import Counts, Json, Population, expected, life
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
from benchmarks.processes import cpu_seconds
from benchmarks.traffic import Traffic, send_backlog, write_plan
from stream_app.clock import DAY_MS, MINUTE_MS, now_ms
from tests.support.brokers import BROKER_NAMES

OLD = Population(500_000, 1_000, "old-")
LIVE = Population(500_000, 1_000, "live-")
MOST_POOL = 200_000
LIVE_SEED = 7
LEAST_EVENTS_A_SECOND = 1_000
"""Slower than this, the worker is given up."""


def main() -> None:
    options = _options()
    bench_python()  # made before the clock runs
    with stage(options.broker, store=options.store) as place:
        figures = measure(place, options)
    finish("catch_up", figures, as_markdown, options.write)


def measure(place: Stage, options: argparse.Namespace) -> Json:
    """Fill the topics, start the worker and live traffic, and hold every total against what was sent."""
    settings = place.place.settings
    old_pool = list(islice(life(OLD), min(options.events, MOST_POOL)))
    live_pool = list(islice(life(LIVE, LIVE_SEED), MOST_POOL // 4))
    old_plan, live_plan = place.directory / "old", place.directory / "live"
    write_plan(old_plan, old_pool, settings)
    write_plan(live_plan, live_pool, settings)
    newest_ms = now_ms() - MINUTE_MS
    filled_after = send_backlog(settings, old_plan, options.events, (newest_ms - DAY_MS, newest_ms), "old")
    old = expected(old_pool, options.events)
    patience = 60 + options.events / LEAST_EVENTS_A_SECOND
    live_phase = f"live:live:{options.live_rate}:{options.live_seconds}"
    begun = time.monotonic()
    with place.new_worker() as worker, Traffic(settings, live_plan, [live_phase]) as traffic:
        wait_until_ready(worker)
        ready_after = time.monotonic() - begun
        wait_until_counted(place, _campaigns_of(old), patience)
        caught_up_after = time.monotonic() - begun
        used = cpu_seconds(worker.process.pid)
        traffic.wait(options.live_seconds)
        wait_until_counted(place, together(old, expected(live_pool, traffic.sent)), patience)
        return {
            "settings": place.settings_used(),
            "backlog_events": options.events,
            "filled_after_seconds": round(filled_after, 1),
            "ready_after_seconds": round(ready_after, 2),
            "caught_up_after_seconds": round(caught_up_after, 2),
            "events_a_second": round(options.events / (caught_up_after - ready_after)),
            "worker_cpu_seconds": round(used, 2),
            "live_events": traffic.sent,
            "live_a_second": options.live_rate,
            "exact": True,
        }


def as_markdown(figures: Json) -> str:
    """The figures as a section of the document."""
    share = 100 * figures["worker_cpu_seconds"] / figures["caught_up_after_seconds"]
    rows = [
        ["backlog: events over a day", f"{figures['backlog_events']:,}"],
        [
            "live meanwhile and after: events",
            f"{figures['live_events']:,} ({figures['live_a_second']:,.0f}/s)",
        ],
        ["ready after", f"{figures['ready_after_seconds']:.1f} s"],
        ["every campaign of the backlog exact after", f"{figures['caught_up_after_seconds']:.1f} s"],
        ["events a second of the backlog, once ready", f"{figures['events_a_second']:,}"],
        ["the worker's CPU until then", f"{figures['worker_cpu_seconds']:.1f} s ({share:.0f} %)"],
    ]
    return "\n".join(
        [
            f"{headline(figures)} Store {figures['settings']['store']}.\n",
            table(["", "found"], rows),
        ]
    )


def _campaigns_of(counts: Counts) -> Counts:
    return {key: counted for key, counted in counts.items() if key != "all:all"}


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.catch_up", description=__doc__)
    arguments.add_argument("--events", type=int, default=2_000_000, help="of the backlog")
    arguments.add_argument(
        "--live-rate", type=float, default=1_000, help="events a second behind the backlog"
    )
    arguments.add_argument("--live-seconds", type=float, default=60)
    arguments.add_argument("--store", choices=("memory", "rocksdb"), default="memory")
    arguments.add_argument("--broker", choices=BROKER_NAMES[:2], default=best_broker())
    arguments.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    return arguments.parse_args()


if __name__ == "__main__":
    run_checked("catch_up", main)
