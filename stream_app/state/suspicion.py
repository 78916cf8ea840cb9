"""What time tells of machines: clicks and opt-outs too soon after a delivery, or in a burst. Pure.

Stands beside the customers, who remember their deliveries, clicks and opt-outs for as long as what may still arrive
can bear on them. Indicators are only ever added, and each hangs on events of the customer that lie close together in
event time: so they are the same in whatever order these arrive. Times are milliseconds of event time. Where the
thresholds come from: docs/decisions/0010-machines.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec

from stream_app.clock import SECOND_MS
from stream_app.ingest.machines import AGENT, BURST, FLAG, HASTE, PERSON

BURST_MS = SECOND_MS
BURST_LINKS = 3
"""Different links of one mail within less than ``BURST_MS``: more than a hand can follow."""
MOST_KEPT = 1_000
"""Deliveries, clicks and opt-outs of one customer each; of more than these the oldest are settled early."""

_TOLD = PERSON | FLAG | AGENT
_MACHINE = FLAG | AGENT | BURST

Delivered = list[tuple[int, int]]
"""Campaigns, as numbers, and times of what was delivered lately, in order of arrival."""


class Click(msgspec.Struct, array_like=True, gc=False):
    """A click that events which may still arrive can bear on. ``link`` stands for its URL, 0 where it has none."""

    time_ms: int
    campaign: str
    segment: str | None
    link: int
    indicators: int

    @property
    def is_machine(self) -> bool:
        """Whether a machine did it, whatever comes later."""
        return bool(self.indicators & _MACHINE)

    @property
    def is_person(self) -> bool:
        """Whether nothing speaks against it, or its sender for it."""
        return self.indicators <= PERSON

    def is_counted(self, last_person_ms: int) -> bool:
        """Whether it counts as a person's, given their latest click in the campaign: that stands for one against
        which nothing but its haste speaks."""
        indicators = self.indicators
        return indicators <= PERSON or (indicators == HASTE and self.time_ms <= last_person_ms)


class OptOut(msgspec.Struct, array_like=True, gc=False):
    """An opt-out that events which may still arrive can bear on; ``campaign`` is ``""`` where it names none."""

    time_ms: int
    campaign: str
    suspected: bool = False


class Hasty(msgspec.Struct, array_like=True, gc=False):
    """Settled clicks of one campaign, pane and segment that a click by a person would make a person's."""

    time_ms: int
    segment: str | None
    number: int


class Recent(msgspec.Struct, array_like=True, gc=False):
    """What a customer remembers of clicks and opt-outs for their verdict. Most customers have none of it.

    ``clicks`` and ``optouts``, in order of time, are not settled yet. ``hasty`` are settled clicks, by campaign.
    ``doubted``: campaigns of which every settled opt-out is suspected.
    """

    clicks: list[Click] = []
    optouts: list[OptOut] = []
    hasty: dict[str, list[Hasty]] = {}
    doubted: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.clicks or self.optouts or self.hasty or self.doubted)

    def clicks_of(self, campaign: str) -> tuple[list[Click], int]:
        """The unsettled clicks of a campaign, and the time of the latest by a person among them, -1 if there is none."""
        clicks = [click for click in self.clicks if click.campaign == campaign]
        return clicks, max([click.time_ms for click in clicks if click.is_person], default=-1)


def number_of(name: str | None) -> int:
    """A number that stands for a link or a campaign: small to keep, and the same for two only by the rarest chance; 0
    for none."""
    return crc32(name.encode()) or 1 if name else 0


