"""When each recorded event arrived, as far as its file can tell: in the order of the lines. Pure.

Stands before the replay. The clock shows the newest event time so far. An event that is far ahead of it is one of two
things: the first after a quiet time, or one of the future, which a worker refuses; believed, it would make all that
follow late. The records behind it decide. A file that is in no order of arrival looks like a file of late events, and
is called so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from stream_app.ingest.watermark import NO_TIME
from stream_app.state.shard import FUTURE_LIMIT_MS

WITNESSES = 5
"""So many records behind an event that is far ahead are asked: it is believed unless it would make most of them late."""


class Arrival(NamedTuple):
    """A recorded event that was checked: its topic (without prefix), record key and value, and its event time."""

    topic: str
    key: bytes
    value: bytes
    time_ms: int


class ArrivalClock:
    """Tells the clock's time at which each record arrived."""

    def __init__(self, allowed_lateness_ms: int) -> None:
        self._tolerance_ms = max(allowed_lateness_ms, FUTURE_LIMIT_MS)
        self._now_ms = NO_TIME
        self._waiting: deque[Arrival] = deque()

    def take(self, arrival: Arrival) -> Iterator[tuple[Arrival, int]]:
        """Take the next record; gives those whose time is known by now, in their order, each with the clock's time."""
        self._waiting.append(arrival)
        while self._waiting and (len(self._waiting) > WITNESSES or not self._is_ahead(self._waiting[0])):
            yield self._release()

    def rest(self) -> Iterator[tuple[Arrival, int]]:
        """No more records; gives the last ones."""
        while self._waiting:
            yield self._release()

    def _is_ahead(self, arrival: Arrival) -> bool:
        return self._now_ms == NO_TIME or arrival.time_ms > self._now_ms + FUTURE_LIMIT_MS

    def _release(self) -> tuple[Arrival, int]:
        arrival = self._waiting.popleft()
        if not self._is_ahead(arrival) or self._is_believed(arrival):
            self._now_ms = max(self._now_ms, arrival.time_ms)
        elif self._now_ms == NO_TIME:
            self._now_ms = min(witness.time_ms for witness in self._waiting)
        return arrival, self._now_ms

    def _is_believed(self, arrival: Arrival) -> bool:
        late = sum(witness.time_ms < arrival.time_ms - self._tolerance_ms for witness in self._waiting)
        return 2 * late <= len(self._waiting)
