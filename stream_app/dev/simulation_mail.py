"""A sending and what comes of it: deliveries in a burst, opens and clicks over hours, opt-outs, machines.

A part of the simulator; pure. Delays are log-normal: most people read within an hour or two, some the next
morning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from stream_app.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.dev.simulation_story import ADA, PRICE_WATCH, Campaign, campaign_on
from stream_app.dev.simulation_world import Happening, Person, World, at_hour

BURST_MS: Final = 4 * MINUTE_MS
LONGEST_BURST_MS: Final = 20 * MINUTE_MS
BOUNCES: Final = 0.012
READS_AFTER_MS, READS_SPREAD = 45 * MINUTE_MS, 1.1
CLICKS_AFTER_MS, CLICKS_SPREAD = 90 * SECOND_MS, 0.9
LEAVES_AFTER_MS, LEAVES_SPREAD = 22 * MINUTE_MS, 0.7
TRIES_AGAIN: Final = 0.6
"""Of those who found a broken link, so many come back once it works."""
OPENS_TWICE, IMAGES_OFF = 0.15, 0.06
COMPLAINS_INSTEAD: Final = 0.1
MASKED, UNSUBSCRIBES_TOO = 1 / 3, 0.03
"""Of the scanners, so many look like a browser; and so often one follows the link that unsubscribes as well."""
_LINKS = ("", "/terms", "/imprint", "/account")
_PREFETCHER = "Mozilla/5.0"
_SCANNER = "Mozilla/5.0 (compatible; Barracuda Sentinel (EE))"


class _Sending(NamedTuple):
    """A campaign on its day."""

    campaign: Campaign
    name: str
    day_ms: int

    def fields(self, **others: Any) -> dict[str, Any]:
        return {"campaign_id": self.name, **others}

    @property
    def links_work_from_ms(self) -> int:
        return at_hour(self.day_ms, self.campaign.links_work_from)


def sending(world: World, campaign: Campaign, day_ms: int, day: int) -> Iterator[Happening]:
    """All that happens because of one campaign of one day, in no order."""
    mail = _Sending(campaign, campaign_on(campaign.name, day), day_ms)
    begin_ms = at_hour(day_ms, campaign.at)
    for person in world.audiences[campaign.audience]:
        if world.opted_out.get(person.name, begin_ms) < begin_ms:
            continue
        delay_ms = int(world.dice.expovariate(1 / BURST_MS))
        time_ms = begin_ms + min(delay_ms, world.between(LONGEST_BURST_MS // 2, LONGEST_BURST_MS))
        if person.name != ADA and world.chance(BOUNCES):
            yield Happening(time_ms, "email.bounced", person, mail.fields())
            continue
        yield Happening(time_ms, "email.delivered", person, mail.fields())
        if person.name != ADA:
            yield from _machines(world, mail, person, time_ms)
            yield from _reading(world, mail, person, time_ms)
            yield from _leaving(world, mail, person, time_ms)


def _machines(world: World, mail: _Sending, person: Person, delivered_ms: int) -> Iterator[Happening]:
    """A proxy fetches the images within minutes, a scanner follows the links within seconds."""
    if person.proxy:
        time_ms = delivered_ms + world.between(2 * SECOND_MS, 10 * MINUTE_MS)
        yield Happening(time_ms, "email.opened", person, mail.fields(user_agent=_PREFETCHER))
    if person.scanner and world.chance(MASKED):
        yield from _masked_scanner(world, mail, person, delivered_ms)
    elif person.scanner:
        time_ms = delivered_ms + world.between(SECOND_MS, 20 * SECOND_MS)
        known = {"machine": True} if world.chance(0.5) else {"user_agent": _SCANNER}
        yield Happening(time_ms, "email.clicked", person, mail.fields(link_url=_link(mail), **known))


def _masked_scanner(world: World, mail: _Sending, person: Person, delivered_ms: int) -> Iterator[Happening]:
    """A scanner that looks like a browser follows all links within a second, now and then the one to unsubscribe."""
    time_ms = delivered_ms + world.between(0, 4 * SECOND_MS)
    for page in _LINKS:
        fields = mail.fields(link_url=_link(mail) + page, user_agent=person.browser)
        yield Happening(time_ms + world.between(0, SECOND_MS - 1), "email.clicked", person, fields)
    if world.chance(UNSUBSCRIBES_TOO):
        world.opted_out.setdefault(person.name, time_ms)
        yield Happening(time_ms, "email.opted_out", person, mail.fields())


def _reading(world: World, mail: _Sending, person: Person, delivered_ms: int) -> Iterator[Happening]:
    """Somebody opens, may click, may open again."""
    open_rate = min(mail.campaign.open_rate * person.keen, 0.95)
    if not world.chance(open_rate):
        return
    opened_ms = delivered_ms + world.around(READS_AFTER_MS, READS_SPREAD)
    if not world.chance(IMAGES_OFF):
        yield _opened(mail, person, opened_ms)
    if world.chance(mail.campaign.click_rate / mail.campaign.open_rate):
        yield from _clicking(world, mail, person, opened_ms)
    if world.chance(OPENS_TWICE):
        yield _opened(mail, person, opened_ms + world.around(3 * HOUR_MS, 1.0))


def _clicking(world: World, mail: _Sending, person: Person, opened_ms: int) -> Iterator[Happening]:
    """A click on a broken link reaches nobody; some try once more when it works."""
    time_ms = opened_ms + world.around(CLICKS_AFTER_MS, CLICKS_SPREAD)
    if time_ms < mail.links_work_from_ms:
        if not world.chance(TRIES_AGAIN):
            return
        time_ms = mail.links_work_from_ms + world.around(READS_AFTER_MS, READS_SPREAD)
        yield _opened(mail, person, time_ms - world.between(2 * SECOND_MS, MINUTE_MS))
    fields = mail.fields(link_url=_link(mail), user_agent=person.browser)
    yield Happening(time_ms, "email.clicked", person, fields)


def _leaving(world: World, mail: _Sending, person: Person, delivered_ms: int) -> Iterator[Happening]:
    """Somebody has had enough, and unsubscribes or complains."""
    if not world.chance(mail.campaign.optout_rate):
        return
    time_ms = delivered_ms + world.around(LEAVES_AFTER_MS, LEAVES_SPREAD)
    if world.chance(COMPLAINS_INSTEAD):
        yield Happening(time_ms, "email.complained", person, mail.fields())
        if world.chance(0.5):
            return
    world.opted_out.setdefault(person.name, time_ms)
    yield Happening(time_ms + SECOND_MS, "email.opted_out", person, mail.fields())


def _opened(mail: _Sending, person: Person, time_ms: int) -> Happening:
    return Happening(time_ms, "email.opened", person, mail.fields(user_agent=person.browser))


def _link(mail: _Sending) -> str:
    page = "offers" if mail.campaign.audience == PRICE_WATCH else mail.campaign.name
    return f"https://shop.example/{page}"
