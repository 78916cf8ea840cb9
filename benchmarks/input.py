"""The input of the job: events in life's proportions, encoded once and kept under `.cache/bench/`.

A newsletter's hour in ten minutes: mostly deliveries, then opens and clicks of those, a few opt-outs, carts,
chats and tickets; campaigns and customers both skewed by Zipf's law. Every record is valid by CONTRACT.md, distinct
and in time. At the end each partition of every topic has one sentinel, an hour later in event time, so that an
engine that speaks when a window closes can finish. What is right for an input is in `truth.py`.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

from benchmarks.places import CACHE
from stream_app.clock import HOUR_MS, MINUTE_MS, to_rfc3339
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.sinks.partitioner import partition_of

START_MS = 1_763_800_000_000
SPAN_MS = 10 * MINUTE_MS  # within the default lateness, so that nothing is late however topics interleave
SENTINEL_MS = START_MS + SPAN_MS + HOUR_MS
SENTINEL = "sentinel"
DISORDER_MS = 5_000
EMAIL_TOPICS = tuple(topic for topic in INPUT_TOPICS if topic.startswith("email."))
_RECENT = 20_000  # an open belongs to one of so many last deliveries, a reply to one of so many last tickets
_SEGMENTS = ("new", "regular", "vip", "dormant")
_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
_SHARES = {
    "email.delivered": 700,
    "email.opened": 170,
    "email.clicked": 40,
    "email.bounced": 10,
    "email.opted_out": 3,
    "email.complained": 1,
    "cart.updated": 25,
    "cart.checkout_started": 5,
    "cart.purchased": 5,
    "chat.started": 6,
    "chat.answered": 5,
    "chat.message": 9,
    "chat.ended": 4,
    "chat.rated": 2,
    "ticket.opened": 5,
    "ticket.replied": 5,
    "ticket.resolved": 3,
    "ticket.reopened": 1,
    "ticket.rated": 1,
}
_OPENING = {
    "email": "email.delivered",
    "cart": "cart.updated",
    "chat": "chat.started",
    "ticket": "ticket.opened",
}


@dataclass(frozen=True)
class Recipe:
    """What an input is made of; the same recipe makes the same bytes."""

    records: int = 2_000_000
    campaigns: int = 1_000
    customers: int = 500_000
    partitions: int = 4
    seed: int = 20_261_122
    campaign_skew: float = 1.0
    customer_skew: float = (
        0.5  # the busiest of 500,000 customers has one event in 1,400; by 1.0 it would be one in 14
    )

    @property
    def directory(self) -> Path:
        """Where the input and its truth are kept."""
        values = (self.records, self.campaigns, self.customers, self.partitions, self.seed)
        skews = (self.campaign_skew, self.customer_skew)
        return CACHE / f"input-{'-'.join(map(str, values + skews))}"

    @property
    def sentinels(self) -> int:
        """How many records there are besides."""
        return len(INPUT_TOPICS) * self.partitions

    def file(self, topic: str, partition: int) -> Path:
        """The records of a partition, a line each: key, tab, value."""
        return self.directory / f"{topic}-{partition}.tsv"


def prepare(recipe: Recipe) -> None:
    """Write the input's files, unless they are there."""
    if recipe.directory.exists():
        return
    unfinished = recipe.directory.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with ExitStack() as stack:
        files = {
            (topic, partition): stack.enter_context(
                (unfinished / recipe.file(topic, partition).name).open("wb")
            )
            for topic in INPUT_TOPICS
            for partition in range(recipe.partitions)
        }
        for topic, customer, value in (*_lives(recipe), *_sentinels(recipe)):
            key = customer.encode()
            files[topic, partition_of(key, recipe.partitions)].write(b"%b\t%b\n" % (key, value))
    unfinished.rename(recipe.directory)


