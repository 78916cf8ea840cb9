"""One run: a contestant is started, its result awaited and checked, and what it took is measured.

Time runs from the start of the process until its result in Redis is complete and right, and so does CPU: of the
contestant's processes with their children, of the broker, and of Redis.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.checks import Check
from benchmarks.contestants import Contestant
from benchmarks.processes import cpu_seconds, running
from benchmarks.stage import Input, Stage

_LOOK_SECONDS = 0.05
_LOOK_AGAIN_SECONDS = 0.2
_AFTERWARDS_SECONDS = 1.5
"""A result that was right must still be so after the next time that anything is written."""
_LAST_BYTES = 600


@dataclass(frozen=True)
class Run:
    """What one run took; ``problem`` is why its figures mean nothing, if they do."""

    contestant: str
    input: str
    records: int
    seconds: float
    seconds_to_first: float
    cpu_seconds: float
    broker_cpu_seconds: float
    redis_cpu_seconds: float
    problem: str | None


def race(stage: Stage, contestant: Contestant, given: Input, seconds: float) -> Run:
    """One run over an input, ended after so many seconds; what it left is tidied up."""
    group = f"bench-{contestant.name}-{uuid4().hex[:8]}"
    check = contestant.check(stage, given, group)
    place = Path(tempfile.mkdtemp(prefix="stream-app-bench-"))
    log = place / "log.txt"
    try:
        state = place / "state"
        state.mkdir()
        variables = contestant.variables(stage, given, group, str(state))
        commands = [contestant.command()] * contestant.processes
        with running(commands, variables, log) as processes:
            run = _Measurement(stage, contestant, given, processes).until(check, seconds)
        if run.problem is not None:
            print(f"{contestant.name}: {run.problem}\n{_end_of(log)}")
        return run
    finally:
        shutil.rmtree(place, ignore_errors=True)
        stage.tidy()


class _Measurement:
    """A run that is under way."""

    def __init__(
        self, stage: Stage, contestant: Contestant, given: Input, processes: Sequence[subprocess.Popen[bytes]]
    ) -> None:
        self._stage = stage
        self._contestant = contestant
        self._input = given
        self._processes = processes
        self._start = time.monotonic()
        self._servers = stage.broker.pid, stage.redis.pid
        self._used_before = [cpu_seconds(pid) for pid in self._servers]
        self._first: float | None = None

    def until(self, check: Check, seconds: float) -> Run:
        """Look until the result is right, cannot be any more, or time is up."""
        client = self._stage.client()
        while True:
            progress = check.look(client)
            run = self._now(None)
            if progress > 0 and self._first is None:
                self._first = run.seconds
            problem = self._hopeless(check, client, progress, run.seconds, seconds)
            if problem is not None:
                return self._now(problem)
            if progress == 1 and next(check.problems(client), None) is None:
                time.sleep(_AFTERWARDS_SECONDS)
                problem = next(check.problems(client), None)
                return run if problem is None else replace(run, problem=f"right, and wrong later: {problem}")
            time.sleep(_LOOK_SECONDS if progress < 1 else _LOOK_AGAIN_SECONDS)

    def _hopeless(
        self, check: Check, client: Any, progress: float, passed: float, seconds: float
    ) -> str | None:
        for process in self._processes:
            if process.poll() is not None:
                return f"ended with {process.returncode} at {progress:.1%}"
        if progress > 1:
            return f"counted too much: {next(check.problems(client), 'right a moment later')}"
        if passed > seconds:
            return f"not right within {seconds:.0f} s, at {progress:.1%}: {next(check.problems(client), 'right now')}"
        return None

    def _now(self, problem: str | None) -> Run:
        broker, server = (
            cpu_seconds(pid) - before for pid, before in zip(self._servers, self._used_before, strict=True)
        )
        now = time.monotonic() - self._start
        return Run(
            self._contestant.name,
            self._input.name,
            self._stage.records[self._input.name],
            now,
            now if self._first is None else self._first,
            sum(cpu_seconds(process.pid) for process in self._processes),
            broker,
            server,
            problem,
        )


def _end_of(log: Path) -> str:
    return log.read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace")
