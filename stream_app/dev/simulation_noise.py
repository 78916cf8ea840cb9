"""What real senders add: events that are underway for a while, duplicates, and records that are wrong.

A part of the simulator; pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.dev.simulation_story import BAD_RECORDS_AN_HOUR, LIVELINESS
from stream_app.dev.simulation_world import World
from stream_app.ingest.decode import Reason
from stream_app.ingest.topics import CARTS, CHATS, EMAIL_CLICKS, EMAIL_OPENS, TICKETS

DUPLICATES = 0.01
LONGEST_UNDERWAY_MS = MINUTE_MS
USUALLY_UNDERWAY_MS = 4 * SECOND_MS
LATE_BY_MS = 8 * HOUR_MS
AHEAD_BY_MS = 400 * DAY_MS
"""A device whose calendar is wrong; further ahead than any start of a demo lies back."""


class BadRecord(NamedTuple):
    """A record that must end in the dead letters, and why."""

    time_ms: int
    topic: str
    key: bytes
    value: bytes
    reason: Reason


def underway(world: World) -> int:
    """How long an event takes to arrive: seconds as a rule, a minute at most."""
    return min(world.around(USUALLY_UNDERWAY_MS, 1.0), LONGEST_UNDERWAY_MS)


def duplicate_delay(world: World) -> int | None:
    """After what time an event is sent once more; None for most, which are not."""
    if not world.chance(DUPLICATES):
        return None
    return world.between(SECOND_MS, LONGEST_UNDERWAY_MS)


def bad_records(world: World, begin_ms: int) -> Iterator[BadRecord]:
    """The wrong records of the hour that begins, few of them, of all kinds."""
    lively = LIVELINESS[begin_ms % DAY_MS // HOUR_MS]
    end_ms = (begin_ms // HOUR_MS + 1) * HOUR_MS
    for _ in range(round(BAD_RECORDS_AN_HOUR * lively)):
        yield _bad_record(world, world.between(begin_ms, end_ms - 1))


def _bad_record(world: World, time_ms: int) -> BadRecord:
    person = world.shopper()
    key = person.name.encode()
    event: dict[str, Any] = {
        "event_id": f"b{world.number():08d}",
        "event_type": "email.opened",
        "event_time": to_rfc3339(time_ms),
        "customer_id": person.name,
        "campaign_id": "spring-sale",
    }
    reason = world.dice.choice((*_MISTAKES, Reason.INVALID_JSON))
    if reason is Reason.INVALID_JSON:
        return BadRecord(time_ms, TICKETS, key, orjson.dumps(event)[:-20], reason)
    topic, changes = _MISTAKES[reason]
    event |= changes
    if reason is Reason.LATE:
        event["event_time"] = to_rfc3339(time_ms - LATE_BY_MS)
    elif reason is Reason.FUTURE:
        event["event_time"] = to_rfc3339(time_ms + AHEAD_BY_MS)
    elif reason is Reason.KEY_MISMATCH:
        key = b""
    return BadRecord(time_ms, topic, key, orjson.dumps(event), reason)


_MISTAKES: dict[Reason, tuple[str, dict[str, Any]]] = {
    Reason.UNKNOWN_TYPE: (CHATS, {"event_type": "chat.typing"}),
    Reason.INVALID_EVENT: (CARTS, {"event_type": "cart.updated", "cart_id": "cart-0", "value": "free"}),
    Reason.KEY_MISMATCH: (EMAIL_CLICKS, {"event_type": "email.clicked"}),
    Reason.LATE: (EMAIL_OPENS, {}),
    Reason.FUTURE: (EMAIL_OPENS, {}),
}
"""What is wrong with each kind, and on which topic it shows; broken JSON is cut off."""
