"""The events that `benchmarks.pure_path` reads: a day's traffic in life's proportions, made with a fixed seed."""

from __future__ import annotations

import random
from typing import Any

import orjson

from stream_app.ingest.dead_letter import Record
from stream_app.ingest.events import EVENT_TYPES

SEED = 20_261_122
START_MS = 1_763_800_000_000
STEP_MS = 40
CUSTOMERS = 50_000
CAMPAIGNS = 100
SEGMENTS = ("new", "regular", "vip")
_SHARES = {
    "email.delivered": 60,
    "email.opened": 18,
    "email.clicked": 4,
    "email.opted_out": 1,
    "chat.started": 2,
    "chat.message": 5,
    "cart.updated": 6,
    "cart.purchased": 1,
    "ticket.opened": 1,
    "ticket.replied": 1,
    "ticket.resolved": 1,
}


def newsletter_day(events: int, batch: int) -> list[tuple[str, list[Record]]]:
    """Batches by topic, in order of arrival; every event is valid, distinct and in time."""
    chance = random.Random(SEED)
    offsets: dict[str, int] = {}
    open_batches: dict[str, list[Record]] = {}
    batches: list[tuple[str, list[Record]]] = []
    kinds = chance.choices(list(_SHARES), list(_SHARES.values()), k=events)
    for number, kind in enumerate(kinds):
        event = _event(kind, number, chance)
        topic = EVENT_TYPES[kind].topic
        offset = offsets.get(topic, 0)
        offsets[topic] = offset + 1
        records = open_batches.setdefault(topic, [])
        records.append(Record(offset, event["customer_id"].encode(), orjson.dumps(event)))
        if len(records) == batch:
            batches.append((topic, open_batches.pop(topic)))
    return batches + list(open_batches.items())


def _event(kind: str, number: int, chance: random.Random) -> dict[str, Any]:
    customer = int(CUSTOMERS * chance.random() ** 2)  # some are far busier than others
    event: dict[str, Any] = {
        "event_id": f"{kind}-{number:012d}",
        "event_type": kind,
        "event_time": START_MS + number * STEP_MS,
        "customer_id": f"customer-{customer}",
        "segment": SEGMENTS[customer % len(SEGMENTS)],
    }
    family = kind.partition(".")[0]
    if family == "email":
        event["campaign_id"] = f"campaign-{int(CAMPAIGNS * chance.random() ** 2)}"
    elif family == "cart":
        event |= {"cart_id": f"cart-{customer}", "value": round(chance.uniform(5, 200), 2), "currency": "EUR"}
    else:
        event |= {f"{family}_id": f"{family}-{customer}-{number // 1000}", "channel": "web"}
    if kind in ("chat.message", "ticket.replied"):
        event["author"] = chance.choice(("customer", "agent"))
    return event