def read_records(recipe: Recipe, topic: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every record of a partition, in order of offsets."""
    with recipe.file(topic, partition).open("rb") as lines:
        for line in lines:
            key, _, value = line.rstrip(b"\n").partition(b"\t")
            yield key, value


def _lives(recipe: Recipe) -> Iterator[tuple[str, str, bytes]]:
    """Topic, customer and value of every event in order of arrival."""
    chance = random.Random(recipe.seed)
    campaigns = _zipf(recipe.campaigns, recipe.campaign_skew)
    customers = _zipf(recipe.customers, recipe.customer_skew)
    kinds = chance.choices(list(_SHARES), list(_SHARES.values()), k=recipe.records)
    recent: dict[str, list[tuple[int, int]]] = {family: [] for family in _OPENING}
    for number, kind in enumerate(kinds):
        family = kind.partition(".")[0]
        known = recent[family]
        is_opening = kind == _OPENING[family] and not (kind == "cart.updated" and number % 2)
        if is_opening or not known:
            kind = _OPENING[family]
            topic_of_mail = chance.choices(range(recipe.campaigns), cum_weights=campaigns)[0]
            about = (
                chance.choices(range(recipe.customers), cum_weights=customers)[0],
                topic_of_mail if family == "email" else number,
            )
            if len(known) < _RECENT:
                known.append(about)
            else:
                known[number % _RECENT] = about
        else:
            about = chance.choice(known)
        at = START_MS + number * SPAN_MS // recipe.records - chance.randrange(DISORDER_MS)
        customer = f"customer-{about[0]:06d}"
        extra = _fields(kind, about[1], chance)
        yield (
            EVENT_TYPES[kind].topic,
            customer,
            _encoded(kind, number, max(at, START_MS), customer, about[0], extra),
        )


def _zipf(size: int, skew: float) -> list[float]:
    """Cumulative weights of ranks by Zipf's law."""
    return list(accumulate(rank**-skew for rank in range(1, size + 1)))


def _encoded(kind: str, number: int, at_ms: int, customer: str, rank: int, extra: str) -> bytes:
    segment = _SEGMENTS[rank % len(_SEGMENTS)]
    identity = f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}{number:016x}"
    return (
        f'{{"event_id":"{identity}","event_type":"{kind}","event_time":"{to_rfc3339(at_ms)}",'
        f'"customer_id":"{customer}","segment":"{segment}",{extra}}}'
    ).encode()


def _fields(kind: str, about: int, chance: random.Random) -> str:
    """What the type bears besides, as JSON members."""
    family = kind.partition(".")[0]
    if family == "email":
        return f'"campaign_id":"campaign-{about:04d}",{_mail_fields(kind, about, chance)}'
    members = [f'"{family}_id":"{family}-{about:012d}"']
    if family == "cart":
        members += [f'"value":{chance.randrange(500, 20_000) / 100}', '"currency":"EUR"']
    else:
        members.append(f'"channel":"{chance.choice(("web", "phone", "social"))}"')
    if kind in ("chat.message", "ticket.replied"):
        members.append(f'"author":"{chance.choice(("customer", "agent"))}"')
    if kind.endswith(".rated"):
        members.append(f'"rating":{chance.randrange(1, 6)}')
    return ",".join([*members, '"page":"https://shop.example.org/help/orders/returns"'])


def _mail_fields(kind: str, about: int, chance: random.Random) -> str:
    machine = ',"machine":true' if chance.random() < 0.1 else ""
    if kind == "email.opened":
        return f'"user_agent":"{_AGENT}"{machine}'
    if kind == "email.clicked":
        return f'"link_url":"https://shop.example.org/offers/{about}?from=mail"{machine}'
    return f'"message_id":"<{chance.getrandbits(64):016x}@mail.example.org>"'


_SENTINELS = {
    "email.deliveries": ("email.delivered", ""),
    "email.opens": ("email.opened", ""),
    "email.clicks": ("email.clicked", ""),
    "email.optouts": ("email.opted_out", ""),
    "chats": ("chat.message", ',"chat_id":"sentinel","author":"customer"'),
    "carts": ("cart.checkout_started", ',"cart_id":"sentinel"'),
    "tickets": ("ticket.rated", ',"ticket_id":"sentinel","rating":3'),
}


def _sentinels(recipe: Recipe) -> Iterator[tuple[str, str, bytes]]:
    """One record for each partition of every topic, an hour after all others."""
    for partition in range(recipe.partitions):
        names = (f"sentinel-{number}" for number in count())
        customer = next(name for name in names if partition_of(name.encode(), recipe.partitions) == partition)
        for topic, (kind, extra) in _SENTINELS.items():
            fields = f'"campaign_id":"{SENTINEL}"{extra}'
            number = recipe.records + partition
            yield topic, customer, _encoded(kind, number, SENTINEL_MS, customer, partition, fields)
