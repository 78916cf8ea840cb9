"""What the limits decode: the few fields that the job needs, and how far they have come."""

from __future__ import annotations

import os
import time

import msgspec
import redis

SECONDS_BETWEEN_NOTES = 0.1
TOPICS = (
    "email.deliveries",
    "email.opens",
    "email.clicks",
    "email.optouts",
    "chats",
    "carts",
    "tickets",
)


class Narrow(msgspec.Struct):
    """The fields of the job; the others are passed over."""

    event_time: str
    campaign_id: str | None = None


decode = msgspec.json.Decoder(Narrow).decode


def topics() -> list[str]:
    """The full names of the input topics."""
    return [os.environ["BENCH_PREFIX"] + topic for topic in TOPICS]


class Notes:
    """Tells the bench through Redis how many records were read, ten times a second."""

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(os.environ["BENCH_REDIS"])
        self._key = f"bench:{os.environ['BENCH_GROUP']}"
        self._due = 0.0
        self._told = 0

    def tell(self, records: int) -> None:
        now = time.monotonic()
        if records != self._told and now >= self._due:
            self._client.set(self._key, records)
            self._due, self._told = now + SECONDS_BETWEEN_NOTES, records
