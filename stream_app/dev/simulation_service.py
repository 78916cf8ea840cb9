"""Carts, chats and tickets of the simulated shop, from their first event to their last.

A part of the simulator; pure. About seven carts of ten are left behind, as everywhere; while the checkout is
broken, all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stream_app.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.dev.simulation_story import CHECKOUT_BROKEN, FEW_AGENTS
from stream_app.dev.simulation_world import Happening, Person, World, at_hour, hour_of_day

EMPTIED, REACHES_CHECKOUT, BUYS_AT_CHECKOUT = 0.04, 0.46, 0.70
COMES_BACK, COMES_BACK_AFTER_MS = 0.08, 4 * HOUR_MS
COMES_BACK_WHEN_MENDED, MENDED_AFTER_MS = 0.45, 25 * MINUTE_MS
UPDATE_GAP_MS, CHECKOUT_GAP_MS = 2 * MINUTE_MS, 3 * MINUTE_MS
LONGEST_GAP_MS: Final = 20 * MINUTE_MS
"""Shorter than the demo's cart timeout: who still shops has left nothing."""

CHANNELS, CHANNEL_WEIGHTS = ("web", "phone", "social"), (55, 25, 20)
WAITS_MS, WAITS_SPREAD = 28 * SECOND_MS, 0.8
UNANSWERED, UNANSWERED_AT_LUNCH = 0.05, 0.25
CHAT_RATED, TICKET_RATED = 0.35, 0.30
GOOD, FAIR, POOR = (5, 5, 5, 4, 4, 3), (5, 4, 4, 3, 3, 2), (3, 2, 2, 1, 1)
FIRST_REPLY_MS, RESOLVED_AFTER_MS = 25 * MINUTE_MS, 50 * MINUTE_MS
REOPENED, REOPENED_AFTER_MS = 0.05, 2 * HOUR_MS


def cart(world: World, person: Person, time_ms: int) -> Iterator[Happening]:
    """A cart is filled, and bought, left or emptied; some that were left are bought later."""
    own = {"cart_id": f"cart-{world.number()}", "currency": "GBP" if world.chance(0.1) else "EUR"}
    value = 0.0
    for items in range(1, world.between(1, 4) + 1):
        value = round(value + world.dice.lognormvariate(3.2, 0.7), 2)
        yield Happening(time_ms, "cart.updated", person, {**own, "value": value, "items": items})
        time_ms += _gap(world, UPDATE_GAP_MS)
    if world.chance(EMPTIED):
        yield Happening(time_ms, "cart.updated", person, {**own, "value": 0, "items": 0})
        return
    if world.chance(REACHES_CHECKOUT):
        yield Happening(time_ms, "cart.checkout_started", person, {**own, "value": value})
        time_ms += _gap(world, CHECKOUT_GAP_MS)
        if CHECKOUT_BROKEN.covers(hour_of_day(time_ms)):
            yield from _broken_checkout(world, person, time_ms, {**own, "value": value})
            return
        if world.chance(BUYS_AT_CHECKOUT):
            yield Happening(time_ms, "cart.purchased", person, {**own, "value": value})
            return
    if world.chance(COMES_BACK):
        later_ms = time_ms + HOUR_MS + world.around(COMES_BACK_AFTER_MS, 0.7)
        if not CHECKOUT_BROKEN.covers(hour_of_day(later_ms)):
            yield Happening(later_ms, "cart.purchased", person, {**own, "value": value})


def _broken_checkout(
    world: World, person: Person, time_ms: int, cart_: dict[str, Any]
) -> Iterator[Happening]:
    """Somebody tries again, gives up, and perhaps comes back when the checkout works."""
    yield Happening(time_ms, "cart.checkout_started", person, cart_)
    if world.chance(COMES_BACK_WHEN_MENDED):
        mended_ms = at_hour(time_ms - int(hour_of_day(time_ms) * HOUR_MS), CHECKOUT_BROKEN.end)
        later_ms = mended_ms + world.around(MENDED_AFTER_MS, 0.8)
        yield Happening(later_ms, "cart.purchased", person, cart_)


def _gap(world: World, median_ms: int) -> int:
    return min(world.around(median_ms, 0.7), LONGEST_GAP_MS)


def chat(world: World, person: Person, time_ms: int) -> Iterator[Happening]:
    """A conversation: the customer writes and waits; an agent answers, or nobody does."""
    (channel,) = world.dice.choices(CHANNELS, CHANNEL_WEIGHTS)
    own = {"chat_id": f"chat-{world.number()}", "channel": channel}
    yield Happening(time_ms, "chat.started", person, own)
    yield Happening(time_ms + 5 * SECOND_MS, "chat.message", person, {**own, "author": "customer"})
    at_lunch = FEW_AGENTS.covers(hour_of_day(time_ms))
    if world.chance(UNANSWERED_AT_LUNCH if at_lunch else UNANSWERED):
        time_ms += world.around(4 * MINUTE_MS, 0.4)
        yield Happening(time_ms, "chat.ended", person, own)
        return
    wait_ms = world.around(WAITS_MS, WAITS_SPREAD)
    time_ms += wait_ms
    yield Happening(time_ms, "chat.answered", person, own)
    for _ in range(world.between(1, 4)):
        time_ms += world.around(50 * SECOND_MS, 0.5)
        author = "agent" if world.chance(0.5) else "customer"
        yield Happening(time_ms, "chat.message", person, {**own, "author": author})
    time_ms += world.around(MINUTE_MS, 0.5)
    yield Happening(time_ms, "chat.ended", person, own)
    if world.chance(CHAT_RATED):
        rating = world.dice.choice(GOOD if wait_ms < MINUTE_MS else FAIR)
        yield Happening(time_ms + 20 * SECOND_MS, "chat.rated", person, {**own, "rating": rating})


def ticket(world: World, person: Person, time_ms: int) -> Iterator[Happening]:
    """A case: opened, answered once or more, resolved, now and then reopened, and rated."""
    (channel,) = world.dice.choices(CHANNELS, CHANNEL_WEIGHTS)
    own = {"ticket_id": f"ticket-{world.number()}", "channel": channel}
    yield Happening(time_ms, "ticket.opened", person, own)
    time_ms += world.around(FIRST_REPLY_MS, 0.8)
    yield Happening(time_ms, "ticket.replied", person, {**own, "author": "agent"})
    if world.chance(0.4):
        time_ms += world.around(20 * MINUTE_MS, 0.8)
        yield Happening(time_ms, "ticket.replied", person, {**own, "author": "customer"})
        time_ms += world.around(FIRST_REPLY_MS, 0.8)
        yield Happening(time_ms, "ticket.replied", person, {**own, "author": "agent"})
    time_ms += world.around(RESOLVED_AFTER_MS, 0.7)
    yield Happening(time_ms, "ticket.resolved", person, own)
    reopened = world.chance(REOPENED)
    if reopened:
        time_ms += world.around(REOPENED_AFTER_MS, 0.8)
        yield Happening(time_ms, "ticket.reopened", person, own)
        time_ms += world.around(RESOLVED_AFTER_MS, 0.8)
        yield Happening(time_ms, "ticket.replied", person, {**own, "author": "agent"})
        yield Happening(time_ms + MINUTE_MS, "ticket.resolved", person, own)
        time_ms += MINUTE_MS
    if world.chance(TICKET_RATED):
        time_ms += world.around(10 * MINUTE_MS, 0.8)
        yield Happening(
            time_ms, "ticket.rated", person, {**own, "rating": world.dice.choice(POOR if reopened else GOOD)}
        )
