"""E-mail events: what each does to its customer, and to the counts. Pure.

Stands between the shard and the tallies. A unique count belongs to its earliest event, in that event's pane and
segment. Opens count at once as what the event itself says; of clicks and opt-outs the times tell more, also later
(``suspicion.py``, ``clicks.py``). Times are milliseconds of event time.
"""

from __future__ import annotations

from stream_app.ingest.events import (
    EmailBounced,
    EmailClicked,
    EmailComplained,
    EmailDelivered,
    EmailOpened,
    EmailOptedOut,
)
from stream_app.ingest.machines import PERSON, told_by
from stream_app.ingest.watermark import Watermark
from stream_app.metrics.cells import slot_of
from stream_app.settings import Settings
from stream_app.state.audience import Audience
from stream_app.state.clicks import Counted, Settlement, counted, machine_slots
from stream_app.state.customers import Customer
from stream_app.state.firsts import First, Firsts, keep_bounded
from stream_app.state.stages import Mark
from stream_app.state.suspicion import Click, OptOut, Recent, Suspicion, number_of
from stream_app.state.tallies import NO_SLOT, Tallies

_DELIVERIES = slot_of("deliveries")
_BOUNCES = slot_of("bounces")
_OPENS = slot_of("opens")
_MACHINE_OPENS = slot_of("machine_opens")
_UNIQUE_OPENS = slot_of("unique_opens")
_UNIQUE_ENGAGED = slot_of("unique_engaged")
_OPTOUTS = slot_of("optouts")
_COMPLAINTS = slot_of("complaints")
_REACHED = slot_of("reached")
_DISENGAGED = slot_of("disengaged")

_EVERYWHERE = ""
"""Stands for the dimension ``all`` among segments, none of which has this name."""


class Mail:
    """Counts e-mail events, with what is remembered of their customers."""

    def __init__(
        self, tallies: Tallies, audience: Audience, watermark: Watermark, settings: Settings
    ) -> None:
        self._tallies = tallies
        self._audience = audience
        self._watermark = watermark
        self._retention_ms = settings.retention
        self._suspicion = Suspicion(settings.machine_click_within)
        self._settlement = Settlement(watermark, self._suspicion.settled_after_ms, settings.retention)

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
        customer.used_to().receive(time_ms)
        customer.delivered = self._suspicion.deliver(
            customer.delivered, campaign, time_ms, self._watermark.current_ms
        )
        if customer.recent is not None:
            self._look_again(customer, customer.recent, campaign, time_ms)

    def bounce(self, customer: Customer, event: EmailBounced, time_ms: int) -> None:
        """The receiver refused a message."""
        self._tallies.gather(_BOUNCES, event.campaign_id, event.segment, None, time_ms)

    def open(self, customer: Customer, event: EmailOpened, time_ms: int) -> None:
        """Somebody, or a machine, opened a message."""
        told = told_by(event)
        if told & ~PERSON:
            for slot in machine_slots(told, _MACHINE_OPENS):
                self._tallies.gather(slot, event.campaign_id, event.segment, None, time_ms)
            return
        self._tallies.gather(_OPENS, event.campaign_id, event.segment, None, time_ms)
        opens = customer.opens = self._bounded(customer.opens)
        before = customer.first_engagement(event.campaign_id)
        self._first(opens, event.campaign_id, First(time_ms, event.segment or None), _UNIQUE_OPENS)
        after = customer.first_engagement(event.campaign_id)
        if after != before:
            for first, number in ((before, -1), (after, 1)):
                if first is not None:
                    self._unique(event.campaign_id, first, _UNIQUE_ENGAGED, number)
                    customer.used_to().answer(first.time_ms, number)
        customer.mail.make_good(time_ms)
        customer.stages.mark(time_ms, Mark.ENGAGED)

    def click(self, customer: Customer, event: EmailClicked, time_ms: int) -> None:
        """Somebody, or a machine, followed a link."""
        campaign = event.campaign_id
        recent = self._recent(customer)
        before = counted(customer, recent, campaign)
        click = Click(time_ms, campaign, event.segment or None, number_of(event.link_url), told_by(event))
        self._suspicion.click(recent, click, customer.delivered or [])
        self._apply(customer, before, counted(customer, recent, campaign))

    def opt_out(self, customer: Customer, event: EmailOptedOut, time_ms: int) -> None:
        """The customer unsubscribed, or a machine did: it counts in any case."""
        campaign = event.campaign_id or ""
        recent = self._recent(customer)
        optouts = customer.optouts = self._bounded(customer.optouts)
        before = counted(customer, recent, campaign)
        self._leave(customer, optouts, event, time_ms, _OPTOUTS)
        self._suspicion.opt_out(recent, OptOut(time_ms, campaign), customer.delivered or [])
        self._apply(customer, before, counted(customer, recent, campaign))
        self._audience.opted_out(event.customer_id, time_ms)

    def complain(self, customer: Customer, event: EmailComplained, time_ms: int) -> None:
        """The customer called a message spam."""
        complaints = customer.complaints = self._bounded(customer.complaints)
        self._leave(customer, complaints, event, time_ms, _COMPLAINTS)

    def _recent(self, customer: Customer) -> Recent:
        """What is not settled yet, to be changed."""
        recent = customer.recent
        if recent is None:
            recent = customer.recent = Recent()
        else:
            self._settlement.settle(customer, recent)
        return recent

    def _look_again(self, customer: Customer, recent: Recent, campaign: str, time_ms: int) -> None:
        """A delivery may bear on clicks and opt-outs that came before it."""
        self._settlement.settle(customer, recent)
        if recent.is_empty:
            customer.recent = None
        elif self._suspicion.bears_on(recent, time_ms):
            before = counted(customer, recent, campaign)
            self._suspicion.look_again(recent, customer.delivered or [])
            self._apply(customer, before, counted(customer, recent, campaign))

    def _apply(self, customer: Customer, before: Counted, after: Counted) -> None:
        """Count the difference."""
        gather = self._tallies.gather
        for (slot, campaign, segment, time_ms), number in after.items():
            difference = number - before.pop((slot, campaign, segment, time_ms), 0)
            if difference:
                gather(slot, campaign, segment, None, time_ms, difference)
                if slot == _UNIQUE_ENGAGED:
                    customer.used_to().answer(time_ms, difference)
        for (slot, campaign, segment, time_ms), number in before.items():
            gather(slot, campaign, segment, None, time_ms, -number)
            if slot == _UNIQUE_ENGAGED:
                customer.used_to().answer(time_ms, -number)

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
        customer.felt().opted_out = True
        customer.stages.mark(time_ms, Mark.LEFT)

    def _bounded(self, firsts: Firsts | None) -> Firsts:
        """The first events of a kind, to be added to; never too many."""
        if firsts is None:
            return {}
        keep_bounded(firsts, self._watermark.current_ms - self._retention_ms)
        return firsts

    def _first(self, firsts: Firsts, campaign: str | None, first: First, slot: int) -> None:
        """Count a customer once per campaign, at the earliest event."""
        held = firsts.get(campaign or "")
        if held is not None:
            if held.time_ms <= first.time_ms:
                return
            self._unique(campaign, held, slot, -1)
        firsts[campaign or ""] = first
        self._unique(campaign, first, slot, 1)

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


def _dimension_key(segment: str) -> str:
    return f"segment:{segment}" if segment else "all:all"
