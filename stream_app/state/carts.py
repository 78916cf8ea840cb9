"""Cart episodes: started, purchased, abandoned, recovered. Pure; see METRICS for the definitions.

One of the three lifecycles. An episode starts with the first update or checkout and ends purchased,
abandoned (silent for longer than the cart timeout) or emptied.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from stream_app.ingest.events import CartCheckoutStarted, CartEvent, CartPurchased, CartUpdated
from stream_app.metrics.cells import slot_of, to_amount
from stream_app.state.lifecycle import Emit, Place, Step, advance_past_deadline

_STARTED = slot_of("carts_started")
_PURCHASED = slot_of("carts_purchased")
_ABANDONED = slot_of("carts_abandoned")
_RECOVERED = slot_of("carts_recovered")


class CartAction(IntEnum):
    """What a cart event does."""

    CHANGED = 0
    EMPTIED = 1
    PURCHASED = 2


class CartState(msgspec.Struct, array_like=True):
    """The episode that is open, if one is, and whether the last one ended abandoned.

    ``amount`` is the last value an event of the episode bore, in ten-thousandths.
    """

    is_open: bool = False
    last_ms: int = 0
    segment: str | None = None
    amount: int = 0
    currency: str | None = None
    last_was_abandoned: bool = False


def cart_step(event: CartEvent, time_ms: int) -> Step:
    """What the automaton needs of a cart event."""
    if isinstance(event, CartPurchased):
        action = CartAction.PURCHASED
    elif isinstance(event, CartUpdated) and event.items == 0:
        action = CartAction.EMPTIED
    else:
        action = CartAction.CHANGED
    amount, currency = None, None
    if isinstance(event, CartUpdated | CartCheckoutStarted | CartPurchased) and event.value is not None:
        amount, currency = to_amount(event.value), event.currency
    return Step(time_ms, action, event.segment or None, None, amount, currency)


class Carts:
    """The automaton of a cart."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms

    def fresh(self) -> CartState:
        """A cart without events."""
        return CartState()

    def advance(self, state: CartState, step: Step, emit: Emit) -> None:
        """Take the next event of the cart."""
        advance_past_deadline(self, state, step.time_ms, emit)
        if step.action == CartAction.PURCHASED:
            self._purchase(state, step, emit)
        elif step.action == CartAction.EMPTIED:
            if state.is_open:
                state.is_open, state.last_was_abandoned = False, False
        else:
            self._change(state, step, emit)

    def deadline_ms(self, state: CartState) -> int | None:
        """An open episode waits for the next event until the cart timeout, inclusive."""
        return state.last_ms + self._timeout_ms if state.is_open else None

    def come_true(self, state: CartState, emit: Emit) -> None:
        """The open episode is abandoned, at the end of the timeout."""
        place = Place(state.last_ms + self._timeout_ms, state.segment, None)
        emit(place, _ABANDONED, 1)
        if state.amount:
            emit(place, slot_of("abandoned_value", state.currency), state.amount)
        state.is_open, state.last_was_abandoned = False, True

    def _change(self, state: CartState, step: Step, emit: Emit) -> None:
        if not state.is_open:
            emit(Place(step.time_ms, step.segment, None), _STARTED, 1)
            state.is_open, state.segment, state.amount, state.currency = True, None, 0, None
        state.last_ms = step.time_ms
        state.segment = step.segment or state.segment
        if step.number is not None:
            state.amount, state.currency = step.number, step.currency

    def _purchase(self, state: CartState, step: Step, emit: Emit) -> None:
        place = Place(step.time_ms, step.segment, None)
        emit(place, _PURCHASED, 1)
        if step.number:
            emit(place, slot_of("purchased_value", step.currency), step.number)
        if not state.is_open and state.last_was_abandoned:
            emit(place, _RECOVERED, 1)
        state.is_open, state.last_was_abandoned = False, False
