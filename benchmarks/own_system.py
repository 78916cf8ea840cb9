"""What the benches of our own system share: the servers and the worker, what Redis shows, results and tables.

Stands under ``latency.py``, ``restart.py``, ``catch_up.py``, ``startup.py`` and ``growth.py``. A bench measures, and
checks that what it measured was right: where it was not, it ends with a sentence and 1. A goal that is
missed is printed, not punished.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from benchmarks.environment import CannotPrepare
from benchmarks.life import Counts, Json
from benchmarks.places import RESULTS
from benchmarks.processes import cpu_seconds
from benchmarks.report import PAGE, replace_section
from benchmarks.stage import BusyKafka
from stream_app.dev import EmbeddedRedis, ServerError
from stream_app.settings import format_duration
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import ApacheKafka, BrokerName, Embedded, java
from tests.support.programs import Installation, Worker, installation

READY_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 0.02
KEYS_AT_ONCE = 500


class CheckFailed(Exception):
    """What was measured was not right; the text is a sentence for a person."""


@dataclass(frozen=True)
class Stage:
    """A broker and a Redis of its own, and an installation with topics of its own on them."""

    broker: ApacheKafka | Embedded
    redis_server: EmbeddedRedis
    place: Installation
    directory: Path

    def client(self) -> Any:
        """A connection to Redis."""
        return redis.Redis.from_url(self.redis_server.url, decode_responses=True)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker that is ready; killed at the end."""
        with self.new_worker() as worker:
            wait_until_ready(worker)
            yield worker

    @contextmanager
    def new_worker(self) -> Iterator[Worker]:
        """A worker that has just been started, with a log of its own; killed at the end."""
        log = self.directory / f"worker-{time.monotonic_ns()}.log"
        worker = Worker(self.place.environment, log)
        try:
            yield worker
        finally:
            worker.kill()

    def pids(self, **others: int) -> dict[str, int]:
        """The processes whose CPU is of interest."""
        return {"broker": self.broker.pid, "redis": self.redis_server.pid, **others}

    def settings_used(self) -> Json:
        """What matters of the settings, for the results."""
        settings = self.place.settings
        return {
            "broker": self.broker.name,
            "partitions": settings.partitions,
            "store": settings.store,
            "flush_interval": format_duration(settings.flush_interval),
            "fetch_wait": format_duration(settings.fetch_wait),
            "snapshot_interval": format_duration(settings.snapshot_interval),
        }


@contextmanager
def stage(broker: BrokerName, with_topics: bool = True, **options: str) -> Iterator[Stage]:
    """The servers and the topics; options are settings, which are otherwise those of a user who set none."""
    given = {"idle_timeout": "30s", "store": "memory", **options}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-app-bench-")))
        server: ApacheKafka | Embedded = BusyKafka() if broker == "kafka" else Embedded()
        stack.enter_context(server)
        redis_server = stack.enter_context(EmbeddedRedis())
        place = installation(server.address, redis_server.url, directory, **given)
        if with_topics:
            ensure_topics(place.settings)
        yield Stage(server, redis_server, place, directory)


def best_broker() -> BrokerName:
    """Apache Kafka where it is, else the embedded broker."""
    try:
        java()
    except ServerError:
        return "embedded"
    return "kafka"


def wait_until_ready(worker: Worker, seconds: float = READY_SECONDS) -> None:
    """Return when the worker says that it is ready.

    Raises:
        CheckFailed: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if worker.ask("/ready")[0] == 200:
            return
        time.sleep(LOOK_AGAIN_SECONDS)
    raise CheckFailed(f"the worker was not ready within {seconds:.0f} s")


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """The CPU time that processes have used so far, by the names they are given here."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def wait_until_counted(stage: Stage, wanted: Counts, seconds: float, every: float = 0.2) -> None:
    """Return when Redis shows these totals.

    Raises:
        CheckFailed: it does not within that time; names what differs.
    """
    client = stage.client()
    deadline = time.monotonic() + seconds
    key = next(iter(wanted))
    first = {key: wanted[key]}  # one is quick to ask for, and tells while most are not there yet
    while True:
        wrong = wrong_in_redis(stage, client, first) or wrong_in_redis(stage, client, wanted)
        if not wrong:
            return
        if time.monotonic() > deadline:
            shown = "; ".join(wrong[:5])
            raise CheckFailed(f"{len(wrong)} totals were not right after {seconds:.0f} s: {shown}")
        time.sleep(every)


def wrong_in_redis(stage: Stage, client: Any, wanted: Counts) -> list[str]:
    """Every total that Redis does not show as it should be."""
    stem = f"{stage.place.settings.redis_prefix}metrics:"
    wrong = []
    keys = list(wanted)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        pipeline = client.pipeline(transaction=False)
        for key in some:
            pipeline.hmget(stem + key, [f"total.{count}" for count in wanted[key]] or ["as_of"])
        for key, held in zip(some, pipeline.execute(), strict=True):
            wrong += [
                f"{key} total.{count} is {shown or 'missing'} instead of {number}"
                for (count, number), shown in zip(wanted[key].items(), held, strict=False)
                if shown != str(number)
            ]
    return wrong


def percentiles(values: Sequence[float]) -> Json:
    """How many there are, and their percentiles; each is a value that occurred."""
    ranked = sorted(values)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found: Json = {"count": len(ranked)}
    if ranked:
        last = len(ranked) - 1
        found |= {
            name: round(ranked[min(last, int(len(ranked) * share))], 1) for name, share in shares.items()
        }
        found["most"] = round(ranked[-1], 1)
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *[[str(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def headline(figures: Json) -> str:
    """When and on what the figures were found, for the begin of a section."""
    broker = figures["settings"].get("broker") if "settings" in figures else None
    where = {"kafka": "Apache Kafka, ", "embedded": "embedded broker, "}.get(broker or "", "")
    return f"{figures['made'][:10]}, {where}{figures['machine']['cores']} cores."


def finish(name: str, figures: Json, as_markdown: Callable[[Json], str], write: bool) -> None:
    """Write the raw figures, print the table, and put it into docs/performance.md if asked to."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    whole = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, **figures}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    text = as_markdown(whole)
    print(text)
    if write:
        replace_section(PAGE, name, text.rstrip())


def run_checked(name: str, bench: Callable[[], None]) -> None:
    """Run a bench; what goes wrong is a sentence, and exit code 1."""
    try:
        bench()
    except (CheckFailed, CannotPrepare, ServerError, AssertionError) as problem:
        sys.exit(f"benchmarks.{name}: {problem}")
