"""How many bytes churn takes in the state of each customer, at rest. Part of ``python -m benchmarks.churn``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import msgspec

from stream_app.churn.learning import FARTHEST_STEP
from stream_app.clock import DAY_MS, HOUR_MS, SECOND_MS
from stream_app.metrics.cells import slot_of
from stream_app.state.customers import Customer
from stream_app.state.habits import PERIOD_MS, PERIODS
from stream_app.state.prediction import Prediction
from stream_app.state.signs import STREAK_KEPT

MOST_BYTES = 250
"""What a customer may take, with every list full."""
MESSAGES_A_DAY = 4
SEGMENT = "returning-loyal"
_NOW_MS = 1_795_341_600_000

_encode = msgspec.msgpack.Encoder().encode


def churn_bytes(customer: Customer) -> int:
    """What stands in a customer's state for churn alone: mail without an answer, signs, habits, segment, and
    prediction."""
    parts = (customer.mail, customer.signs, customer.habits, customer.segment, customer.segment_age_ms)
    return sum(len(_encode(part)) for part in (*parts, customer.prediction))


def fullest_customer() -> Customer:
    """Somebody of whom everything is known that a customer can have: a year of mail, four a day, all answered until twelve
    days ago, a purchase, and more trouble of each kind than is kept."""
    customer = Customer()
    begin_ms = _NOW_MS - PERIODS * PERIOD_MS
    customer.see(begin_ms, SEGMENT)
    habits, signs = customer.used_to(), customer.felt()
    for hour in range(0, PERIODS * PERIOD_MS // HOUR_MS, 24 // MESSAGES_A_DAY):
        time_ms = begin_ms + hour * HOUR_MS
        customer.see(time_ms, None)
        customer.mail.add(time_ms)
        habits.receive(time_ms)
        habits.answer(time_ms, 1)
    customer.mail.make_good(_NOW_MS - STREAK_KEPT * DAY_MS)
    for days in reversed(range(STREAK_KEPT)):
        time_ms = _NOW_MS - days * DAY_MS
        customer.mail.add(time_ms)
        for sign in ("carts_abandoned", "chats_missed"):
            signs.feel(slot_of(sign), 1, time_ms)
        signs.feel_rating(1, time_ms)
        signs.feel_ticket((0, 0), (1, 1))
        if days == STREAK_KEPT - 1:
            signs.feel(slot_of("carts_purchased"), 1_000, time_ms)
            signs.feel(slot_of("chats_answered"), 1, time_ms)
            signs.feel_rating(5, time_ms)
    signs.opted_out = True
    customer.prediction = Prediction(_NOW_MS // SECOND_MS, FARTHEST_STEP, is_buyer=True, engaged=True)
    return customer


def size_line(customers: Iterable[Customer]) -> str:
    """The sizes of customers in words, and that of the fullest there can be."""
    sizes = sorted(map(churn_bytes, customers))
    return (
        f"bytes of churn per customer, of {len(sizes):,}: mean {statistics.mean(sizes):.0f}, median "
        f"{statistics.median(sizes):.0f}, 99 of 100 at most {sizes[len(sizes) * 99 // 100]}, largest {sizes[-1]}; "
        f"with every list full {churn_bytes(fullest_customer())}"
    )
