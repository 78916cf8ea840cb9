"""Hostile records of all kinds, repeated by a seed, for the unit test of decoding and the chaos test.

``hostile_kinds.py`` says which kinds there are and what must become of each.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from stream_app.ingest.decode import Reason
from tests.support.hostile_kinds import KINDS, Good, Headers, Json, Kind

HEAVY_EVERY = 16
"""A heavy kind comes once in so many rounds through all kinds."""


@dataclass(frozen=True)
class Hostile:
    """A hostile record; ``counts`` is the event it counts as, or None if it must become a dead letter."""

    kind: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: Reason | None
    counts: Json | None


class Hostility:
    """Hostile records of all kinds, repeated by the seed.

    The events they are bent from happened at ``at_ms``; ``clock_ms`` is the time by the clock, for what is to lie
    in the future. Customers have null bytes and other letters in their names.
    """

    def __init__(self, seed: int, at_ms: int, clock_ms: int) -> None:
        self._chance = random.Random(seed)
        self._at_ms = at_ms
        self._clock_ms = clock_ms
        self._made = 0

    def one(self, kind: Kind) -> Hostile:
        """A record of a kind."""
        event = self._event(self._chance.choice(kind.of))
        good = Good(event, self._chance, self._clock_ms)
        return Hostile(
            kind.name,
            kind.topic(good),
            kind.key(good),
            kind.value(good),
            kind.headers(good),
            kind.reason,
            event if kind.reason is None else None,
        )

    def records(self, count: int) -> Iterator[Hostile]:
        """So many records: round after round through all kinds, each in another order."""
        end, number = self._made + count, 0
        while self._made < end:
            kinds = [kind for kind in KINDS if number % HEAVY_EVERY == 0 or not kind.is_heavy]
            self._chance.shuffle(kinds)
            yield from (self.one(kind) for kind in kinds[: end - self._made])
            number += 1

    def _event(self, event_type: str) -> Json:
        self._made += 1
        number = self._made
        return {
            "event_id": f"hostile-{number}",
            "event_type": event_type,
            "event_time": self._at_ms + number,
            "customer_id": f"c{self._chance.choice(['', chr(0), 'é', '☃ '])}{number % 50}",
            "campaign_id": "hostile",
            "segment": self._chance.choice(["a\0b", "\u202e", "ñ:*[", None]),
            "chat_id": f"chat-{number % 90}",
            "cart_id": f"cart-{number % 90}",
            "ticket_id": f"ticket-{number % 90}",
            "value": number % 40 + 0.5,
            "author": "customer",
            "rating": number % 5 + 1,
        }
