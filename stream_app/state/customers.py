"""What is remembered of each customer: uniques by campaign, first contacts, and signs of churn. Pure.

Stands between the shard and the tallies. A unique count belongs to its earliest event, in that event's
pane and segment; when an earlier one arrives later, the count moves there. Times are milliseconds of
event time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from stream_app.ingest.events import (
    EmailBounced,
    EmailClicked,
    EmailComplained,
    EmailDelivered,
    EmailOpened,
    EmailOptedOut,
)
from stream_app.ingest.machines import is_machine
from stream_app.ingest.watermark import Watermark
from stream_app.metrics.cells import slot_of
from stream_app.state.audience import Audience
from stream_app.state.signs import Signs, Streak
from stream_app.state.tallies import NO_SLOT, Tallies

_CAMPAIGNS_KEPT = 16

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

_EVERYWHERE = ""
"""Stands for the dimension ``all`` among segments, none of which has this name."""


class First(NamedTuple):
    """The earliest event of its kind: its time and its segment."""

    time_ms: int
    segment: str | None


Firsts = dict[str, First]
"""By campaign; ``""`` stands for events without one."""


class Customer(msgspec.Struct, array_like=True, gc=False):
    """One customer. Most have no more than deliveries, so that what is rarer is None until it is there.

    ``reached`` and ``disengaged`` map segments, and ``""`` for all of them, to the first delivery and the first
    opt-out or complaint. ``mail``: deliveries since the last open or click by the person.
    """

    last_seen_ms: int = 0
    reached: dict[str, int] | None = None
    mail: Streak = msgspec.field(default_factory=Streak)
    opens: Firsts | None = None
    clicks: Firsts | None = None
    optouts: Firsts | None = None
    complaints: Firsts | None = None
    disengaged: dict[str, int] | None = None
    signs: Signs | None = None

    @property
    def opted_out(self) -> bool:
        """Whether the customer has ever opted out."""
        return self.signs is not None and self.signs.opted_out

    def felt(self) -> Signs:
        """The signs, to be changed."""
        if self.signs is None:
            self.signs = Signs()
        return self.signs


Handler = Callable[[Customer, Any, int], None]
"""Applies an event, of the type it is for, to its customer and to the counts; the time is in milliseconds."""


class LastSeen(msgspec.Struct, array_like=True):
    """The beginning of a ``Customer`` at rest, which tells whether the rest is still of interest."""

    last_seen_ms: int


class Mail:
    """Counts e-mail events, with what is remembered of their customers."""

    def __init__(self, tallies: Tallies, audience: Audience, watermark: Watermark, retention_ms: int) -> None:
        self._tallies = tallies
        self._audience = audience
        self._watermark = watermark
        self._retention_ms = retention_ms

    def deliver(self, customer: Customer, event: EmailDelivered, time_ms: int) -> None:
        """The receiver accepted a message."""
        segment, campaign = event.segment or None, event.campaign_id
        self._tallies.gather(_DELIVERIES, campaign, segment, None, time_ms)
        self._audience.delivered(campaign, time_ms)
        reached = customer.reached
        if reached is None:
            reached = customer.reached = {}
        self._once(reached, _EVERYWHERE, time_ms, _REACHED)
        if segment:
            self._once(reached, segment, time_ms, _REACHED)
        customer.mail.add(time_ms)

    def bounce(self, customer: Customer, event: EmailBounced, time_ms: int) -> None:
        """The receiver refused a message."""
        self._tallies.gather(_BOUNCES, event.campaign_id, event.segment, None, time_ms)

    def open(self, customer: Customer, event: EmailOpened, time_ms: int) -> None:
        """Somebody, or a machine, opened a message."""
        if is_machine(event):
            self._tallies.gather(_MACHINE_OPENS, event.campaign_id, event.segment, None, time_ms)
            return
        self._tallies.gather(_OPENS, event.campaign_id, event.segment, None, time_ms)
        before = _engaged(customer, event.campaign_id)
        if customer.opens is None:
            customer.opens = {}
        first = First(time_ms, event.segment or None)
        self._first(customer.opens, event.campaign_id, first, _UNIQUE_OPENS)
        self._engage(customer, event.campaign_id, before, time_ms)

    def click(self, customer: Customer, event: EmailClicked, time_ms: int) -> None:
        """Somebody, or a machine, followed a link."""
        if is_machine(event):
            self._tallies.gather(_MACHINE_CLICKS, event.campaign_id, event.segment, None, time_ms)
            return
        self._tallies.gather(_CLICKS, event.campaign_id, event.segment, None, time_ms)
        before = _engaged(customer, event.campaign_id)
        if customer.clicks is None:
            customer.clicks = {}
        first = First(time_ms, event.segment or None)
        self._first(customer.clicks, event.campaign_id, first, _UNIQUE_CLICKS)
        self._engage(customer, event.campaign_id, before, time_ms)

    def opt_out(self, customer: Customer, event: EmailOptedOut, time_ms: int) -> None:
        """The customer unsubscribed."""
        if customer.optouts is None:
            customer.optouts = {}
        self._leave(customer, customer.optouts, event, time_ms, _OPTOUTS)
        self._audience.opted_out(event.customer_id, time_ms)
        customer.felt().opted_out = True

    def complain(self, customer: Customer, event: EmailComplained, time_ms: int) -> None:
        """The customer called a message spam."""
        if customer.complaints is None:
            customer.complaints = {}
        self._leave(customer, customer.complaints, event, time_ms, _COMPLAINTS)

    def _leave(
        self,
        customer: Customer,
        firsts: Firsts,
        event: EmailOptedOut | EmailComplained,
        time_ms: int,
        slot: int,
    ) -> None:
        segment = event.segment or None
        self._tallies.gather(NO_SLOT, event.campaign_id, segment, None, time_ms)
        self._first(firsts, event.campaign_id, First(time_ms, segment), slot)
        disengaged = customer.disengaged
        if disengaged is None:
            disengaged = customer.disengaged = {}
        self._once(disengaged, _EVERYWHERE, time_ms, _DISENGAGED)
        if segment:
            self._once(disengaged, segment, time_ms, _DISENGAGED)

    def _engage(self, customer: Customer, campaign: str, before: First | None, time_ms: int) -> None:
        after = _engaged(customer, campaign)
        if after != before:
            if before is not None:
                self._unique(campaign, before, _UNIQUE_ENGAGED, -1)
            if after is not None:
                self._unique(campaign, after, _UNIQUE_ENGAGED, 1)
        customer.mail.make_good(time_ms)

    def _first(self, firsts: Firsts, campaign: str | None, first: First, slot: int) -> None:
        """Count a customer once per campaign, at the earliest event."""
        held = firsts.get(campaign or "")
        if held is not None:
            if held.time_ms <= first.time_ms:
                return
            self._unique(campaign, held, slot, -1)
        firsts[campaign or ""] = first
        self._unique(campaign, first, slot, 1)
        if len(firsts) > _CAMPAIGNS_KEPT:
            forget_before(firsts, self._watermark.current_ms - self._retention_ms)

    def _unique(self, campaign: str | None, first: First, slot: int, number: int) -> None:
        self._tallies.gather(slot, campaign, first.segment, None, first.time_ms, number)

    def _once(self, firsts: dict[str, int], segment: str, time_ms: int, slot: int) -> None:
        """Count a customer once in a segment, or in all, at the earliest event."""
        held = firsts.get(segment)
        if held is not None:
            if held <= time_ms:
                return
            self._tallies.count(_dimension_key(segment), held, slot, -1)
        firsts[segment] = time_ms
        self._tallies.count(_dimension_key(segment), time_ms, slot, 1)


def forget_before(firsts: Firsts, horizon_ms: int) -> None:
    """Keep a customer's memory bounded: forget the campaigns engaged in before a time."""
    for campaign in [name for name, first in firsts.items() if first.time_ms < horizon_ms]:
        del firsts[campaign]


def _dimension_key(segment: str) -> str:
    return f"segment:{segment}" if segment else "all:all"


def _engaged(customer: Customer, campaign: str) -> First | None:
    """The earliest open or click by the person; at the same time, the open."""
    opened = customer.opens.get(campaign) if customer.opens else None
    clicked = customer.clicks.get(campaign) if customer.clicks else None
    if opened is None or (clicked is not None and clicked.time_ms < opened.time_ms):
        return clicked
    return opened
