"""What happens in the simulated shop, as data: who its customers are, what is sent, what goes wrong.

Stands before `simulator.py`, which makes events of it. All times are hours of the day in UTC, and every day
goes like this one. At the demo's pace an hour takes five seconds, and its first day begins at 06:00.

    time   | what happens                                                     | which alert
    -------+------------------------------------------------------------------+----------------------------
     06:15 | Ada reads and clicks her newsletter, as she used to              |
     08:00 | the win-back mail annoys those who had gone quiet                | optout fires
     09:00 | new-arrivals goes out with broken links: nobody can click        | (ctr is pending, for 2 h)
     10:00 | no more opt-outs in the last hour                                | optout-spike resolves
     11:00 | two hours and still no click                                     | ctr fires
     12:00 | Ada: newsletters unread, her ticket reopened, her cart left      | churn fires
     13:00 | the links are mended, people click at last                       | ctr resolves
     16:00 | the checkout breaks: carts are left, nothing is bought           | abandonment fires
     17:00 | Ada is back: she reads, clicks, buys, her ticket is resolved     | churn resolves
     18:30 | the checkout is mended, some of those who left come back and buy | abandonment resolves
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

ADA: Final = "customer-ada"
PRICE_WATCH: Final = "price-watch"
PRICE_WATCHERS: Final = 400
DAY_BEGINS: Final = 6.0
DAY_ENDS: Final = 22.0


class Segment(NamedTuple):
    """A kind of customer; ``shopping`` weighs how often one fills a cart, chats or writes a ticket."""

    name: str
    customers: int
    shopping: float


SEGMENTS: Final = (
    Segment("new", 2_500, shopping=1.0),
    Segment("regular", 5_000, shopping=1.0),
    Segment("loyal", 1_500, shopping=2.0),
    Segment("lapsed", 3_000, shopping=0.2),
)


class Campaign(NamedTuple):
    """One sending. The rates are shares of those it is delivered to; its links work from ``links_work_from`` on."""

    at: float
    name: str
    audience: str
    open_rate: float
    click_rate: float
    optout_rate: float = 0.001
    links_work_from: float = 0.0


CAMPAIGNS: Final = (
    Campaign(6.10, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(6.25, "members-morning", "loyal", 0.45, 0.070),
    Campaign(7.00, "spring-sale", "regular", 0.34, 0.040),
    Campaign(7.50, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(8.00, "winback-last-chance", "lapsed", 0.16, 0.012, optout_rate=0.040),
    Campaign(9.00, "new-arrivals", "regular", 0.30, 0.030, links_work_from=13.0),
    Campaign(9.50, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(10.00, "welcome-tips", "new", 0.38, 0.050),
    Campaign(11.00, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(11.50, "members-noon", "loyal", 0.42, 0.060),
    Campaign(13.00, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(15.00, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(17.00, "price-watch", PRICE_WATCH, 0.70, 0.15),
    Campaign(19.00, "evening-picks", "new", 0.36, 0.045),
    Campaign(20.00, "members-evening", "loyal", 0.40, 0.055),
)


class Incident(NamedTuple):
    """Something is out of order from one hour to another."""

    begin: float
    end: float

    def covers(self, hour: float) -> bool:
        """Whether it lasts at this hour."""
        return self.begin <= hour < self.end


CHECKOUT_BROKEN: Final = Incident(16.0, 18.5)
FEW_AGENTS: Final = Incident(12.0, 13.0)
"""The agents are at lunch: more chats than usual are missed."""


class Deed(NamedTuple):
    """What Ada does, or what is done for her, at an hour of the day."""

    at: float
    event_type: str
    fields: Mapping[str, object]


_TICKET: Final = {"ticket_id": "ticket-ada", "channel": "web"}
_CART: Final = {"cart_id": "cart-ada", "currency": "EUR"}

ADAS_DAY: Final = (
    Deed(6.45, "email.opened", {"campaign_id": PRICE_WATCH}),
    Deed(6.47, "email.clicked", {"campaign_id": PRICE_WATCH}),
    Deed(6.90, "ticket.opened", _TICKET),
    Deed(7.20, "ticket.replied", {**_TICKET, "author": "agent"}),
    Deed(7.30, "ticket.resolved", _TICKET),
    Deed(9.80, "ticket.reopened", _TICKET),
    Deed(10.40, "cart.updated", {**_CART, "value": 89.9, "items": 2}),
    Deed(10.50, "cart.checkout_started", {**_CART, "value": 89.9}),
    Deed(17.00, "ticket.replied", {**_TICKET, "author": "agent"}),
    Deed(17.05, "ticket.resolved", _TICKET),
    Deed(17.10, "email.opened", {"campaign_id": PRICE_WATCH}),
    Deed(17.12, "email.clicked", {"campaign_id": PRICE_WATCH}),
    Deed(17.15, "ticket.rated", {**_TICKET, "rating": 5}),
    Deed(18.60, "cart.purchased", {**_CART, "value": 89.9}),
)


class Chapter(NamedTuple):
    """A part of the story that an alert must tell: of a kind, about a key, firing and resolved by these hours."""

    begin: float
    kind: str
    about: str
    fires_by: float
    resolves_by: float
    title: str


CHAPTERS: Final = (
    Chapter(8.0, "optout", "winback-last-chance", 9.0, 11.5, "the win-back mail annoys people: opt-outs"),
    Chapter(9.0, "ctr", "new-arrivals", 11.75, 14.5, "new-arrivals went out with broken links"),
    Chapter(9.8, "churn", ADA, 13.5, 18.0, "Ada slips away: reads nothing, ticket reopened, cart left"),
    Chapter(13.0, "ctr", "new-arrivals", 11.75, 14.5, "the links of new-arrivals are mended"),
    Chapter(16.0, "abandonment", "all", 17.75, 20.0, "the checkout is broken: carts are left"),
    Chapter(17.0, "churn", ADA, 13.5, 18.0, "Ada is back: reads, clicks, her ticket is resolved"),
    Chapter(18.5, "abandonment", "all", 17.75, 20.0, "the checkout is mended: people buy again"),
)

# How lively each hour of the day is, from 0 to 1: the night is quiet, the evening busy.
LIVELINESS: Final = (
    *(0.12, 0.08, 0.05, 0.05, 0.08, 0.15),  # 00-05
    *(0.35, 0.50, 0.60, 0.70, 0.75, 0.80),  # 06-11
    *(0.85, 0.75, 0.70, 0.75, 0.90, 1.00),  # 12-17
    *(1.00, 0.95, 0.85, 0.70, 0.45, 0.25),  # 18-23
)

CARTS_AN_HOUR: Final = 220
CHATS_AN_HOUR: Final = 80
TICKETS_AN_HOUR: Final = 45
BAD_RECORDS_AN_HOUR: Final = 4
"""At the liveliest hour."""


def title_at(hour: float) -> str:
    """What is going on in the shop at an hour of the day, for a person."""
    if not DAY_BEGINS <= hour < DAY_ENDS:
        return "a quiet night in the shop"
    begun = [chapter.title for chapter in CHAPTERS if chapter.begin <= hour]
    return begun[-1] if begun else "an ordinary morning: the first newsletters go out"


def campaign_on(name: str, day: int) -> str:
    """The name of a campaign on the first, second, … day (from 0), as each has its own; the list keeps its."""
    return name if day == 0 or name == PRICE_WATCH else f"{name}-{day + 1}"
