"""How a customer usually answers mail: messages received and answered, month by month. Pure.

Stands beside the customers; ``churn/facts.py`` reads it. Counts are whole numbers per period of 30 days of event time,
so that they are the same in whatever order events arrive, and can be taken back. They decay when they are read: no
timer goes with a customer.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from stream_app.clock import DAY_MS

PERIOD_MS = 30 * DAY_MS
PERIODS = 12
"""So many are remembered, back from the newest one with anything in it."""
HALF_LIFE_MS = 120 * DAY_MS
"""In which what happened comes to count half."""


class Habits(msgspec.Struct, array_like=True, gc=False):
    """Messages received, and messages that the person opened or clicked, by period; ``newest`` is the last one's
    number since 1970. Both lists are as long as they have to be."""

    newest: int = 0
    received: list[int] = []
    answered: list[int] = []

    def receive(self, time_ms: int) -> None:
        """A message was delivered."""
        self._add(self._place(time_ms), 1, 0)

    def answer(self, time_ms: int, number: int) -> None:
        """The person opened or clicked so many messages for the first time; a negative number takes them back."""
        self._add(self._place(time_ms), 0, number)

    def totals(self) -> tuple[int, int]:
        """Messages received and answered in all periods remembered."""
        return sum(self.received), sum(self.answered)

    def recent(self, now_ms: int) -> tuple[float, float]:
        """Messages received and answered, each counting half as much for every half-life that its period is old, to the
        day."""
        received = answered = 0.0
        oldest, today = self.newest - len(self.received) + 1, now_ms // DAY_MS
        for place, (delivered, opened) in enumerate(zip(self.received, self.answered, strict=True)):
            if delivered or opened:
                weight = _weight(oldest + place, today)
                received += weight * delivered
                answered += weight * opened
        return received, answered

    def _place(self, time_ms: int) -> int:
        """Where a time's period stands in the lists, which reach it then; below 0 for one that is forgotten."""
        period = time_ms // PERIOD_MS
        if not self.received:
            self.newest, self.received, self.answered = period, [0], [0]
        elif period > self.newest:
            room = [0] * min(period - self.newest, PERIODS)
            self.received = (self.received + room)[-PERIODS:]
            self.answered = (self.answered + room)[-PERIODS:]
            self.newest = period
        place = len(self.received) - 1 - (self.newest - period)
        if place < 0 and self.newest - period < PERIODS:
            self.received = [0] * -place + self.received
            self.answered = [0] * -place + self.answered
            place = 0
        return place

    def _add(self, place: int, received: int, answered: int) -> None:
        if place >= 0:
            self.received[place] += received
            self.answered[place] += answered
        while len(self.received) > 1 and not (self.received[0] or self.answered[0]):
            del self.received[0], self.answered[0]


@lru_cache(maxsize=1_000)
def _weight(period: int, today: int) -> float:
    """What a message of a period counts on a day, by their numbers since 1970."""
    middle_ms = period * PERIOD_MS + PERIOD_MS // 2
    return float(0.5 ** (max(0, today * DAY_MS - middle_ms) / HALF_LIFE_MS))
