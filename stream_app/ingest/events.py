"""The event types of the seven input topics, as strict msgspec structs.

Stands right behind the wire: ``decode.py`` turns a record's bytes into one of these; the JSON
Schemas in ``schemas/`` are generated from them. Unknown fields are ignored. Each type names its
``event_type`` as its tag, and ``EVENT_TYPES`` says which topic carries which types.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta, Struct

from stream_app.clock import from_datetime
from stream_app.ingest import topics

MAX_ID_LENGTH = 200

Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
DimensionValue = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
EventTime = Annotated[int, Meta(ge=0)] | Annotated[datetime, Meta(tz=True)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", min_length=3, max_length=3)]
Author = Literal["customer", "agent"]
Rating = Annotated[int, Meta(ge=1, le=5)]


class Event(Struct, frozen=True, kw_only=True, tag_field="event_type"):
    """What every event bears. ``event_time`` is when it happened, at the customer."""

    event_id: Identifier
    event_time: EventTime
    customer_id: Identifier
    segment: DimensionValue | None = None

    topic: ClassVar[str]

    def time_ms(self) -> int:
        """The event time in milliseconds since 1970, rounded down."""
        moment = self.event_time
        return moment if isinstance(moment, int) else from_datetime(moment)


class EmailDelivered(Event, frozen=True, kw_only=True, tag="email.delivered"):
    """The receiver accepted a message: the denominator of the e-mail rates."""

    topic = topics.EMAIL_DELIVERIES
    campaign_id: Identifier


class EmailBounced(Event, frozen=True, kw_only=True, tag="email.bounced"):
    """The receiver refused a message."""

    topic = topics.EMAIL_DELIVERIES
    campaign_id: Identifier


class EmailOpened(Event, frozen=True, kw_only=True, tag="email.opened"):
    """Somebody, or a machine, opened a message."""

    topic = topics.EMAIL_OPENS
    campaign_id: Identifier
    user_agent: str | None = None
    machine: bool | None = None


class EmailClicked(Event, frozen=True, kw_only=True, tag="email.clicked"):
    """Somebody, or a machine, followed a link of a message."""

    topic = topics.EMAIL_CLICKS
    campaign_id: Identifier
    link_url: str | None = None
    user_agent: str | None = None
    machine: bool | None = None


class EmailOptedOut(Event, frozen=True, kw_only=True, tag="email.opted_out"):
    """The customer unsubscribed."""

    topic = topics.EMAIL_OPTOUTS
    campaign_id: Identifier | None = None


class EmailComplained(Event, frozen=True, kw_only=True, tag="email.complained"):
    """The customer called a message spam."""

    topic = topics.EMAIL_OPTOUTS
    campaign_id: Identifier | None = None


class ChatEvent(Event, frozen=True, kw_only=True):
    """What every chat event bears."""

    topic = topics.CHATS
    chat_id: Identifier
    channel: DimensionValue | None = None


class ChatStarted(ChatEvent, frozen=True, kw_only=True, tag="chat.started"):
    """The customer opened a conversation."""


class ChatAnswered(ChatEvent, frozen=True, kw_only=True, tag="chat.answered"):
    """An agent took the conversation."""


class ChatMessage(ChatEvent, frozen=True, kw_only=True, tag="chat.message"):
    """Somebody wrote; an agent's first message answers the chat."""

    author: Author


class ChatEnded(ChatEvent, frozen=True, kw_only=True, tag="chat.ended"):
    """The conversation is over."""


class ChatRated(ChatEvent, frozen=True, kw_only=True, tag="chat.rated"):
    """The customer rated the conversation, 1 to 5."""

    rating: Rating


class CartEvent(Event, frozen=True, kw_only=True):
    """What every cart event bears."""

    topic = topics.CARTS
    cart_id: Identifier


class CartUpdated(CartEvent, frozen=True, kw_only=True, tag="cart.updated"):
    """The cart's content changed; ``value`` is what it is worth now, 0 items close it."""

    value: Amount
    currency: Currency | None = None
    items: Annotated[int, Meta(ge=0)] | None = None


class CartCheckoutStarted(CartEvent, frozen=True, kw_only=True, tag="cart.checkout_started"):
    """The customer went to pay."""

    value: Amount | None = None
    currency: Currency | None = None


class CartPurchased(CartEvent, frozen=True, kw_only=True, tag="cart.purchased"):
    """The customer bought; ``value`` is what was paid."""

    value: Amount
    currency: Currency | None = None


class TicketEvent(Event, frozen=True, kw_only=True):
    """What every ticket event bears."""

    topic = topics.TICKETS
    ticket_id: Identifier
    channel: DimensionValue | None = None


class TicketOpened(TicketEvent, frozen=True, kw_only=True, tag="ticket.opened"):
    """A case began."""


class TicketReplied(TicketEvent, frozen=True, kw_only=True, tag="ticket.replied"):
    """Customer or agent wrote."""

    author: Author


class TicketResolved(TicketEvent, frozen=True, kw_only=True, tag="ticket.resolved"):
    """The case was called solved."""


class TicketReopened(TicketEvent, frozen=True, kw_only=True, tag="ticket.reopened"):
    """It was not solved after all."""


class TicketRated(TicketEvent, frozen=True, kw_only=True, tag="ticket.rated"):
    """The customer rated the case, 1 to 5."""

    rating: Rating


AnyEvent = (
    EmailDelivered
    | EmailBounced
    | EmailOpened
    | EmailClicked
    | EmailOptedOut
    | EmailComplained
    | ChatStarted
    | ChatAnswered
    | ChatMessage
    | ChatEnded
    | ChatRated
    | CartUpdated
    | CartCheckoutStarted
    | CartPurchased
    | TicketOpened
    | TicketReplied
    | TicketResolved
    | TicketReopened
    | TicketRated
)

EVENT_CLASSES: tuple[type[Event], ...] = get_args(AnyEvent)


def event_type_of(event_class: type[Event]) -> str:
    """The ``event_type`` that a class stands for."""
    config: Any = event_class.__struct_config__
    return str(config.tag)


EVENT_TYPES: dict[str, type[Event]] = {event_type_of(cls): cls for cls in EVENT_CLASSES}
"""Every ``event_type`` and its class; ``EVENT_TYPES[t].topic`` is the topic that carries it."""
