"""`python -m benchmarks.yahoo`: the Yahoo streaming benchmark, live at a rate, or over a backlog (`--backlog`).

Ends with 1 if any window is missing, wrong or surplus. Figures go to benchmarks/results/yahoo-*.json.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.environment import bench_python
from benchmarks.places import RESULTS, ROOT
from benchmarks.processes import cpu_seconds, running
from benchmarks.report import PAGE, replace_section
from benchmarks.rounds import best_broker, told
from benchmarks.stage import Stage, open_stage
from benchmarks.yahoo.judge import Seen, counted, lateness, problems
from benchmarks.yahoo.world import World
from stream_app.ingest.topic_specs import TopicSpec
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics

PREFIX = "yahoo."
TOPIC = f"{PREFIX}ad-events"
SEED = 2015
PARTITIONS = 4
SEND_SECONDS = 900
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.25
_PROGRAM = (sys.executable, "-m", "benchmarks.yahoo.program", "worker", "--without-web", "--loglevel", "warn")


@dataclass(frozen=True)
class Result:
    """What one run measured. Lateness is in milliseconds after the end of a window, of a live run only."""

    mode: str
    events: int
    rate: float
    seconds: float
    cpu_microseconds: float
    late_p50: float | None
    late_p99: float | None
    windows: int


def main() -> None:
    options = _options()
    with told(), open_stage(options.broker) as stage, tempfile.TemporaryDirectory() as directory:
        result = _run(stage, options, Path(directory))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"yahoo-{result.mode}.json").write_bytes(
        orjson.dumps({**asdict(result), "broker": options.broker}, option=orjson.OPT_INDENT_2) + b"\n"
    )
    if options.write:
        replace_section(PAGE, "yahoo", _table())
    print(
        f"{result.mode}: {result.events:,} events in {result.windows:,} windows, all right; "
        f"{result.events / result.seconds:,.0f} events/s, {result.cpu_microseconds:.2f} µs of CPU per event"
    )
    if result.late_p50 is not None:
        print(
            f"a window's last writing after its end: p50 {result.late_p50:.0f} ms, p99 {result.late_p99:.0f} ms"
        )


def _run(stage: Stage, options: argparse.Namespace, directory: Path) -> Result:
    ensure_topics(Settings(kafka=stage.address), [TopicSpec(TOPIC, PARTITIONS, exact=True)])
    world = World(SEED, options.skew)
    client = stage.client()
    client.sadd("campaigns", *world.campaigns)
    client.mset(world.ads)
    events = options.backlog or int(options.rate * options.seconds)
    rate = 0 if options.backlog else options.rate
    truth = directory / "truth.json"
    command = [str(bench_python()), "-m", "benchmarks.yahoo.sender", stage.address, TOPIC, str(PARTITIONS)]
    command += [str(SEED), str(int(options.skew)), str(events), str(rate), str(truth)]
    if options.backlog:
        _sent(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    variables = {
        "BENCH_KAFKA": stage.address,
        "BENCH_REDIS": stage.redis.url,
        "BENCH_PREFIX": PREFIX,
        "BENCH_GROUP": "yahoo",
        "BENCH_STATE": str(directory / "state"),
    }
    log = directory / "log.txt"
    with running([_PROGRAM], variables, log) as (program,):
        start = time.monotonic()
        if not options.backlog:
            _sent(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        seen: Seen = orjson.loads(truth.read_bytes())
        seconds, cpu = _wait_until_right(client, world, seen, program, log, start)
    late = [] if options.backlog else sorted(lateness(client, world.campaigns))
    return Result(
        "backlog" if options.backlog else "live",
        events,
        rate,
        seconds,
        cpu * 1e6 / events,
        statistics.median(late) if late else None,
        late[len(late) * 99 // 100] if late else None,
        sum(map(len, seen.values())),
    )


def _sent(sender: subprocess.Popen[str]) -> None:
    """Wait until the sender has sent everything; it ends with us in any case."""
    try:
        _, said = sender.communicate(timeout=SEND_SECONDS)
    finally:
        sender.kill()
    if sender.returncode:
        raise SystemExit(f"yahoo: the events cannot be sent: {said.strip()[-500:]}")


def _wait_until_right(
    client: Any, world: World, seen: Seen, program: subprocess.Popen[bytes], log: Path, start: float
) -> tuple[float, float]:
    """Wait for the last view; returns seconds since the start, and CPU seconds, if everything is right then."""
    wanted = sum(sum(windows.values()) for windows in seen.values())
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        seconds, cpu = time.monotonic() - start, cpu_seconds(program.pid)
        if program.poll() is not None:
            raise SystemExit(f"yahoo: the program ended with {program.returncode}: {log.read_text()[-800:]}")
        shown = counted(client, world.campaigns)
        if shown >= wanted or time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    time.sleep(1)  # nothing may come on top
    wrong = list(problems(client, world.campaigns, seen))
    if wrong:
        raise SystemExit(f"yahoo: {len(wrong)} windows or lists are not right; the first: {wrong[0]}")
    return seconds, cpu


def _table() -> str:
    """The last live run and the last backlog, as a Markdown table."""
    lines = [
        "| | events | windows | events/s | CPU µs/event | last writing after a window's end, p50 / p99 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for path in sorted(RESULTS.glob("yahoo-*.json")):
        held = orjson.loads(path.read_bytes())
        late = "–" if held["late_p50"] is None else f"{held['late_p50']:.0f} / {held['late_p99']:.0f} ms"
        lines.append(
            f"| {held['mode']}, {held['broker']} | {held['events']:,} | {held['windows']:,} | "
            f"{held['events'] / held['seconds']:,.0f} | {held['cpu_microseconds']:.2f} | {late} |"
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.yahoo", description=__doc__)
    parser.add_argument("--rate", type=float, default=20_000, help="events per second, live (20,000)")
    parser.add_argument("--seconds", type=float, default=60, help="how long events are sent, live (60)")
    parser.add_argument(
        "--backlog", type=int, default=0, help="instead: so many events are there at the start"
    )
    parser.add_argument(
        "--skew", action="store_true", help="out of order by 50 ms, one in 100,000 by up to a minute"
    )
    parser.add_argument("--write", action="store_true", help="write the section in docs/performance.md")
    default = best_broker()
    parser.add_argument("--broker", choices=("kafka", "embedded"), default=default, help=f"here: {default}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
