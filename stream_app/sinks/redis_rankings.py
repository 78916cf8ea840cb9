"""The customers at risk in Redis: one ranking of all, and one of each segment, kept free of who no longer belongs.

Stands beside the view, which writes what ``redis_commands`` says of a customer. Where this worker has ranked each customer
is remembered here, because only so can one who has come to another segment be taken out of the last. CONTRACT, section 3;
docs/churn.md says how marketing reads them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from redis.exceptions import ResponseError

from stream_app.sinks.redis_commands import Command, CustomerRisk, ranked_segments, ranking, text_of

logger = logging.getLogger(__name__)

Owns = Callable[[str, str], bool]
"""Whether this worker is responsible for a key of a dimension (``customer`` for customers)."""
Refused = Callable[[Command, ResponseError], None]
"""Takes note of a command that Redis has refused."""

_READ_AT_ONCE = 1000


class Rankings:
    """Where this worker has ranked each customer at risk since the last refill."""

    def __init__(self, prefix: str, owns: Owns, refused: Refused) -> None:
        self._prefix = prefix
        self._owns = owns
        self._refused = refused
        self._ranked: dict[str, str | None] = {}
        """The segment of each customer at risk."""

    def begin_anew(self) -> None:
        """A refill begins, which ranks everyone again."""
        self._ranked.clear()

    def leave(self, risk: CustomerRisk) -> Iterator[Command]:
        """What takes a customer, who is about to be ranked or is at risk no longer, out of the ranking of another
        segment."""
        before = self._ranked.pop(risk.customer_id, None)
        if before and (risk.band is None or risk.segment != before):
            yield "ZREM", ranking(self._prefix, before), risk.customer_id
        if risk.band is not None:
            self._ranked[risk.customer_id] = risk.segment

    async def stale(self, client: Any) -> list[Command]:
        """What takes customers of this worker out of where they are not ranked, and out of all rankings what cannot be
        read. To be asked at the end of a refill."""
        commands: list[Command] = []
        async for member in self._misplaced(client, None):
            commands.append(("ZREM", ranking(self._prefix), member))
            commands.append(("DEL", f"{self._prefix}customer:".encode() + member))
        for segment in await self._segments(client):
            key = ranking(self._prefix, segment)
            commands += [("ZREM", key, member) async for member in self._misplaced(client, segment)]
        return commands

    async def _misplaced(self, client: Any, segment: str | None) -> AsyncIterator[bytes]:
        """The members that are not to be in the ranking of a segment, or of all."""
        key = ranking(self._prefix, segment)
        unreadable: list[bytes] = []
        try:
            async for member, _ in client.zscan_iter(key, count=_READ_AT_ONCE):
                customer_id = text_of(member)
                if customer_id is None:
                    unreadable.append(member)
                    yield member
                    continue
                if customer_id in self._ranked:
                    is_misplaced = segment is not None and self._ranked[customer_id] != segment
                else:
                    is_misplaced = self._owns("customer", customer_id)
                if is_misplaced:
                    yield member
        except ResponseError as problem:
            self._refused(("ZSCAN", key), problem)
        tell_unreadable(key, unreadable)

    async def _segments(self, client: Any) -> list[str]:
        """The segments that have, or had, a ranking."""
        key = ranked_segments(self._prefix)
        try:
            members = await client.smembers(key)
        except ResponseError as problem:
            self._refused(("SMEMBERS", key), problem)
            return []
        return sorted(segment for segment in map(text_of, members) if segment)


def tell_unreadable(key: str, unreadable: list[bytes]) -> None:
    """Say what somebody else has left at a key."""
    if unreadable:
        logger.warning(
            "Redis: in %s, %d that cannot be read are removed; the first: %r",
            *(key, len(unreadable), unreadable[0]),
        )
