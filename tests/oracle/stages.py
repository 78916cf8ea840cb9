"""The stages of customers, by looking at all days of each customer at once.

Days are UTC, by their number since 1970. A day is over a minute after its end; then a customer who was seen on it or
before is at one stage, and counts there from the beginning of the next day on. Everything here is a definition:

- A customer's events fall into *lives*: one ends when no event came for the retention, in whole days, and the next event
  begins another, of which nothing before it is known.
- *Left*: opted out or complained in this life, up to the day.
- Else by *silence*: the days since the last engagement, or since the first day of the life. An engagement is a purchase,
  an open by a person, or a click that nothing speaks against.
- *Returned* where an engagement less than ``stage_new`` ago ended a silence that had made the customer dormant.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.oracle.events import Event, Settings
from tests.oracle.windows import ALL, Key, Result

DAY_MS = 86_400_000
MINUTE_MS = 60_000


class _Life(NamedTuple):
    """What there was of a customer from their first event to their last: the events, and the days of some of them."""

    events: list[Event]
    seen: list[int]
    engaged: list[int]
    left: list[int]


def count_stages(
    events: Iterable[Event], engagements: list[Event], settings: Settings, now: int, result: Result
) -> None:
    """Count the stages of one shard's customers, over the days that the watermark has left behind."""
    last_day = (now - MINUTE_MS) // DAY_MS - 1
    engaged_on: defaultdict[str, set[int]] = defaultdict(set)
    for event in engagements:
        engaged_on[event.customer].add(event.time // DAY_MS)
    of_customer: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        of_customer[event.customer].append(event)
    for customer, own in of_customer.items():
        for life in _lives(own, engaged_on[customer], settings):
            _count_life(life, settings, last_day, result)


def _lives(events: list[Event], engaged_on: set[int], settings: Settings) -> list[_Life]:
    parts: list[list[Event]] = []
    for event in events:
        day = event.time // DAY_MS
        if not parts or (day - 1 - parts[-1][-1].time // DAY_MS) * DAY_MS >= settings.retention_ms:
            parts.append([])
        parts[-1].append(event)
    lives = []
    for part in parts:
        seen = sorted({event.time // DAY_MS for event in part})
        leaving = {e.time // DAY_MS for e in part if e.type in ("email.opted_out", "email.complained")}
        lives.append(_Life(part, seen, [day for day in seen if day in engaged_on], sorted(leaving)))
    return lives


def _count_life(life: _Life, settings: Settings, last_day: int, result: Result) -> None:
    """Count every move of a life: where a day's end found the customer elsewhere than the last one."""
    spans = (
        settings.stage_new_ms,
        settings.stage_cooling_ms,
        settings.stage_dormant_ms,
        settings.retention_ms,
    )
    turning = {day + -(-span // DAY_MS) for day in life.seen for span in (0, *spans)}
    before: tuple[str | None, str | None] = (None, None)
    for day in sorted(turning):
        if day > last_day:
            return
        now = (_stage(life, day, settings), _segment(life, day))
        if now == before:
            continue
        time = (day + 1) * DAY_MS
        if before[0]:
            result.add(_keys(before[1]), time, f"stage_{before[0]}", -1)
        if now[0] is None:
            return
        result.add(_keys(now[1]), time, f"stage_{now[0]}")
        if now[0] != before[0]:
            result.add(_keys(now[1]), time, f"became_{now[0]}")
        before = now


def _stage(life: _Life, day: int, settings: Settings) -> str | None:
    """The stage at the end of a day; None for who was forgotten by then."""
    seen = [one for one in life.seen if one <= day]
    if (day - seen[-1]) * DAY_MS >= settings.retention_ms:
        return None
    if any(one <= day for one in life.left):
        return "left"
    engaged = [one for one in life.engaged if one <= day]
    silence_ms = (day - (engaged[-1] if engaged else seen[0])) * DAY_MS
    if silence_ms >= settings.stage_dormant_ms:
        return "dormant"
    if silence_ms >= settings.stage_cooling_ms:
        return "cooling"
    for earlier, later in zip([seen[0], *engaged], engaged, strict=False):
        was_dormant = (later - 1 - earlier) * DAY_MS >= settings.stage_dormant_ms
        if was_dormant and (day - later) * DAY_MS < settings.stage_new_ms:
            return "returned"
    return "new" if (day - seen[0]) * DAY_MS < settings.stage_new_ms else "active"


def _segment(life: _Life, day: int) -> str | None:
    """The segment of the latest event that bears one, up to a day; of two at the same time, the later name's."""
    borne = [
        (event.time, event.text("segment") or "")
        for event in life.events
        if event.time < (day + 1) * DAY_MS and event.text("segment")
    ]
    return max(borne)[1] if borne else None


def _keys(segment: str | None) -> list[Key]:
    return [ALL] if segment is None else [ALL, ("segment", segment)]
