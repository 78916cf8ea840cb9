"""The one place that reads the clock; everything else is handed a time.

Stands before the whole flow. Event time and clock time are both integers of milliseconds since
1970 (UTC), so that comparisons are exact and tests can move time by hand.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # only Linux has the first
_LATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last RFC 3339 can write


def now_ms() -> int:
    """The clock's time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def monotonic_seconds() -> float:
    """A clock that never steps back, in seconds, for measuring how long something took."""
    return time.monotonic()


def boot_seconds() -> float:
    """As ``monotonic_seconds``, and it goes on while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(_BOOT_CLOCK)


def thread_seconds() -> float:
    """How long the calling thread was at work so far, in seconds of a processor."""
    return time.thread_time()


def to_rfc3339(time_ms: int) -> str:
    """Write a time the way all our output does: RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(min(max(time_ms, 0), _LATEST_MS), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"


def from_datetime(moment: datetime) -> int:
    """Milliseconds since 1970 of a moment that bears its offset, rounded down."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
