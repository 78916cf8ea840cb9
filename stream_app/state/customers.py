"""What is remembered of each customer: uniques by campaign, first contacts, and signs of churn. Pure.

Stands between the shard and the tallies. A unique count belongs to its earliest event, in that event's
pane and segment; when an earlier one arrives later, the count moves there. Times are milliseconds of
event time.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from stream_app.ingest.events import (
    EmailBounced,
    EmailClicked,
    EmailComplained,
    EmailDelivered,
    EmailOpened,
    EmailOptedOut,
    Event,
)
from stream_app.ingest.machines import is_machine
from stream_app.metrics.cells import slot_of
from stream_app.state.audience import Audience
from stream_app.state.signs import Signs
from stream_app.state.tallies import Tallies

_CAMPAIGNS_KEPT = 64

_DELIVERIES = slot_of("deliveries")
_BOUNCES = slot_of("bounces")
_OPENS = slot_of("opens")
_CLICKS = slot_of("clicks")
_MACHINE_OPENS = slot_of("machine_opens")
_MACHINE_CLICKS = slot_of("machine_clicks")
_UNIQUE_OPENS = slot_of("unique_opens")
_UNIQUE_CLICKS = slot_of("unique_clicks")
_UNIQUE_ENGAGED = slot_of("unique_engaged")
_OPTOUTS = slot_of("optouts")
_COMPLAINTS = slot_of("complaints")
_REACHED = slot_of("reached")
_DISENGAGED = slot_of("disengaged")


class First(NamedTuple):
    """The earliest event of its kind: its time and its segment."""

    time_ms: int
    segment: str | None


class Customer(msgspec.Struct, array_like=True):
    """One customer. Campaigns map to the earliest event; ``""`` stands for events without a campaign."""

    last_seen_ms: int = 0
    opens: dict[str, First] = {}
    clicks: dict[str, First] = {}
    optouts: dict[str, First] = {}
    complaints: dict[str, First] = {}
    reached: dict[str, int] = {}
    disengaged: dict[str, int] = {}
    signs: Signs = msgspec.field(default_factory=Signs)


class LastSeen(msgspec.Struct, array_like=True):
    """The beginning of a ``Customer`` at rest, which tells whether the rest is still of interest."""

    last_seen_ms: int


def keys_of(event: Event) -> list[str]:
    """The dimension keys that an event bears itself."""
    keys = ["all:all"]
    campaign = getattr(event, "campaign_id", None)
    if campaign:
        keys.append(f"campaign:{campaign}")
    if event.segment:
        keys.append(f"segment:{event.segment}")
    channel = getattr(event, "channel", None)
    if channel:
        keys.append(f"channel:{channel}")
    return keys


class Mail:
    """Counts e-mail events, with what is remembered of their customers."""

    def __init__(self, tallies: Tallies, audience: Audience) -> None:
        self._tallies = tallies
        self._audience = audience

    def handle(self, customer: Customer, event: Event, time_ms: int, keys: list[str]) -> None:
        """Count one e-mail event of a customer, in the keys it bears."""
        if isinstance(event, EmailDelivered):
            self._each(keys, time_ms, _DELIVERIES)
            self._deliver(customer, event, time_ms)
        elif isinstance(event, EmailOpened):
            self._open(customer, event, time_ms, keys)
        elif isinstance(event, EmailClicked):
            self._click(customer, event, time_ms, keys)
        elif isinstance(event, EmailBounced):
            self._each(keys, time_ms, _BOUNCES)
        elif isinstance(event, EmailOptedOut):
            self._first(customer.optouts, event.campaign_id, First(time_ms, event.segment or None), _OPTOUTS)
            self._audience.opted_out(customer_id=event.customer_id, time_ms=time_ms)
            customer.signs.opted_out = True
            self._disengage(customer, event, time_ms)
        elif isinstance(event, EmailComplained):
            self._first(
                customer.complaints, event.campaign_id, First(time_ms, event.segment or None), _COMPLAINTS
            )
            self._disengage(customer, event, time_ms)

    def _deliver(self, customer: Customer, event: EmailDelivered, time_ms: int) -> None:
        self._audience.delivered(event.campaign_id, time_ms)
        self._once(customer.reached, "all:all", time_ms, _REACHED)
        if event.segment:
            self._once(customer.reached, f"segment:{event.segment}", time_ms, _REACHED)
        customer.signs.mail.add(time_ms)

    def _open(self, customer: Customer, event: EmailOpened, time_ms: int, keys: list[str]) -> None:
        if is_machine(event):
            self._each(keys, time_ms, _MACHINE_OPENS)
            return
        self._each(keys, time_ms, _OPENS)
        before = _engaged(customer, event.campaign_id)
        self._first(customer.opens, event.campaign_id, First(time_ms, event.segment or None), _UNIQUE_OPENS)
        self._engage(customer, event.campaign_id, before, time_ms)

    def _click(self, customer: Customer, event: EmailClicked, time_ms: int, keys: list[str]) -> None:
        if is_machine(event):
            self._each(keys, time_ms, _MACHINE_CLICKS)
            return
        self._each(keys, time_ms, _CLICKS)
        before = _engaged(customer, event.campaign_id)
        self._first(customer.clicks, event.campaign_id, First(time_ms, event.segment or None), _UNIQUE_CLICKS)
        self._engage(customer, event.campaign_id, before, time_ms)

    def _engage(self, customer: Customer, campaign: str, before: First | None, time_ms: int) -> None:
        after = _engaged(customer, campaign)
        if after != before:
            if before is not None:
                self._unique(campaign, before, _UNIQUE_ENGAGED, -1)
            if after is not None:
                self._unique(campaign, after, _UNIQUE_ENGAGED, 1)
        customer.signs.mail.make_good(time_ms)

    def _disengage(self, customer: Customer, event: EmailOptedOut | EmailComplained, time_ms: int) -> None:
        self._once(customer.disengaged, "all:all", time_ms, _DISENGAGED)
        if event.segment:
            self._once(customer.disengaged, f"segment:{event.segment}", time_ms, _DISENGAGED)

    def _first(self, firsts: dict[str, First], campaign: str | None, first: First, slot: int) -> None:
        """Count a customer once per campaign, at the earliest event."""
        held = firsts.get(campaign or "")
        if held is not None:
            if held.time_ms <= first.time_ms:
                return
            self._unique(campaign, held, slot, -1)
        firsts[campaign or ""] = first
        self._unique(campaign, first, slot, 1)

    def _unique(self, campaign: str | None, first: First, slot: int, number: int) -> None:
        count = self._tallies.count
        count("all:all", first.time_ms, slot, number)
        if campaign:
            count(f"campaign:{campaign}", first.time_ms, slot, number)
        if first.segment:
            count(f"segment:{first.segment}", first.time_ms, slot, number)

    def _once(self, firsts: dict[str, int], key: str, time_ms: int, slot: int) -> None:
        """Count a customer once in a dimension key, at the earliest event."""
        held = firsts.get(key)
        if held is not None:
            if held <= time_ms:
                return
            self._tallies.count(key, held, slot, -1)
        firsts[key] = time_ms
        self._tallies.count(key, time_ms, slot, 1)

    def _each(self, keys: list[str], time_ms: int, slot: int) -> None:
        for key in keys:
            self._tallies.count(key, time_ms, slot)


def forget_old_campaigns(customer: Customer, horizon_ms: int) -> None:
    """Keep a customer's memory bounded: of many campaigns, forget those engaged in before a time."""
    for firsts in (customer.opens, customer.clicks, customer.optouts, customer.complaints):
        if len(firsts) > _CAMPAIGNS_KEPT:
            for campaign in [name for name, first in firsts.items() if first.time_ms < horizon_ms]:
                del firsts[campaign]


def _engaged(customer: Customer, campaign: str) -> First | None:
    """The earliest open or click by the person; at the same time, the open."""
    opened, clicked = customer.opens.get(campaign), customer.clicks.get(campaign)
    if opened is None or (clicked is not None and clicked.time_ms < opened.time_ms):
        return clicked
    return opened
