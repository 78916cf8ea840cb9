"""The lease: a worker that stood still for too long must not write any more. Stands at the edge.

A process that is suspended past its session timeout, by a signal or with its whole machine, wakes up believing that
it owns its partitions, which others have taken over. Journals fence themselves; what else it was about to write cannot
be fenced. So the event loop and a thread beside it leave signs of life, and whichever comes here first after a pause
sees how long it was, and ends the process. A loop that was waiting comes here before it runs anything. One that was
stopped amid its work goes on until it hands something to a client, waits again, or the thread has its turn; in
these few milliseconds only what the clients already had can go out. The loop also measures for how long it was blocked:
by the clock, and by the processor, which a busy machine does not make longer.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, NamedTuple

from stream_app.clock import boot_seconds, monotonic_seconds, thread_seconds
from stream_app.telemetry import end_at_once

_SHARE_OF_SESSION = 0.8
_MINUTE_SECONDS = 60.0


class Block(NamedTuple):
    """For how many seconds an event loop was blocked: by the clock, and of that its thread was at work."""

    seconds: float = 0.0
    busy_seconds: float = 0.0

    def or_longer(self, other: Block) -> Block:
        """The longer of each."""
        return Block(max(self.seconds, other.seconds), max(self.busy_seconds, other.busy_seconds))


class Lease:
    """Renewed by every sign of life; checked, by the same call, before every write. May be called from any thread."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._seconds = session_timeout_ms / 1000 * _SHARE_OF_SESSION
        self._renewed_at: float | None = None
        self._minute_began = monotonic_seconds()
        self._longest_blocks = (Block(), Block())  # in the minute before, and in this one

    def begin(self) -> None:
        """From now on it must be renewed; before, nothing is owned, and a start on a busy machine takes its time."""
        self._renewed_at = boot_seconds()

    def renew(self) -> None:
        """A sign of life; ends the process if the last was so long ago that its partitions may be another's.

        A loop that is busy for that long is not a process that stood still: other threads renew the lease then.
        """
        if self._renewed_at is None:
            return
        now = boot_seconds()
        still = now - self._renewed_at
        if still > self._seconds:
            # Not renewed, so that whichever thread comes here meanwhile ends the process as well.
            end_at_once(
                __name__, f"stood still for {still:.1f} s: another worker may own the partitions: restart it"
            )
        self._renewed_at = now

    @property
    def longest_block(self) -> Block:
        """For how long the event loop was blocked at most in the last minute or two, by work that did not let
        others run."""
        before, now = self._longest_blocks
        return before.or_longer(now)

    def note_block(self, block: Block) -> None:
        """The event loop was blocked for so long."""
        before, now = self._longest_blocks
        if monotonic_seconds() - self._minute_began > _MINUTE_SECONDS:
            self._minute_began = monotonic_seconds()
            before, now = now, Block()
        self._longest_blocks = (before, now.or_longer(block))

    def loop(self) -> asyncio.AbstractEventLoop:
        """An event loop that renews the lease whenever it wakes up, before it does anything else."""
        return asyncio.SelectorEventLoop(_Selector(self))


class _Selector(selectors.DefaultSelector):
    """Waits for what the event loop waits for."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self._lease = lease
        self._woke_at: float | None = None
        self._busy_before = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait; what runs between two calls blocks the loop."""
        if self._woke_at is not None:
            awake = monotonic_seconds() - self._woke_at
            self._lease.note_block(Block(awake, thread_seconds() - self._busy_before))
        found: Any = super().select(timeout)
        self._lease.renew()
        self._woke_at, self._busy_before = monotonic_seconds(), thread_seconds()
        return list(found)
