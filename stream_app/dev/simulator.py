"""Simulated traffic that looks like life: the events of a shop, in the order in which they arrive.

    for arrival in simulate(seed=7, start_ms=start, end_ms=start + DAY_MS):
        ...  # arrival.topic, arrival.key, arrival.value, due at arrival.time_ms

Stands before the flow, in `stream-app demo` (`demo.py`) and in tests. Pure: no clock, and the same seed and
start give the same events; the end only says where to stop. The parts: `simulation_story.py` is what happens,
as data; `simulation_world.py` the people; `simulation_mail.py` and `simulation_service.py` turn the story into
events; `simulation_noise.py` adds what real senders add: events underway for a while, duplicates, mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

import orjson

from stream_app.clock import DAY_MS, HOUR_MS, to_rfc3339
from stream_app.dev.simulation_mail import sending
from stream_app.dev.simulation_noise import bad_records, duplicate_delay, underway
from stream_app.dev.simulation_service import cart, chat, ticket
from stream_app.dev.simulation_story import (
    ADAS_DAY,
    CAMPAIGNS,
    CARTS_AN_HOUR,
    CHATS_AN_HOUR,
    LIVELINESS,
    TICKETS_AN_HOUR,
    Deed,
    campaign_on,
)
from stream_app.dev.simulation_world import Happening, Person, World, at_hour, create_world
from stream_app.ingest.decode import Reason
from stream_app.ingest.events import EVENT_TYPES

_TIMES_AS_NUMBERS = "cart."
"""Carts tell times in milliseconds, all others as text: both are accepted, so both are shown."""


class Arrival(NamedTuple):
    """A record that reaches a topic (named without the prefix) at a time. ``refused`` is why it should end in
    the dead letters; None for a good one. ``repeated`` says that it was sent before."""

    time_ms: int
    topic: str
    key: bytes
    value: bytes
    refused: Reason | None = None
    repeated: bool = False


def simulate(seed: int, start_ms: int, end_ms: int) -> Iterator[Arrival]:
    """All records that arrive from ``start_ms`` to before ``end_ms``, in order of arrival.

    The story of a day is told in its own hours (UTC); what would have happened before the start has not.
    """
    world = create_world(seed)
    waiting: list[tuple[int, int, Arrival]] = []
    number = 0
    for hour_ms in range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS):
        for arrival in _arrivals(world, start_ms, hour_ms):
            number += 1
            heappush(waiting, (arrival.time_ms, number, arrival))
        # Nothing that begins in a later hour can arrive before that hour.
        until_ms = min(hour_ms + HOUR_MS, end_ms)
        while waiting and waiting[0][0] < until_ms:
            yield heappop(waiting)[2]


def _arrivals(world: World, start_ms: int, hour_ms: int) -> Iterator[Arrival]:
    """The records of everything that begins in an hour, in no order."""
    for happening in _happenings(world, start_ms, hour_ms):
        if happening.time_ms < start_ms:
            continue
        time_ms = happening.time_ms + underway(world)
        topic = EVENT_TYPES[happening.event_type].topic
        arrival = Arrival(time_ms, topic, happening.person.name.encode(), _encoded(world, happening))
        yield arrival
        delay_ms = duplicate_delay(world)
        if delay_ms is not None:
            yield arrival._replace(time_ms=time_ms + delay_ms, repeated=True)
    for bad in bad_records(world, max(start_ms, hour_ms)):
        yield Arrival(bad.time_ms, bad.topic, bad.key, bad.value, bad.reason)


def _happenings(world: World, start_ms: int, hour_ms: int) -> Iterator[Happening]:
    """Everything that begins in an hour, each thing to its end."""
    day_ms = hour_ms // DAY_MS * DAY_MS
    day = (day_ms - start_ms // DAY_MS * DAY_MS) // DAY_MS
    for campaign in CAMPAIGNS:
        if hour_ms <= at_hour(day_ms, campaign.at) < hour_ms + HOUR_MS:
            yield from sending(world, campaign, day_ms, day)
    for deed in ADAS_DAY:
        if hour_ms <= at_hour(day_ms, deed.at) < hour_ms + HOUR_MS:
            yield _done(world, deed, day_ms, day)
    yield from _begun(world, hour_ms, CARTS_AN_HOUR, cart)
    yield from _begun(world, hour_ms, CHATS_AN_HOUR, chat)
    yield from _begun(world, hour_ms, TICKETS_AN_HOUR, ticket)


def _begun(
    world: World,
    hour_ms: int,
    an_hour: int,
    kind: Callable[[World, Person, int], Iterator[Happening]],
) -> Iterator[Happening]:
    """Carts, chats or tickets that begin in an hour, as many as the hour is lively."""
    lively = LIVELINESS[hour_ms % DAY_MS // HOUR_MS]
    for _ in range(round(an_hour * lively * world.dice.uniform(0.9, 1.1))):
        yield from kind(world, world.shopper(), hour_ms + world.between(0, HOUR_MS - 1))


def _done(world: World, deed: Deed, day_ms: int, day: int) -> Happening:
    """One of Ada's deeds; her carts and tickets, and the campaigns, are each day's own."""
    fields = dict(deed.fields)
    for name in ("ticket_id", "cart_id", "campaign_id"):
        if name in fields:
            fields[name] = campaign_on(str(fields[name]), day)
    return Happening(at_hour(day_ms, deed.at), deed.event_type, world.ada, fields)


def _encoded(world: World, happening: Happening) -> bytes:
    as_number = happening.event_type.startswith(_TIMES_AS_NUMBERS)
    event = {
        "event_id": f"e{world.number():08d}",
        "event_type": happening.event_type,
        "event_time": happening.time_ms if as_number else to_rfc3339(happening.time_ms),
        "customer_id": happening.person.name,
        "segment": happening.person.segment,
        **happening.fields,
    }
    return orjson.dumps(event)
