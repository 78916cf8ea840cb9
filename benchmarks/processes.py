"""Processes and the CPU they use: started, measured and ended by their own ids. Linux, as it reads `/proc`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.places import ROOT

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 20


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, listed.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """What a process and all below it have used so far, those included that have ended and were waited for."""
    return sum(map(_own_cpu_seconds, tree(pid)))


def _own_cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has ended, and its parent has its time
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


@contextmanager
def running(
    commands: Sequence[Sequence[str]], variables: Mapping[str, str], log: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with this, their children too; what they say goes to the log."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
    environment = {**clean, **variables}
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as output:
        try:
            processes.extend(
                subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
                for command in commands
            )
            yield processes
        finally:
            _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    children = [pid for process in processes for pid in tree(process.pid)[1:]]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
