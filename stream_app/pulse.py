"""The pulse: ends a process whose event loop is blocked, which nothing inside the loop could do. Stands at the edge.

A blocked loop keeps its partitions: the consumer has a thread of its own, which goes on telling the group that all is
well. So a thread asks each loop for a sign of life, and if none comes for too long it says what the loop was doing and
ends the process, whose supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

from stream_app.lease import Lease
from stream_app.telemetry import end_at_once, write_at_once

_BEAT_SECONDS = 0.5
_FRAMES = 20

Loops = Callable[[], Mapping[str, asyncio.AbstractEventLoop]]


class _Loop:
    """One loop, as seen from outside."""

    def __init__(self) -> None:
        self.missed = 0
        self.thread: int | None = None
        self._answered = True

    def ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a beat that has not come, or ask for the next."""
        self.missed = 0 if self._answered else self.missed + 1
        if self._answered:
            self._answered = False
            with suppress(RuntimeError):  # it was closed: the process ends
                loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self.thread = threading.get_ident()
        self._answered = True


class Pulse(threading.Thread):
    """Watches the event loops, and renews the lease while they are busy, from ``start`` to the end of the process."""

    def __init__(self, loops: Loops, stuck_after_seconds: float, lease: Lease) -> None:
        super().__init__(name="pulse", daemon=True)
        self._loops = loops
        self._lease = lease
        # Beats are counted, not seconds: while the process is suspended there are none.
        self._most_missed = int(stuck_after_seconds / _BEAT_SECONDS)
        self._last_loops: Mapping[str, asyncio.AbstractEventLoop] = {}
        self._has_failed = False

    def run(self) -> None:
        """Ask twice a second."""
        known: dict[str, _Loop] = {}
        never = threading.Event()
        self._lease.begin()
        while not never.wait(_BEAT_SECONDS):
            self._lease.renew()
            for name, loop in self._loops_now().items():
                seen = known.setdefault(name, _Loop())
                seen.ask(loop)
                if seen.missed >= self._most_missed:
                    _end(name, seen)

    def _loops_now(self) -> Mapping[str, asyncio.AbstractEventLoop]:
        """The loops to ask; those of the last time where they cannot be told, as this thread must go on."""
        try:
            self._last_loops = self._loops()
        except Exception as problem:  # noqa: BLE001 - whatever it is, the loops known so far are watched
            if not self._has_failed:
                self._has_failed = True
                text = f"cannot tell which loops there are ({type(problem).__name__}: {problem})"
                write_at_once(__name__, logging.ERROR, text)
        return self._last_loops


def _end(name: str, seen: _Loop) -> None:
    end_at_once(
        __name__,
        f"the {name} has been blocked for {seen.missed * _BEAT_SECONDS:.0f} s: this worker is stuck and ends; "
        f"start it again. It was at {_stack_of(seen.thread)}",
    )


def _stack_of(thread: int | None) -> str:
    """Where a thread is, innermost first, on one line."""
    frame = None if thread is None else sys._current_frames().get(thread)
    if frame is None:
        return "an unknown place"
    stack = traceback.extract_stack(frame)[-_FRAMES:]
    return " < ".join(f"{step.filename}:{step.lineno} {step.name}" for step in reversed(stack))
