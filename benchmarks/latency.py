"""How long an event takes until it shows, while many others come: produced → in Redis, produced → alert told.

``python -m benchmarks.latency`` starts a broker, Redis and one worker, sends life at a steady pace and then a burst of
five times that, and times probes (``probes.py``) all the while. At the end every campaign's totals must be those of
what was sent, or it fails.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from benchmarks.environment import bench_python
from benchmarks.life import Counts, Json, Population, expected, life
from benchmarks.own_system import (
    Stage,
    best_broker,
    cpu_of,
    finish,
    headline,
    percentiles,
    run_checked,
    stage,
    table,
    wait_until_counted,
)
from benchmarks.probes import ALARM, ALARMS_A_SECOND, BUSY, FRESH, Probes, Sample
from benchmarks.traffic import Traffic, write_plan
from tests.support.brokers import BROKER_NAMES

GOAL_P50_MS, GOAL_P99_MS, GOAL_BACK_SECONDS = 100, 300, 30
BURST_TIMES = 5
WARM_UP_SECONDS = 5.0
LINGER_MS = 20
POPULATION = Population(customers=500_000, campaigns=1_000)
PREPARE_SECONDS = 120.0
NORMAL_SECONDS = 3
"""So many seconds in a row must be as before the burst."""
ALARM_MARGIN = 1.2
CPU_OF = ("worker", "broker", "redis", "sender", "probes")


class Phase(NamedTuple):
    """A stretch of the run with one pace."""

    name: str
    rate: float
    seconds: float

    def __str__(self) -> str:
        return f"live:{self.name}:{self.rate}:{self.seconds}"


def main() -> None:
    options = _options()
    bench_python()  # made before the clock runs
    given = {"flush_interval": options.flush_interval, "fetch_wait": options.fetch_wait}
    chosen = {name: value for name, value in given.items() if value}
    with stage(options.broker, **chosen) as place:
        figures = measure(place, _phases(options), options.pool, options.drain_seconds)
    finish("latency", figures, as_markdown, options.write)


def measure(place: Stage, phases: Sequence[Phase], pool_size: int, drain_seconds: float) -> Json:
    """One run: prepare, send in phases with probes beside, and hold every total against what was sent."""
    pool = list(islice(life(POPULATION), pool_size))
    plan = place.directory / "plan"
    write_plan(plan, pool, place.place.settings)
    total_seconds = sum(phase.seconds for phase in phases)
    alarms = math.ceil(total_seconds * ALARMS_A_SECOND * ALARM_MARGIN)
    cpu: dict[str, dict[str, float]] = {}
    with place.worker() as worker, Probes(place.place.settings, place.broker.name, alarms) as probes:
        probes.wait_until_prepared(PREPARE_SECONDS)
        wait_until_counted(place, {"all:all": Counter(), **probes.prepared}, PREPARE_SECONDS)
        pids = place.pids(worker=worker.process.pid)

        def notice(said: Json) -> None:
            moment = "began" if "began" in said else "ended"
            used = {"probes": time.process_time(), **cpu_of({**pids, "sender": traffic.pid})}
            cpu[f"{said['phase']} {moment}"] = used

        traffic = Traffic(
            place.place.settings, plan, [str(phase) for phase in phases], linger_ms=LINGER_MS, noticed=notice
        )
        with traffic:
            probes.begin()
            traffic.wait(total_seconds)
        sent_at = time.monotonic()
        probes.finish(drain_seconds)
        wanted = together(expected(pool, traffic.sent), probes.counts)
        wait_until_counted(place, wanted, drain_seconds)
        drained_after = time.monotonic() - sent_at
    samples = {name: series.samples for name, series in probes.series.items()}
    return {
        "settings": {**place.settings_used(), "linger_ms": LINGER_MS},
        "phases": [_phase_figures(phase, traffic.phases[phase.name], cpu) for phase in phases],
        "latency_ms": {phase.name: _latencies(samples, traffic.phases[phase.name]) for phase in phases},
        "back_to_normal_seconds": _back_to_normal(samples, traffic.phases),
        "counted": {
            "events": wanted_events(traffic.sent, probes.counts),
            "exact": True,
            "drained_after_seconds": round(drained_after, 1),
        },
        "samples": {
            name: [[s.produced_at, round(s.milliseconds, 1)] for s in samples[name]] for name in samples
        },
    }


def together(load: Counts, probes: Counts) -> Counts:
    """What two senders must have led to."""
    return {key: load.get(key, Counter()) + probes.get(key, Counter()) for key in {**load, **probes}}


def wanted_events(sent: int, probes: Counts) -> int:
    """How many events were sent in all, probes among them."""
    return sent + sum(probes["all:all"].values())


def as_markdown(figures: Json) -> str:
    """The figures as a section of the document."""
    used = figures["settings"]
    rows = []
    for phase in figures["phases"]:
        for name in (FRESH, BUSY, ALARM):
            found = figures["latency_ms"][phase["name"]][name]
            cells = [found.get(part, "–") for part in ("p50", "p95", "p99", "most", "count")]
            rows.append([f"{phase['name']}, {phase['reached_a_second']:,.0f}/s: {name}", *cells])
    shares = [
        [
            phase["name"],
            *(f"{phase['cpu_percent'][name]:.0f} %" for name in CPU_OF),
        ]
        for phase in figures["phases"]
    ]
    back = figures["back_to_normal_seconds"]
    after = ""
    if any(phase["name"] == "burst" for phase in figures["phases"]):
        found = "Not back to normal" if back is None else f"Back to normal {back:.0f} s"
        after = f" {found} after the burst (goal {GOAL_BACK_SECONDS} s)."
    return "\n".join(
        [
            f"{headline(figures)} Flush every {used['flush_interval']}, fetch wait {used['fetch_wait']}. Milliseconds:\n",
            table(["", "p50", "p95", "p99", "most", "probes"], rows),
            "CPU, in percent of one core:\n",
            table(["", *CPU_OF], shares),
            f"All {figures['counted']['events']:,} events were counted, each campaign exactly.{after} Goals at the steady "
            f"pace, for a new key and for an alert: p50 under {GOAL_P50_MS} ms, p99 under {GOAL_P99_MS} ms.\n",
        ]
    )


def _phase_figures(phase: Phase, said: Json, cpu: dict[str, dict[str, float]]) -> Json:
    seconds = said["ended"] - said["began"]
    before, after = cpu[f"{phase.name} began"], cpu[f"{phase.name} ended"]
    return {
        "name": phase.name,
        "wanted_a_second": phase.rate,
        "reached_a_second": round((said["sent"] - said["first"]) / seconds),
        "sender_behind_ms": said["most_behind_ms"],
        "seconds": round(seconds, 1),
        "cpu_percent": {name: round(100 * (after[name] - before[name]) / seconds, 1) for name in after},
    }


def _latencies(samples: dict[str, list[Sample]], said: Json) -> Json:
    """The latencies of the probes that were produced in a phase."""
    return {
        name: percentiles([s.milliseconds for s in found if said["began"] <= s.produced_at < said["ended"]])
        for name, found in samples.items()
    }


def _back_to_normal(samples: dict[str, list[Sample]], said: dict[str, Json]) -> float | None:
    """After how many seconds the probes of each of some seconds in a row are, at their median, within the goal for
    the slowest hundredth, or what that was before the burst; None without a burst, or if that never came."""
    if "burst" not in said:
        return None
    steady = [
        s.milliseconds
        for s in samples[FRESH]
        if said["steady"]["began"] <= s.produced_at < said["steady"]["ended"]
    ]
    normal = max(GOAL_P99_MS, percentiles(steady)["p99"])
    after = [s for s in samples[FRESH] if s.produced_at >= said["burst"]["ended"]]
    by_second: dict[int, list[float]] = {}
    for sample in after:
        by_second.setdefault(int(sample.produced_at - said["burst"]["ended"]), []).append(sample.milliseconds)
    is_normal = {second: statistics.median(found) <= normal for second, found in by_second.items()}
    for second in sorted(is_normal):
        if all(is_normal.get(second + more, False) for more in range(NORMAL_SECONDS)):
            return float(second)
    return None


def _phases(options: argparse.Namespace) -> list[Phase]:
    phases = [Phase("warm-up", options.rate, WARM_UP_SECONDS), Phase("steady", options.rate, options.seconds)]
    if options.burst_seconds > 0:
        phases.append(Phase("burst", options.rate * BURST_TIMES, options.burst_seconds))
        phases.append(Phase("after", options.rate, options.after_seconds))
    return phases


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.latency", description=__doc__)
    arguments.add_argument("--rate", type=float, default=20_000, help="events a second")
    arguments.add_argument("--seconds", type=float, default=60, help="how long at the steady pace")
    arguments.add_argument(
        "--burst-seconds", type=float, default=60, help="of five times the rate; 0 for none"
    )
    arguments.add_argument(
        "--after-seconds", type=float, default=40, help="at the steady pace after the burst"
    )
    arguments.add_argument(
        "--drain-seconds", type=float, default=120, help="until all must be counted at the end"
    )
    arguments.add_argument("--pool", type=int, default=200_000, help="different events, sent round and round")
    arguments.add_argument("--broker", choices=BROKER_NAMES[:2], default=best_broker())
    arguments.add_argument("--flush-interval", help="STREAM_APP_FLUSH_INTERVAL; its default if not given")
    arguments.add_argument("--fetch-wait", help="STREAM_APP_FETCH_WAIT; its default if not given")
    arguments.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    return arguments.parse_args()


if __name__ == "__main__":
    run_checked("latency", main)
