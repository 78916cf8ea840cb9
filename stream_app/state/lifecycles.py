"""The carts, chats and tickets of one shard: where they are kept, how events reach them, and what waits for time. Pure.

Stands between the shard and the three kinds of lifecycle. One timer at most waits for each entity: it may ring too
early, because events came in the meantime, and is then set anew.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from stream_app.ingest.events import (
    EVENT_CLASSES,
    CartEvent,
    CartPurchased,
    ChatEvent,
    ChatRated,
    Event,
    TicketEvent,
    TicketRated,
)
from stream_app.ingest.watermark import Watermark
from stream_app.settings import Settings
from stream_app.state.carts import Carts, CartState, cart_step
from stream_app.state.chats import Chats, ChatState, chat_step
from stream_app.state.customers import Customer, Handler
from stream_app.state.lifecycle import Automaton, Emit, Entity, Place, Step, apply, pass_time
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.signs import FELT_SLOTS
from stream_app.state.stages import Mark
from stream_app.state.tallies import NO_SLOT, Tallies
from stream_app.state.tickets import Tickets, TicketState, ticket_step

CART_KIND, CHAT_KIND, TICKET_KIND = "c:", "k:", "t:"
LIFECYCLE_KINDS = frozenset({CART_KIND, CHAT_KIND, TICKET_KIND})


class _Kind(NamedTuple):
    """A kind of lifecycle: its automaton and where its entities are kept."""

    automaton: Automaton[Any]
    drawer: Drawer[Entity[Any]]


class Lifecycles:
    """All lifecycles of one shard; they count in the tallies, and leave signs with their customers."""

    def __init__(self, shelf: Shelf, settings: Settings, tallies: Tallies, watermark: Watermark) -> None:
        self._tallies = tallies
        self._watermark = watermark
        self._retention_ms = settings.retention
        self._kinds = {
            CART_KIND: _Kind(Carts(settings.cart_timeout), Drawer(shelf, CART_KIND, Entity[CartState])),
            CHAT_KIND: _Kind(Chats(settings.chat_timeout), Drawer(shelf, CHAT_KIND, Entity[ChatState])),
            TICKET_KIND: _Kind(Tickets(), Drawer(shelf, TICKET_KIND, Entity[TicketState])),
        }
        self._timers: list[tuple[int, str, str]] = []
        self._timed: dict[str, int] = {}
        """When the timer of an entity rings, by its kind and name."""
        for kind, (automaton, drawer) in self._kinds.items():
            for name, entity in drawer.items():
                self._set_timer(kind, name, automaton.deadline_ms(entity.state()))

    def handlers(self) -> dict[type[Event], Handler]:
        """What applies each type of event."""
        return {
            event_class: handler
            for base, handler in (
                (CartEvent, self._cart),
                (ChatEvent, self._chat),
                (TicketEvent, self._ticket),
            )
            for event_class in EVENT_CLASSES
            if issubclass(event_class, base)
        }

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next timer rings: once the watermark is past it."""
        return self._timers[0][0] if self._timers else None

    def pass_time(self, load: Callable[[str], Customer], save: Callable[[str, Customer], None]) -> None:
        """Let come true what waited for a deadline that the watermark has passed, for customers to be loaded and
        saved by their ids."""
        timers, watermark_ms = self._timers, self._watermark.current_ms
        while timers and timers[0][0] < watermark_ms:
            rang_ms, kind, name = heappop(timers)
            if self._timed.get(kind + name) != rang_ms:
                continue  # an earlier one was set since
            del self._timed[kind + name]
            automaton, drawer = self._kinds[kind]
            entity = drawer.get(name)
            deadline = None if entity is None else automaton.deadline_ms(entity.state())
            if entity is None or deadline is None or deadline >= watermark_ms:
                self._set_timer(kind, name, deadline)
                continue
            customer_id = _customer_of(name)
            customer = load(customer_id)
            pass_time(automaton, entity, watermark_ms, self._emit_for(customer))
            drawer.put(name, entity)
            save(customer_id, customer)

    def _cart(self, customer: Customer, event: CartEvent, time_ms: int) -> None:
        self._tallies.gather(NO_SLOT, None, event.segment, None, time_ms)
        self._step(CART_KIND, customer, event.customer_id, event.cart_id, cart_step(event, time_ms))
        if isinstance(event, CartPurchased):
            customer.stages.mark(time_ms, Mark.ENGAGED)

    def _chat(self, customer: Customer, event: ChatEvent, time_ms: int) -> None:
        self._tallies.gather(NO_SLOT, None, event.segment, event.channel, time_ms)
        self._step(CHAT_KIND, customer, event.customer_id, event.chat_id, chat_step(event, time_ms))
        if isinstance(event, ChatRated):
            customer.felt().feel_rating(event.rating, time_ms)

    def _ticket(self, customer: Customer, event: TicketEvent, time_ms: int) -> None:
        self._tallies.gather(NO_SLOT, None, event.segment, event.channel, time_ms)
        self._step(TICKET_KIND, customer, event.customer_id, event.ticket_id, ticket_step(event, time_ms))
        if isinstance(event, TicketRated):
            customer.felt().feel_rating(event.rating, time_ms)

    def _step(self, kind: str, customer: Customer, customer_id: str, identifier: str, step: Step) -> None:
        automaton, drawer = self._kinds[kind]
        name = f"{len(customer_id)}:{customer_id}{identifier}"
        watermark_ms = self._watermark.current_ms
        entity = drawer.get(name)
        if entity is None or entity.touched_ms < watermark_ms - self._retention_ms:
            entity = Entity(automaton.fresh())
        before = _burden(entity)
        apply(automaton, entity, step, watermark_ms, self._emit_for(customer))
        after = _burden(entity)
        if after != before:
            customer.felt().feel_ticket(before, after)
        drawer.put(name, entity)
        self._set_timer(kind, name, automaton.deadline_ms(entity.state()))

    def _set_timer(self, kind: str, name: str, deadline_ms: int | None) -> None:
        """See that a timer rings at a deadline, or earlier."""
        held = self._timed.get(kind + name)
        if deadline_ms is not None and (held is None or deadline_ms < held):
            self._timed[kind + name] = deadline_ms
            heappush(self._timers, (deadline_ms, kind, name))

    def _emit_for(self, customer: Customer) -> Emit:
        """Counts for a customer."""

        def emit(place: Place, slot: int, number: int) -> None:
            self._tallies.gather(slot, None, place.segment, place.channel, place.time_ms, number)
            if slot in FELT_SLOTS:
                customer.felt().feel(slot, number, place.time_ms)

        return emit


def _burden(entity: Entity[Any]) -> tuple[int, int]:
    state = entity.state()
    return state.burden() if isinstance(state, TicketState) else (0, 0)


def _customer_of(name: str) -> str:
    """The customer in the name of a cart, chat or ticket, which bears the length of the id in front."""
    length, _, rest = name.partition(":")
    return rest[: int(length)]
