"""A process that stood still ends before it writes, and one whose loop is blocked ends: also where nobody reads its log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from stream_app.clock import boot_seconds, monotonic_seconds
from tests.support.leased_program import KINDS, LEASE_SECONDS, SESSION_SECONDS, STUCK_SECONDS
from tests.support.programs import ROOT, wait_until

START = 30
SLACK = 10
LINE = re.compile(r"^20\S+ \S+ CRITICAL stream_app\.(lease|pulse): (.*)$", re.MULTILINE)


class Program:
    """One process that is looked at, and what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], written: Path) -> None:
        self.process = process
        self._written = written

    @property
    def times(self) -> list[float]:
        """When it wrote."""
        return [float(line) for line in self._written.read_text("ascii").splitlines()]

    def wait_for_end(self) -> int:
        """Its exit code."""
        return self.process.wait(STUCK_SECONDS + SLACK)


@contextmanager
def _program(kind: str, directory: Path, log: int) -> Iterator[Program]:
    written = directory / "written"
    written.touch()
    assert kind in KINDS
    command = [sys.executable, "-m", "tests.support.leased_program", kind, str(written)]
    process = subprocess.Popen(command, stderr=log, cwd=ROOT)
    try:
        program = Program(process, written)
        wait_until(lambda: len(program.times) > 10, START, "it writes")
        yield program
    finally:
        process.kill()
        process.wait()


@contextmanager
def _log(path: Path) -> Iterator[int]:
    with path.open("wb") as log:
        yield log.fileno()


@contextmanager
def _full_pipe() -> Iterator[int]:
    """A pipe that nobody reads, with no room left."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def _stand_still(program: Program, seconds: float) -> float:
    """Suspend it for so long; returns when it went on."""
    program.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    went_on = boot_seconds()
    program.process.send_signal(signal.SIGCONT)
    return went_on


def test_a_process_that_stood_still_ends_before_it_writes_and_says_so_once(tmp_path: Path) -> None:
    with _log(tmp_path / "log") as log, _program("steady", tmp_path, log) as program:
        went_on = _stand_still(program, SESSION_SECONDS)
        assert program.wait_for_end() == 1
        assert program.times[-1] < went_on
    said = LINE.findall((tmp_path / "log").read_text("utf-8"))
    assert said
    assert all(
        who == "lease" and re.match(r"stood still for \d+\.\d s: .*: restart it$", x) for who, x in said
    )


def test_it_ends_also_when_nobody_reads_its_log(tmp_path: Path) -> None:
    with _full_pipe() as log, _program("steady", tmp_path, log) as program:
        went_on = _stand_still(program, SESSION_SECONDS)
        assert program.wait_for_end() == 1
        assert program.times[-1] < went_on


def test_a_process_that_stood_still_for_less_goes_on(tmp_path: Path) -> None:
    with _log(tmp_path / "log") as log, _program("steady", tmp_path, log) as program:
        went_on = _stand_still(program, LEASE_SECONDS / 3)
        wait_until(lambda: program.times[-1] > went_on + 1, SLACK, "it goes on")
        assert program.process.poll() is None
        assert max(after - before for before, after in pairwise(program.times)) < LEASE_SECONDS


def test_a_process_whose_loop_is_blocked_ends_and_says_where_it_was(tmp_path: Path) -> None:
    with _log(tmp_path / "log") as log, _program("blocked", tmp_path, log) as program:
        assert program.wait_for_end() == 1
    ((who, text),) = LINE.findall((tmp_path / "log").read_text("utf-8"))
    assert who == "pulse"
    assert "the event loop has been blocked for 2 s" in text
    assert "leased_program.py:" in text


def test_a_process_that_is_blocked_because_nobody_reads_its_log_ends(tmp_path: Path) -> None:
    with _full_pipe() as log, _program("blocked by its log", tmp_path, log) as program:
        assert program.wait_for_end() == 1


def test_the_pulse_goes_on_when_it_cannot_be_told_which_loops_there_are(tmp_path: Path) -> None:
    with _log(tmp_path / "log") as log, _program("without loops", tmp_path, log) as program:
        assert program.wait_for_end() == 1
    text = (tmp_path / "log").read_text("utf-8")
    assert (
        text.count("ERROR stream_app.pulse: cannot tell which loops there are (RuntimeError: there are none)")
        == 1
    )
    assert "the event loop has been blocked for 2 s" in text
    assert "Traceback" not in text


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has this clock")
def test_the_clock_of_the_lease_counts_while_the_machine_is_suspended() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boot_seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert boot_seconds() >= monotonic_seconds() - 1