class Suspicion:
    """Adds to what is remembered, and marks what it gives away.

    ``within_ms``: a click or an opt-out less than so long before or after its delivery is hasty; 0: none is. Before,
    too: gateways look at a mail before they accept it.
    """

    def __init__(self, within_ms: int) -> None:
        self._within_ms = within_ms
        self.settled_after_ms = max(within_ms, 2 * BURST_MS)
        """What is so old that nothing as new as the watermark can bear on it. (An opt-out hangs on a click within a
        second, and that click on others within a second.)"""

    def deliver(
        self, delivered: Delivered | None, campaign: str, time_ms: int, watermark_ms: int
    ) -> Delivered | None:
        """Remember a delivery, and forget those too old to matter."""
        if not self._within_ms:
            return None
        new = (number_of(campaign), time_ms)
        if delivered is None:
            return [new]
        horizon_ms = watermark_ms - self._within_ms
        if delivered[0][1] <= horizon_ms or len(delivered) >= MOST_KEPT:
            delivered = [held for held in delivered if held[1] > horizon_ms][1 - MOST_KEPT :]
        delivered.append(new)
        return delivered

    def bears_on(self, recent: Recent, delivered_ms: int) -> bool:
        """Whether a delivery is near enough to anything that is not settled: nearly none is."""
        within_ms = self._within_ms
        for held in (recent.clicks, recent.optouts):
            for one in held:
                if -within_ms < one.time_ms - delivered_ms < within_ms:
                    return True
        return False

    def look_again(self, recent: Recent, delivered: Delivered) -> None:
        """A delivery came after what it bears on."""
        for click in recent.clicks:
            if not click.indicators & _TOLD and self._is_hasty(click.campaign, click.time_ms, delivered):
                click.indicators |= HASTE
        self._look_at_optouts(recent, delivered)

    def click(self, recent: Recent, click: Click, delivered: Delivered) -> None:
        """Remember a click, and mark what it gives away, itself among it."""
        _insert(recent.clicks, click)
        if not click.indicators & _TOLD:
            if self._is_hasty(click.campaign, click.time_ms, delivered):
                click.indicators |= HASTE
            _mark_bursts(recent.clicks, click)
        self._look_at_optouts(recent, delivered)

    def opt_out(self, recent: Recent, optout: OptOut, delivered: Delivered) -> None:
        """Remember an opt-out, and whether it is suspected."""
        _insert(recent.optouts, optout)
        self._look_at_optouts(recent, delivered)

    def _look_at_optouts(self, recent: Recent, delivered: Delivered) -> None:
        for optout in recent.optouts:
            if not optout.suspected:
                optout.suspected = self._is_hasty(
                    optout.campaign, optout.time_ms, delivered
                ) or _is_amid_machines(optout, recent.clicks)

    def _is_hasty(self, campaign: str, time_ms: int, delivered: Delivered) -> bool:
        """Whether something lies too close to a delivery of its campaign, or of any if it has none."""
        within_ms, number = self._within_ms, number_of(campaign)
        return any(
            -within_ms < time_ms - delivered_ms < within_ms and number in (0, of_one)
            for of_one, delivered_ms in delivered
        )


def _insert(held: list[Click] | list[OptOut], new: Click | OptOut) -> None:
    """Insert in order of time, behind what has the same time."""
    place = len(held)
    while place and held[place - 1].time_ms > new.time_ms:
        place -= 1
    held.insert(place, new)  # type: ignore[arg-type]


def _mark_bursts(clicks: Sequence[Click], new: Click) -> None:
    """Mark the bursts that a click completes or extends: all that lies in a second of many links."""
    near = [
        click
        for click in clicks
        if -BURST_MS < click.time_ms - new.time_ms < BURST_MS
        and click.campaign == new.campaign
        and not click.indicators & _TOLD
    ]
    if len({click.link for click in near if click.link}) < BURST_LINKS:
        return
    for start in near:
        if start.time_ms > new.time_ms or all(click.indicators & BURST for click in near):
            return
        second = [click for click in near if start.time_ms <= click.time_ms < start.time_ms + BURST_MS]
        if len({click.link for click in second if click.link}) >= BURST_LINKS:
            for click in second:
                click.indicators |= BURST


def _is_amid_machines(optout: OptOut, clicks: Sequence[Click]) -> bool:
    """Whether a machine clicked in the same mail within a second."""
    return any(
        click.is_machine
        and -BURST_MS < optout.time_ms - click.time_ms < BURST_MS
        and (not optout.campaign or optout.campaign == click.campaign)
        for click in clicks
    )
