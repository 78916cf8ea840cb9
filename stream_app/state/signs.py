"""Signs that a customer may be about to leave, as ``alerts/churn`` scores them. Pure.

Stands beside the customers. A sign is a streak: what went wrong since it was last made good, such as deliveries
since the last open, or abandoned carts since the last purchase. Streaks hold times, so that they do not depend on
the order in which events of different times arrive. Times come in milliseconds of event time, and are kept in seconds,
rounded down, which takes five bytes instead of nine: a sign is of days, and no second reaches over the end of one.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from stream_app.clock import SECOND_MS
from stream_app.metrics.cells import slot_of

STREAK_KEPT = 12
"""How many times a streak remembers; more of the same says no more."""
_TROUBLE_KEPT = 4
"""The same of what is rarer than mail."""

_CARTS_ABANDONED = slot_of("carts_abandoned")
_CARTS_PURCHASED = slot_of("carts_purchased")
_CHATS_MISSED = slot_of("chats_missed")
_CHATS_ANSWERED = slot_of("chats_answered")
FELT_SLOTS = frozenset({_CARTS_ABANDONED, _CARTS_PURCHASED, _CHATS_MISSED, _CHATS_ANSWERED})
"""The counts of lifecycles that are signs."""
_LOW_RATING, _GOOD_RATING = 2, 4


class Streak(msgspec.Struct, array_like=True, gc=False):
    """The times of something since it was last made good, oldest first. ``made_good_s`` is -1 where it never was."""

    made_good_s: int = -1
    times_s: list[int] = []

    @property
    def made_good_ms(self) -> int:
        """When it was last made good, in milliseconds; -1 for never."""
        return in_ms(self.made_good_s)

    def add(self, time_ms: int, most: int = STREAK_KEPT) -> None:
        """It happened."""
        times, time_s = self.times_s, time_ms // SECOND_MS
        if time_s <= self.made_good_s:
            return
        if not times or time_s >= times[-1]:
            times.append(time_s)
        else:
            insort(times, time_s)
        if len(times) > most:
            del times[0]

    def take_back(self, time_ms: int) -> None:
        """It had not happened after all."""
        time_s = time_ms // SECOND_MS
        if time_s in self.times_s:
            self.times_s.remove(time_s)

    def make_good(self, time_ms: int) -> None:
        """Its opposite happened."""
        time_s = time_ms // SECOND_MS
        if time_s > self.made_good_s:
            self.made_good_s = time_s
            self.times_s = [held for held in self.times_s if held > time_s]

    def number_since(self, time_ms: int) -> int:
        """How often it happened after a time."""
        time_s = time_ms // SECOND_MS
        return sum(held > time_s for held in self.times_s)


class Signs(msgspec.Struct, array_like=True, gc=False):
    """What else than silence bears on whether a customer leaves.

    ``carts``: abandoned since the last purchase; ``chats``: missed since the last answered one; ``ratings``: of 1
    or 2 since the last of 4 or 5. ``tickets_reopened`` counts the reopenings of tickets that are open still. Of
    purchases it is how many, and the times of the first and the last, -1 without any.
    """

    carts: Streak = msgspec.field(default_factory=Streak)
    chats: Streak = msgspec.field(default_factory=Streak)
    ratings: Streak = msgspec.field(default_factory=Streak)
    tickets_open: int = 0
    tickets_reopened: int = 0
    opted_out: bool = False
    purchases: int = 0
    first_purchase_s: int = -1
    last_purchase_s: int = -1

    @property
    def first_purchase_ms(self) -> int:
        """When the customer first bought, in milliseconds; -1 for never."""
        return in_ms(self.first_purchase_s)

    @property
    def last_purchase_ms(self) -> int:
        """When the customer last bought, in milliseconds; -1 for never."""
        return in_ms(self.last_purchase_s)

    def feel(self, slot: int, number: int, time_ms: int) -> None:
        """A lifecycle of the customer counted a number at a time, or took it back."""
        if slot == _CARTS_ABANDONED:
            _happen(self.carts, number, time_ms)
        elif slot == _CHATS_MISSED:
            _happen(self.chats, number, time_ms)
        elif slot == _CARTS_PURCHASED:
            self._buy(number, time_ms)
        elif slot == _CHATS_ANSWERED and number > 0:
            self.chats.make_good(time_ms)

    def _buy(self, number: int, time_ms: int) -> None:
        self.purchases += number
        if number > 0:
            self.carts.make_good(time_ms)
            time_s = time_ms // SECOND_MS
            self.last_purchase_s = max(self.last_purchase_s, time_s)
            if self.first_purchase_s < 0 or time_s < self.first_purchase_s:
                self.first_purchase_s = time_s

    def feel_rating(self, rating: int, time_ms: int) -> None:
        """The customer rated a chat or a ticket, 1 to 5."""
        if rating <= _LOW_RATING:
            self.ratings.add(time_ms, _TROUBLE_KEPT)
        elif rating >= _GOOD_RATING:
            self.ratings.make_good(time_ms)

    def feel_ticket(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        """A ticket went from one burden to another; see ``TicketState.burden``."""
        self.tickets_open += after[0] - before[0]
        self.tickets_reopened += after[1] - before[1]


def in_ms(time_s: int) -> int:
    """A time in milliseconds; -1 stays what it is."""
    return time_s * SECOND_MS if time_s >= 0 else -1


def _happen(streak: Streak, number: int, time_ms: int) -> None:
    if number > 0:
        streak.add(time_ms, _TROUBLE_KEPT)
    else:
        streak.take_back(time_ms)
