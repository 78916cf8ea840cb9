"""Small worlds for Hypothesis: few names, crowded times, so that ties, edges and repeats are frequent.

Draws are small integers turned into events by tables, which is quick to draw and shrinks well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from tests.support.pipeline import DAY_MS, START_MS

Json = dict[str, Any]

CART_TIMEOUT_MS = 600_000
CHAT_TIMEOUT_MS = 120_000
DEEP = os.environ.get("LAWS") == "deep"
"""``make laws`` looks at random, and ten times as long."""

EXAMPLES = 600 if DEEP else 60


def examples(share: float = 1.0) -> settings:
    """How long a property is tried; a failure prints the blob that repeats it."""
    return settings(
        max_examples=max(10, round(EXAMPLES * share)),
        deadline=None,
        print_blob=True,
        phases=[phase for phase in Phase if phase is not Phase.explain],  # which takes minutes here
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@cache
def world_settings(**changes: Any) -> Settings:
    """Settings with short timeouts, and stages that the days of a small world reach. Each is made once: they never change,
    and making them takes a fifth of an example."""
    days = {"stage_new": DAY_MS, "stage_cooling": DAY_MS, "stage_dormant": 2 * DAY_MS}
    values = {"cart_timeout": CART_TIMEOUT_MS, "chat_timeout": CHAT_TIMEOUT_MS, **days, **changes}
    return Settings(**values)


# Gaps: none, a pane edge, the widths of windows, and the timeouts; each exactly or a millisecond beside.
_GAPS = (0, 0, 1_000, 10_000, 60_000, CHAT_TIMEOUT_MS, 300_000, CART_TIMEOUT_MS, 3_600_000, DAY_MS)
GAPS = sorted({max(0, gap + shift) for gap in _GAPS for shift in (-1, 0, 1)})
_OFTEN = [
    "cart.updated",
    "chat.started",
    "chat.answered",
    "ticket.opened",
    "ticket.resolved",
    "email.delivered",
    "email.opened",
]
_TYPES = [*EVENT_TYPES, *_OFTEN]
_SEGMENTS = (None, "vip", "new")
_CHANNELS = (None, "web", "phone")
_CURRENCIES = (None, "EUR", "JPY")


class Draw(NamedTuple):
    """The numbers that an event is made of."""

    kind: int
    gap: int
    customer: int
    entity: int
    segment: int
    detail: int
    repeat: int


draws = st.builds(
    Draw,
    kind=st.integers(0, len(_TYPES) - 1),
    gap=st.integers(0, len(GAPS) - 1),
    customer=st.integers(0, 2),
    entity=st.integers(0, 1),
    segment=st.integers(0, len(_SEGMENTS) - 1),
    detail=st.integers(0, 11),
    repeat=st.integers(0, 5),
)


def event_of(draw: Draw, time_ms: int, event_id: str) -> Json:
    """The event that a draw stands for, at a time."""
    event_type = _TYPES[draw.kind]
    family = event_type.split(".")[0]
    event: Json = {
        "event_id": event_id,
        "event_type": event_type,
        "event_time": time_ms,
        "customer_id": f"c{draw.customer}",
    }
    if _SEGMENTS[draw.segment]:
        event["segment"] = _SEGMENTS[draw.segment]
    if family == "email":
        if draw.detail % 4 or event_type not in ("email.opted_out", "email.complained"):
            event["campaign_id"] = f"m{draw.entity}"
        if event_type in ("email.opened", "email.clicked") and draw.detail % 3 == 0:
            event["machine"] = draw.detail % 2 == 0
    else:
        event[f"{family}_id"] = f"x{draw.entity}"
        if _CHANNELS[draw.detail % 3]:
            event["channel"] = _CHANNELS[draw.detail % 3]  # unknown on a cart, thus ignored
    _add_details(event, draw.detail)
    return event


def _add_details(event: Json, detail: int) -> None:
    event_type = event["event_type"]
    if event_type in ("cart.updated", "cart.purchased") or (event_type == "cart.checkout_started" and detail):
        event["value"] = (0, 12.5, 0.1, 99.99, 3, 0.0001)[detail % 6]
        if _CURRENCIES[detail % 3]:
            event["currency"] = _CURRENCIES[detail % 3]
    if event_type == "cart.updated" and detail % 4 == 3:
        event["items"] = detail % 8 and 0
    elif event_type == "cart.updated" and detail % 4 == 2:
        event["items"] = 2
    if event_type.endswith(".rated"):
        event["rating"] = 1 + detail % 5
    if event_type in ("chat.message", "ticket.replied"):
        event["author"] = "agent" if detail % 3 else "customer"


def make_world(drawn: Sequence[Draw], disorder_ms: int, seed: int) -> list[Json]:
    """Events in order of arrival: no later than ``disorder_ms`` behind any that came before; with repeats.

    Every draw lies a gap after the one before, so that gaps of exactly a timeout are frequent.
    """
    random = Random(seed)
    now = START_MS
    events: list[Json] = []
    for number, draw in enumerate(drawn):
        now += GAPS[draw.gap]
        events.append(event_of(draw, now, f"e{number}"))
        if draw.repeat == 0:
            events.append(dict(events[-1]))
        elif draw.repeat == 1 and len(events) > 1:
            events.append(dict(events[random.randrange(len(events) - 1)]))
    times = [event["event_time"] + random.randint(0, disorder_ms) for event in events]
    order = sorted(range(len(events)), key=lambda place: times[place])
    return [events[place] for place in order]


def worlds(disorder_ms: int, size: int = 30) -> st.SearchStrategy[list[Json]]:
    """Events in order of arrival; see ``make_world``."""
    drawn = st.lists(draws, min_size=1, max_size=size)
    return st.builds(make_world, drawn, st.sampled_from([0, disorder_ms]), st.integers(0, 1 << 16))
