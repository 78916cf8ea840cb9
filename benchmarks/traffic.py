"""Traffic for the live benches: writes what is to be sent as a plan, and runs the sender's program.

Stands between ``life.py`` and ``programs/live_sender.py``, which needs librdkafka: it alone sends 100,000 events a
second and leaves the machine to the others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from benchmarks.environment import bench_python
from benchmarks.life import Json
from benchmarks.own_system import CheckFailed
from benchmarks.places import PROGRAMS
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of

PROGRAM = PROGRAMS / "live_sender.py"
END_SECONDS = 130.0

Noticed = Callable[[Json], None]
"""Told of each line that the sender says, as it says it."""


def write_plan(path: Path, pool: Iterable[Json], settings: Settings) -> int:
    """Write the events of a pool as the sender wants them; returns how many there are."""
    events = 0
    topics = [settings.topic(name) for name in INPUT_TOPICS]
    with path.open("wb") as plan:
        plan.write(" ".join(topics).encode() + b"\n")
        for event in pool:
            topic = INPUT_TOPICS.index(EVENT_TYPES[event["event_type"]].topic)
            key = event["customer_id"].encode()
            partition = partition_of(key, settings.partitions)
            rest = orjson.dumps(event)[1:-2] + b"-"  # the last field is an id, and goes on with the round
            plan.write(b"%d\t%d\t%b\t%b\n" % (topic, partition, key, rest))
            events += 1
    return events


class Traffic:
    """The sender as a process, which ends with the ``with`` block at the latest."""

    def __init__(
        self,
        settings: Settings,
        plan: Path,
        phases: Sequence[str],
        run: str = "live",
        linger_ms: int = 20,
        noticed: Noticed | None = None,
    ) -> None:
        self._command = [
            *(str(bench_python()), str(PROGRAM)),
            *("--kafka", settings.kafka, "--plan", str(plan), "--run", run, "--linger-ms", str(linger_ms)),
            *phases,
        ]
        self._noticed = noticed
        self._process: subprocess.Popen[str] | None = None
        self._ear = threading.Thread(target=self._listen, name="sender's words", daemon=True)
        self.phases: dict[str, Json] = {}
        """What the sender said of each phase: when it ``began`` and ``ended``, and how much was sent by then."""

    @property
    def pid(self) -> int:
        """The sender's process."""
        if self._process is None:
            raise CheckFailed("the sender was not started")
        return self._process.pid

    @property
    def sent(self) -> int:
        """How many events it sent in all, known when it has ended."""
        return int(self.phases["all"]["sent"])

    def wait(self, seconds: float) -> None:
        """Wait until everything is sent and confirmed.

        Raises:
            CheckFailed: that took too long, or something was not confirmed.
        """
        if self._process is None:
            raise CheckFailed("the sender was not started")
        try:
            code = self._process.wait(seconds + END_SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"the sender did not end within {seconds + END_SECONDS:.0f} s") from None
        self._ear.join(10)
        failed = self.phases.get("all", {}).get("failed")
        if code or failed != 0:
            raise CheckFailed(
                f"the sender ended with {code}; {failed} events were not confirmed by the broker"
            )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        self._ear.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            self.phases.setdefault(said["phase"], {}).update(said)
            if self._noticed is not None:
                self._noticed(said)


def send_backlog(settings: Settings, plan: Path, events: int, span_ms: tuple[int, int], run: str) -> float:
    """Fill the topics with so many events of this span of time; returns how long that took, in seconds."""
    phase = f"backlog:backlog:{events}:{span_ms[0]}:{span_ms[1]}"
    with Traffic(settings, plan, [phase], run) as traffic:
        traffic.wait(events / 1_000)
    return float(traffic.phases["backlog"]["ended"] - traffic.phases["backlog"]["began"])
