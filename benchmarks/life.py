"""Life for the benches of our own system: mail, carts, chats and tickets of a population of any size, by a seed.

Stands at the start of those benches. Events come as plain objects without an id and a time, which whoever sends them
adds; the last field of each is the id of what it belongs to, so that it can be made unique as well. ``expected``
counts them anew, on its own, so that what the system shows can be held against it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

SEED = 20_261_122
READER = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
)
SEGMENTS = ("new", "regular", "vip")
COUNT_OF = {
    "email.delivered": "deliveries",
    "email.bounced": "bounces",
    "email.opened": "opens",
    "email.clicked": "clicks",
    "chat.started": "chats_started",
    "ticket.opened": "tickets_opened",
    "cart.purchased": "carts_purchased",
}
UNIQUE_OF = {"email.opened": "unique_opens", "email.clicked": "unique_clicks", "email.opted_out": "optouts"}

Json = dict[str, Any]
Story = list[tuple[int, Json]]
"""How many events later each event of a story comes."""
Counts = dict[str, Counter[str]]
"""Totals by ``dimension:key``."""


@dataclass(frozen=True)
class Population:
    """Who there is; ``stem`` keeps the names of several populations apart."""

    customers: int
    campaigns: int
    stem: str = ""

    def customer(self, number: int) -> Json:
        """What each event of a customer bears."""
        return {
            "customer_id": f"{self.stem}customer-{number:07d}",
            "segment": SEGMENTS[number % len(SEGMENTS)],
        }

    def campaign(self, number: int) -> str:
        """The name of a campaign."""
        return f"{self.stem}campaign-{number:05d}"

    def any_campaign(self, chance: random.Random) -> str:
        """A campaign, by Zipf: the second has half as much as the first, the third a third."""
        return self.campaign(int(self.campaigns ** chance.random()) - 1)


def life(population: Population, seed: int = SEED) -> Iterator[Json]:
    """Events without end in order of arrival: some customers are far busier than others."""
    chance = random.Random(seed)
    waiting: list[tuple[int, int, Json]] = []
    names = itertools.count()
    for position in itertools.count():
        if not waiting or waiting[0][0] > position:
            (tell,) = chance.choices(list(_STORIES), list(_STORIES.values()))
            person = population.customer(int(population.customers * chance.random() ** 2))
            for delay, event in tell(person, population, chance, next(names)):
                heappush(waiting, (position + delay, next(names), event))
        yield heappop(waiting)[2]


def first_visits(population: Population, seed: int = SEED) -> Iterator[Json]:
    """Each customer once: a mail for everyone, of one campaign after the other, and for some a cart, a chat or a
    ticket."""
    chance = random.Random(seed)
    for number in range(population.customers):
        person = population.customer(number)
        campaign = population.campaign(number * population.campaigns // population.customers)
        stories = [_letter(person, campaign, chance, number)]
        for every, tell in ((8, _cart), (12, _chat), (16, _ticket)):
            if number % every == 0:
                stories.append(tell(person, population, chance, number))
        for _, event in itertools.chain.from_iterable(stories):
            yield event


def expected(pool: Sequence[Json], sent: int) -> Counts:
    """What must have been counted when so many events of a pool were sent, round and round: for each campaign, and
    for ``all:all``."""
    counts: Counts = defaultdict(Counter)
    unique: dict[str, set[tuple[str, str]]] = defaultdict(set)
    rounds, rest = divmod(sent, len(pool))
    for place, event in enumerate(pool[:sent]):
        kind, campaign = event["event_type"], event.get("campaign_id")
        keys = ["all:all", f"campaign:{campaign}"] if campaign else ["all:all"]
        if kind in COUNT_OF:
            for key in keys:
                counts[key][COUNT_OF[kind]] += rounds + (place < rest)
        if kind in UNIQUE_OF and (who := (str(campaign), event["customer_id"])) not in unique[kind]:
            unique[kind].add(who)
            for key in keys:
                counts[key][UNIQUE_OF[kind]] += 1
    return counts


def _mail(person: Json, population: Population, chance: random.Random, number: int) -> Story:
    return _letter(person, population.any_campaign(chance), chance, number)


def _letter(person: Json, campaign: str, chance: random.Random, number: int) -> Story:
    def event(kind: str, **fields: Any) -> Json:
        given = {"event_type": kind, **person, "campaign_id": campaign, **fields}
        return {**given, "sender": "letters@shop.example", "message_id": f"message-{number}"}

    if chance.random() < 0.01:
        return [(0, event("email.bounced"))]
    story = [(0, event("email.delivered", subject="What is new in the shop this week"))]
    if chance.random() < 0.3:
        story.append((chance.randrange(1, 5_000), event("email.opened", user_agent=READER)))
    if chance.random() < 0.06:
        link = "https://shop.example/offers"
        # Time is pressed together here: without its sender's word a click would come too soon for a person's.
        fields: Json = {"link_url": link, "user_agent": READER, "machine": False}
        story.append((chance.randrange(1, 5_000), event("email.clicked", **fields)))
    if chance.random() < 0.001:
        story.append((chance.randrange(1, 5_000), event("email.opted_out")))
    return story


def _cart(person: Json, population: Population, chance: random.Random, number: int) -> Story:
    event = _events_of(person, "cart_id", number)
    money: Json = {"value": round(chance.uniform(5, 200), 2), "currency": "EUR"}
    story = [(0, event("cart.updated", items=chance.randrange(1, 6), **money))]
    if chance.random() < 0.4:
        story.append((chance.randrange(1, 5_000), event("cart.purchased", **money)))
    return story


def _chat(person: Json, population: Population, chance: random.Random, number: int) -> Story:
    event = _events_of(person, "chat_id", number)
    web: Json = {"channel": "web"}
    return [
        (0, event("chat.started", **web)),
        (5, event("chat.message", **web, author="customer")),
        (chance.randrange(6, 2_000), event("chat.answered", **web)),
        (2_000, event("chat.ended", **web)),
    ]


def _ticket(person: Json, population: Population, chance: random.Random, number: int) -> Story:
    event = _events_of(person, "ticket_id", number)
    case: Json = {"channel": "phone"}
    return [
        (0, event("ticket.opened", **case)),
        (chance.randrange(1, 5_000), event("ticket.replied", **case, author="agent")),
        (5_000, event("ticket.resolved", **case)),
    ]


def _events_of(person: Json, name: str, number: int) -> Callable[..., Json]:
    def event(kind: str, **fields: Any) -> Json:
        return {"event_type": kind, **person, **fields, name: f"{name}-{number}"}

    return event


_STORIES: dict[Callable[..., Story], int] = {_mail: 84, _cart: 8, _chat: 5, _ticket: 3}
