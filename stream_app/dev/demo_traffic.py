"""The demo's traffic: simulated events sent when they are due, by a clock that runs fast until it is now.

Stands between the simulator and the input topics, at the producers' end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from stream_app.clock import DAY_MS, HOUR_MS, monotonic_seconds, now_ms
from stream_app.dev.simulation_story import DAY_BEGINS
from stream_app.dev.simulator import Arrival
from stream_app.sinks.ordered_sender import OrderedSender

SPEED = 720
"""Simulated time passes so much faster than the clock: an hour in five seconds."""

HISTORY_MS = 36 * HOUR_MS
"""The simulation begins at least so long ago: what lies ahead of the clock would be refused."""

NEXT_LOOK_SECONDS = 0.02
RECORDS_PER_BREATH = 200
RATE_SECONDS = 3.0


@dataclass(frozen=True)
class Pace:
    """What time it is in the simulated shop: ``start_ms`` when the clock said ``clock_ms``, then `SPEED` times as
    fast as the clock, until the present is reached; from then on it is the clock's time."""

    start_ms: int
    clock_ms: int

    @classmethod
    def begin(cls, clock_ms: int) -> Pace:
        """Begin with the last morning that lies far enough back."""
        latest_ms = clock_ms - HISTORY_MS
        morning_ms = latest_ms // DAY_MS * DAY_MS + round(DAY_BEGINS * HOUR_MS)
        return cls(morning_ms if morning_ms <= latest_ms else morning_ms - DAY_MS, clock_ms)

    def simulated_ms(self, clock_ms: int) -> int:
        """The time in the shop at a time of the clock."""
        return min(self.start_ms + (clock_ms - self.clock_ms) * SPEED, clock_ms)


class Rate:
    """Events per second over the last few seconds, from a running count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, count: int) -> float:
        """Take the count as it is now; returns the rate."""
        now = monotonic_seconds()
        self._seen.append((now, count))
        while now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (count - before) / (now - since) if now > since else 0.0


async def send_when_due(sender: OrderedSender, arrivals: Iterable[Arrival], pace: Pace) -> None:
    """Send each record at its time, until cancelled.

    Raises:
        Unreachable: the broker does not acknowledge.
    """
    for number, arrival in enumerate(arrivals, 1):
        while arrival.time_ms > pace.simulated_ms(now_ms()):
            await sender.breathe()
            await asyncio.sleep(NEXT_LOOK_SECONDS)
        await sender.send(arrival.topic, arrival.key, arrival.value)
        if number % RECORDS_PER_BREATH == 0:
            await sender.breathe()
