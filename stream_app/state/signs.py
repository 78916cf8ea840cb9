"""How counts and ratings change a customer's signs of churn. Pure; stands beside the customers.

A sign is taken back by its opposite: a purchase ends the abandoned carts, an answered chat the missed ones,
the last resolution the reopened tickets, a good rating the bad ones.
"""

from __future__ import annotations

from stream_app.metrics.cells import slot_of
from stream_app.state.customers import Signs

_CARTS_ABANDONED = slot_of("carts_abandoned")
_CARTS_PURCHASED = slot_of("carts_purchased")
_CHATS_ANSWERED = slot_of("chats_answered")
_CHATS_MISSED = slot_of("chats_missed")
_TICKETS_OPENED = slot_of("tickets_opened")
_TICKETS_REOPENED = slot_of("tickets_reopened")
_TICKETS_RESOLVED = slot_of("tickets_resolved")
_LOW_RATING, _GOOD_RATING = 2, 4


def feel(signs: Signs, slot: int, number: int) -> None:
    """A lifecycle of the customer counted (or took back) a number."""
    if slot == _CARTS_ABANDONED:
        signs.carts_abandoned = max(0, signs.carts_abandoned + number)
    elif slot == _CARTS_PURCHASED:
        if number > 0:
            signs.carts_abandoned = 0
    elif slot == _CHATS_MISSED:
        signs.chats_missed = max(0, signs.chats_missed + number)
    elif slot == _CHATS_ANSWERED:
        if number > 0:
            signs.chats_missed = 0
    elif slot == _TICKETS_OPENED:
        signs.tickets_open = max(0, signs.tickets_open + number)
    elif slot == _TICKETS_REOPENED:
        signs.tickets_open = max(0, signs.tickets_open + number)
        signs.tickets_reopened = max(0, signs.tickets_reopened + number)
    elif slot == _TICKETS_RESOLVED:
        signs.tickets_open = max(0, signs.tickets_open - number)
        if signs.tickets_open == 0:
            signs.tickets_reopened = 0


def feel_rating(signs: Signs, rating: int) -> None:
    """The customer rated a chat or a ticket, 1 to 5."""
    if rating <= _LOW_RATING:
        signs.ratings_low += 1
    elif rating >= _GOOD_RATING:
        signs.ratings_low = 0
