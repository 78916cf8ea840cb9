"""Clicks by people and by machines, as they count now: verdicts change with what arrives, and the counts move. Pure.

Stands beside ``mail.py``. A verdict is a function of the customer's events, not of their order: every event that can
bear on one is followed by a look at what all clicks of its campaign count for, before and after it, and the
difference is applied. What nothing can bear on any more is settled, and only its sum is remembered.

A click is a machine's where the sender's flag or the user agent says so, or in a burst. Where nothing but its haste
speaks against it, it is suspected, and becomes a person's with a click by the person in the same campaign, at the
same time or later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from stream_app.ingest.machines import AGENT, BURST, FLAG, HASTE
from stream_app.ingest.watermark import Watermark
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import slot_of
from stream_app.state.customers import Customer
from stream_app.state.firsts import First, earlier, keep_bounded
from stream_app.state.stages import Mark
from stream_app.state.suspicion import MOST_KEPT, Click, Hasty, OptOut, Recent

_CLICKS = slot_of("clicks")
_MACHINE_CLICKS = slot_of("machine_clicks")
_UNIQUE_CLICKS = slot_of("unique_clicks")
_UNIQUE_ENGAGED = slot_of("unique_engaged")
_OPTOUTS_SUSPECTED = slot_of("optouts_suspected")
_BY_INDICATOR = {
    FLAG: slot_of("machine_by_flag"),
    AGENT: slot_of("machine_by_agent"),
    HASTE: slot_of("machine_by_haste"),
    BURST: slot_of("machine_by_burst"),
}

Counted = dict[tuple[int, str, str | None, int], int]
"""Numbers by slot, campaign, segment and time."""


def machine_slots(indicators: int, slot: int) -> tuple[int, ...]:
    """Where an open or a click by a machine counts: in its slot, and in that of every indicator."""
    return slot, *(of_one for indicator, of_one in _BY_INDICATOR.items() if indicators & indicator)


_PERSON_SLOTS = (_CLICKS,)
_MACHINE_SLOTS = [machine_slots(indicators, _MACHINE_CLICKS) for indicators in range(2 * BURST)]


def counted(customer: Customer, recent: Recent, campaign: str) -> Counted:
    """What the unsettled and the suspected clicks of a campaign count for now, and the customer in it."""
    counts: Counted = {}
    clicks, last_ms = recent.clicks_of(campaign)
    for held in recent.hasty.get(campaign, ()):
        slots = _PERSON_SLOTS if held.time_ms <= last_ms else _MACHINE_SLOTS[HASTE]
        _add(counts, slots, campaign, held.segment, held.time_ms, held.number)
    for click in clicks:
        slots = _PERSON_SLOTS if click.is_counted(last_ms) else _MACHINE_SLOTS[click.indicators]
        _add(counts, slots, campaign, click.segment, click.time_ms, 1)
    clicked = customer.first_of(campaign, recent, clicks, last_ms)
    if clicked is not None:
        counts[_UNIQUE_CLICKS, campaign, clicked.segment, clicked.time_ms] = 1
    engaged = earlier(customer.opens.get(campaign) if customer.opens else None, clicked)
    if engaged is not None:
        counts[_UNIQUE_ENGAGED, campaign, engaged.segment, engaged.time_ms] = 1
    optouts = customer.optouts or {}
    for name in {campaign, *(optout.campaign for optout in recent.optouts)} if optouts else ():
        first = optouts.get(name)
        if first is not None and _is_doubted(first, recent, name):
            counts[_OPTOUTS_SUSPECTED, name, first.segment, first.time_ms] = 1
    return counts


def _add(
    counts: Counted, slots: tuple[int, ...], campaign: str, segment: str | None, time_ms: int, number: int
) -> None:
    for slot in slots:
        place = (slot, campaign, segment, time_ms)
        counts[place] = counts.get(place, 0) + number


def _is_doubted(first: First, recent: Recent, campaign: str) -> bool:
    """Whether every opt-out of a campaign is suspected, from the first on."""
    held = [optout for optout in recent.optouts if optout.campaign == campaign]
    none_settled = bool(held) and held[0].time_ms == first.time_ms
    return (none_settled or campaign in recent.doubted) and all(optout.suspected for optout in held)


class Settlement:
    """Settles clicks and opt-outs once nothing can bear on them any more; their counts stay as they are."""

    def __init__(self, watermark: Watermark, settled_after_ms: int, retention_ms: int) -> None:
        self._watermark = watermark
        self._settled_after_ms = settled_after_ms
        self._retention_ms = retention_ms

    def settle(self, customer: Customer, recent: Recent) -> None:
        """Settle what is old enough, in order of time."""
        horizon_ms = self._watermark.current_ms - self._settled_after_ms
        old = _older([click.time_ms for click in recent.clicks], horizon_ms)
        if old:
            self._settle_clicks(customer, recent, recent.clicks[:old])
            del recent.clicks[:old]
        old = _older([optout.time_ms for optout in recent.optouts], horizon_ms)
        for optout in recent.optouts[:old]:
            self._settle_optout(customer, recent, optout)
        del recent.optouts[:old]

    def _settle_clicks(self, customer: Customer, recent: Recent, clicks: Sequence[Click]) -> None:
        last_ms = {click.campaign: click.time_ms for click in clicks if click.is_person}
        for campaign in last_ms:
            for held in recent.hasty.pop(campaign, ()):
                _clicked(customer, campaign, First(held.time_ms, held.segment))
        for click in clicks:
            if click.is_person:
                customer.stages.mark(click.time_ms, Mark.ENGAGED)
            if click.is_counted(last_ms.get(click.campaign, -1)):
                _clicked(customer, click.campaign, First(click.time_ms, click.segment))
            elif click.indicators == HASTE:
                _suspect(recent.hasty.setdefault(click.campaign, []), click)
        if last_ms:
            customer.mail.make_good(max(last_ms.values()))
        self._keep_bounded(customer, recent)

    def _settle_optout(self, customer: Customer, recent: Recent, optout: OptOut) -> None:
        optouts, campaign, doubted = customer.optouts or {}, optout.campaign, recent.doubted
        is_first = campaign in optouts and optouts[campaign].time_ms == optout.time_ms
        stays = optout.suspected and (is_first or campaign in doubted)
        recent.doubted = [name for name in doubted if name in optouts and name != campaign]
        if stays:
            recent.doubted.append(campaign)

    def _keep_bounded(self, customer: Customer, recent: Recent) -> None:
        horizon_ms = self._watermark.current_ms - self._retention_ms
        if customer.clicks:
            keep_bounded(customer.clicks, horizon_ms)
        for campaign, held in list(recent.hasty.items()):
            kept = [one for one in held if one.time_ms >= horizon_ms]
            if kept:
                recent.hasty[campaign] = kept
            else:
                del recent.hasty[campaign]


def _older(times: Sequence[int], horizon_ms: int) -> int:
    """How many times, in order, are as old as a horizon, or too many to be kept."""
    return max(bisect_right(times, horizon_ms), len(times) - MOST_KEPT)


def _clicked(customer: Customer, campaign: str, first: First) -> None:
    if customer.clicks is None:
        customer.clicks = {}
    held = customer.clicks.get(campaign)
    customer.clicks[campaign] = earlier(held, first) or first


def _suspect(held: list[Hasty], click: Click) -> None:
    for one in held:
        if one.time_ms // PANE_MS == click.time_ms // PANE_MS and one.segment == click.segment:
            one.number += 1
            return
    held.append(Hasty(click.time_ms, click.segment, 1))
