"""Which clicks machines made, and which opt-outs they may have made, by looking at all events of a customer at once.

The oracle judges no user agents: it hears the sender's flag and looks at times. Everything here is a definition:

- A click that is flagged either way is what its flag says.
- Any other is *hasty* less than the setting before or after a delivery of its campaign to this customer, and in a
  *burst* where some second has three or more different links of the campaign, clicked by this customer.
- In a burst it is a machine's. Only hasty, it is a machine's unless a person clicked in the campaign at the same time
  or later. A person is who is flagged as one, or is neither hasty nor in a burst.
- An opt-out is suspected less than the setting before or after a delivery, or less than a second before or after a
  click by a machine that is so by its flag or a burst; of its campaign, or of any where it names none.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.oracle.events import Event, Settings

SECOND_MS = 1_000
MANY_LINKS = 3


class Machines(NamedTuple):
    """The events that machines made, and why; events are told apart by type and offset. ``doubtful``: the clicks that
    anything speaks against, whatever came later."""

    flagged: set[int]
    hasty: set[int]
    in_burst: set[int]
    suspected_optouts: set[int]
    doubtful: set[int]

    def clicked(self, click: Event) -> bool:
        """Whether a machine made a click."""
        return click.offset in self.flagged | self.hasty | self.in_burst


def is_flagged(event: Event) -> bool:
    """Whether the sender says that a machine opened or clicked."""
    return event.body.get("machine") is True


def find_machines(
    deliveries: list[Event], clicks: list[Event], optouts: list[Event], settings: Settings
) -> Machines:
    """Judge the clicks and opt-outs of one shard. Offsets of clicks, and of opt-outs, are unique in it."""
    within = settings.machine_click_within_ms
    delivered = _by_customer(deliveries)
    found = Machines({click.offset for click in clicks if is_flagged(click)}, set(), set(), set(), set())
    for same in _by_mail(clicks).values():
        sent = [event for event in delivered[same[0].customer] if _same_mail(same[0], event)]
        silent = [click for click in same if click.body.get("machine") is None]
        hasty = {click.offset for click in silent if _is_near(click, sent, within)}
        in_burst = _in_bursts(silent)
        unmasked = hasty | in_burst | found.flagged
        last_person = max((click.time for click in same if click.offset not in unmasked), default=-1)
        found.in_burst.update(in_burst)
        found.doubtful.update(unmasked)
        found.hasty.update(
            click.offset
            for click in silent
            if click.offset in hasty and (click.offset in in_burst or click.time > last_person)
        )
    certain = _by_customer(click for click in clicks if click.offset in found.flagged | found.in_burst)
    for optout in optouts:
        sent = [event for event in delivered[optout.customer] if _same_mail(optout, event)]
        clicked = [event for event in certain[optout.customer] if _same_mail(optout, event)]
        if _is_near(optout, sent, within) or _is_near(optout, clicked, SECOND_MS):
            found.suspected_optouts.add(optout.offset)
    return found


def _in_bursts(clicks: list[Event]) -> set[int]:
    """The clicks in a second of many different links; a second that begins with a click is enough to look at."""
    found: set[int] = set()
    for first in clicks:
        second = [click for click in clicks if first.time <= click.time < first.time + SECOND_MS]
        if len({link for click in second if (link := click.text("link_url"))}) >= MANY_LINKS:
            found.update(click.offset for click in second)
    return found


def _is_near(event: Event, others: list[Event], within: int) -> bool:
    return any(abs(event.time - other.time) < within for other in others)


def _same_mail(event: Event, other: Event) -> bool:
    """Whether the other is of the event's campaign, or the event names none."""
    campaign = event.text("campaign_id")
    return campaign is None or campaign == other.text("campaign_id")


def _by_customer(events: Iterable[Event]) -> defaultdict[str, list[Event]]:
    groups: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        groups[event.customer].append(event)
    return groups


def _by_mail(events: Iterable[Event]) -> defaultdict[tuple[str, str | None], list[Event]]:
    groups: defaultdict[tuple[str, str | None], list[Event]] = defaultdict(list)
    for event in events:
        groups[event.customer, event.text("campaign_id")].append(event)
    return groups
