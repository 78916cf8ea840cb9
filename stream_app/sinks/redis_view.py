"""The view in Redis: what dashboards and marketing tools read. See CONTRACT, section 3.

Stands at the edge. Only newest values are kept until they are written, so a slow or absent Redis costs
neither memory nor counting. With every writing, and about once a second, this worker's marker is counted on:
when Redis does not hold the count written last, it was emptied or comes from an old dump, and everything is
written anew from what the worker holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from typing import Any, Protocol
from uuid import uuid4

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from stream_app.clock import monotonic_seconds, now_ms
from stream_app.lease import Lease
from stream_app.metrics.snapshots import Snapshot
from stream_app.settings import Settings
from stream_app.sinks.connections import pack_in_c, redis_options
from stream_app.sinks.redis_commands import (
    EXPIRY_SECONDS,
    STREAM_LENGTH,
    Command,
    CustomerRisk,
    FiringAlert,
    Item,
    commands_of,
    has_run_empty,
    identity,
    place_of_alert,
    snapshot_fields,
    stream_entry,
    trims,
    type_of,
)
from stream_app.sinks.redis_rankings import Owns, Rankings, tell_unreadable

__all__ = [
    "EXPIRY_SECONDS",
    "STREAM_LENGTH",
    "CustomerRisk",
    "FiringAlert",
    "Owns",
    "RedisView",
    "Refill",
    "View",
    "snapshot_fields",
]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_CHECK_SECONDS = 1.0
_COMMANDS_AT_ONCE = 200
_BETWEEN_NEWER_SECONDS = 0.1  # amid a refill, which would not come to its end otherwise
_ENTRIES_AT_ONCE = 50  # so many are added twice at most, when a confirmation is lost
_MARKER_SECONDS = 3600
_WRONG_TYPE = "WRONGTYPE"


Refill = Callable[[], AsyncIterator[Snapshot | FiringAlert | CustomerRisk | None]]
"""Everything that this worker holds, perhaps as it was when the refill began; None where the next takes a while."""
Also = Callable[[int], list[Command]]
"""What else is to be written at a time of the clock, in milliseconds."""


class View(Protocol):
    """Where the newest values are shown."""

    def show(self, item: Snapshot | FiringAlert | CustomerRisk) -> None:
        """Show a newer value."""

    def tell(self, data: bytes) -> None:
        """Tell a change of an alert."""


class RedisView:
    """Writes snapshots, alerts and customers to Redis, in the background."""

    def __init__(
        self, settings: Settings, lease: Lease, refill: Refill, owns: Owns, also: Also = lambda clock_ms: []
    ) -> None:
        self._prefix = settings.redis_prefix
        self._options = redis_options(settings)
        self._lease = lease
        self._refill = refill
        self._owns = owns
        self._also = also
        self._waiting: dict[str, Snapshot | FiringAlert | CustomerRisk] = {}
        self._stream: list[bytes] = []
        self._refused: dict[str, str] = {}  # key → the type that it must have
        self._rankings = Rankings(
            self._prefix, owns, lambda command, problem: self._note_refused([command], [problem])
        )
        self._wake = asyncio.Event()
        self._must_refill = True
        self._firing: set[str] = set()
        """The alerts that were shown as firing since the last refill began."""
        self._marker = f"{self._prefix}view:{uuid4().hex}"
        self._count = 0
        self._noted = ""
        self.errors = 0  # rounds of writing that failed
        self.available: bool | None = None

    def show(self, item: Snapshot | FiringAlert | CustomerRisk) -> None:
        """Show a newer value; an older one not yet written is dropped."""
        if not self._must_refill:  # a refill will write it
            self._waiting[identity(item)] = item
        self._wake.set()

    def tell(self, data: bytes) -> None:
        """Append a change of an alert to the stream."""
        self._stream.append(data)
        del self._stream[:-STREAM_LENGTH]
        self._wake.set()

    def refill_soon(self) -> None:
        """Write everything anew, as after other partitions have come to this worker."""
        self._must_refill = True
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; never raises for Redis's sake."""
        once = Retry(NoBackoff(), 0)  # it is tried again here, and what was lost meanwhile is written anew
        client = redis.Redis.from_url(**self._options, socket_timeout=5, socket_connect_timeout=5, retry=once)
        pack_in_c(client)
        task = asyncio.current_task()
        try:
            # The client can turn a cancellation that comes amid a command into a time-out, so the task is asked.
            while task is None or not task.cancelling():
                try:
                    await self._write_out(client)
                    self._note_available()
                    await self._pause_until_woken()
                except (RedisError, OSError, TimeoutError) as problem:
                    self._note_problem(problem)
                    self._must_refill = True
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            await client.aclose()

    async def _pause_until_woken(self) -> None:
        if self._must_refill:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._wake.wait()

    async def _write_out(self, client: Any) -> None:
        """One round. What is taken out of waiting and cannot be written is written by the refill that follows."""
        if self._refused:
            await self._look_at_refused(client)
        if self._must_refill:
            await self._write_everything(client)
        await self._write_newer(client)

    async def _write_newer(self, client: Any) -> Set[str]:
        """Write what has come since the last time; returns the identities."""
        self._wake.clear()
        waiting, self._waiting = self._waiting, {}
        clock_ms = now_ms()
        items = waiting.values()
        dimensions = sorted({item.dimension for item in items if isinstance(item, Snapshot)})
        commands = list(trims(dimensions, self._prefix, clock_ms))
        for item in items:
            commands += self._commands_of(item, clock_ms)
            commands = await self._write_full(client, commands)
        await self._write(client, commands + self._also(clock_ms))  # the marker at least
        await self._write_stream(client)
        return waiting.keys()

    def _commands_of(self, item: Item, clock_ms: int, anew: bool = False) -> Iterator[Command]:
        """What shows an item, and takes it away from where it no longer belongs."""
        if isinstance(item, CustomerRisk):
            yield from self._rankings.leave(item)
        elif isinstance(item, FiringAlert):
            (self._firing.discard if item.data is None else self._firing.add)(item.fingerprint)
        yield from commands_of(item, self._prefix, clock_ms, anew)

    async def _write_stream(self, client: Any) -> None:
        """Append what was told; what is confirmed is dropped, the rest stays."""
        while self._stream and f"{self._prefix}alerts" not in self._refused:
            entries, self._stream = self._stream[:_ENTRIES_AT_ONCE], self._stream[_ENTRIES_AT_ONCE:]
            commands = [stream_entry(data, self._prefix) for data in entries]
            try:
                results = await self._send(client, commands)
            except BaseException:
                self._put_back(entries)
                raise
            pairs = zip(entries, results, strict=True)
            self._put_back([data for data, result in pairs if isinstance(result, ResponseError)])
            self._note_refused(commands, results)

    def _put_back(self, entries: list[bytes]) -> None:
        self._stream[:0] = entries
        del self._stream[:-STREAM_LENGTH]

    async def _write_everything(self, client: Any) -> None:
        """The refill: all that this worker holds is written, and what it no longer holds goes. What comes meanwhile is
        not kept waiting. Where another refill is asked for, as more has been taken over, this one is given up."""
        await self._send(client, [])  # counts on from whatever count is there: from here on, none may be lost
        self._must_refill = False
        self._waiting.clear()
        self._firing.clear()
        newer: set[str] = set()  # shown beside the refill, which may come to them later with something older
        newer_at = monotonic_seconds()
        self._rankings.begin_anew()
        trimmed: set[str] = set()
        commands: list[Command] = []
        async for item in self._refill():
            if self._must_refill:
                return
            is_empty = isinstance(item, Snapshot) and has_run_empty(item)
            if item is not None and not is_empty and identity(item) not in newer:
                clock_ms = now_ms()
                if isinstance(item, Snapshot) and item.dimension not in trimmed:
                    trimmed.add(item.dimension)
                    commands += trims([item.dimension], self._prefix, clock_ms)
                commands += self._commands_of(item, clock_ms, anew=True)
                commands = await self._write_full(client, commands)
            if self._wake.is_set() and monotonic_seconds() >= newer_at + _BETWEEN_NEWER_SECONDS:
                await self._write(client, commands)
                commands = []
                newer |= await self._write_newer(client)
                newer_at = monotonic_seconds()
        await self._write(client, commands)
        await self._write(client, await self._stale_alerts(client))
        await self._write(client, await self._rankings.stale(client))

    async def _stale_alerts(self, client: Any) -> list[Command]:
        """What takes the alerts away that no longer fire, and those that cannot be read."""
        key = f"{self._prefix}alerts:firing"
        stale, unreadable = [], []
        try:
            held = await client.hgetall(key)
        except ResponseError as problem:
            self._note_refused([("HGETALL", key)], [problem])
            return []
        for fingerprint, data in held.items():
            place = place_of_alert(fingerprint, data)
            if place is None:
                unreadable.append(fingerprint)
            elif place[0] not in self._firing and self._owns(*place[1:]):
                stale.append(fingerprint)
        tell_unreadable(key, unreadable)
        return [("HDEL", key, fingerprint) for fingerprint in [*stale, *unreadable]]

    async def _write_full(self, client: Any, commands: list[Command]) -> list[Command]:
        """Write if a batch is full; returns what is left to write."""
        if len(commands) < _COMMANDS_AT_ONCE:
            return commands
        await self._write(client, commands)
        return []

    async def _write(self, client: Any, commands: list[Command]) -> None:
        """Write in batches, and count on the marker even if there is nothing to write.

        Raises:
            ResponseError: Redis refused a command, and not for its key's type.
        """
        wanted = [command for command in commands if command[1] not in self._refused]
        for start in range(0, max(len(wanted), 1), _COMMANDS_AT_ONCE):
            batch = wanted[start : start + _COMMANDS_AT_ONCE]
            self._note_refused(batch, await self._send(client, batch))

    async def _send(self, client: Any, commands: Sequence[Command]) -> list[Any]:
        """Send a batch and count on the marker behind it; returns the answers, errors among them.

        A dump that holds this count holds the batch; if Redis holds another one at the next batch, it has lost
        something.
        """
        count = self._count + 1
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.set(self._marker, count, ex=_MARKER_SECONDS, get=True)
        self._lease.renew()
        results: list[Any] = await pipeline.execute(raise_on_error=False)
        before = results.pop()
        if isinstance(before, ResponseError):
            raise ResponseError(f"SET {self._marker}: {before}") from before
        if before != str(self._count).encode():
            self.refill_soon()
        self._count = count
        return results

    def _note_refused(self, commands: Sequence[Command], results: Sequence[Any]) -> None:
        """Remember the keys at which another type stands; they are left alone until that is mended.

        Raises:
            ResponseError: there is another error among the results.
        """
        for command, result in zip(commands, results, strict=True):
            if not isinstance(result, ResponseError):
                continue
            key, wanted = command[1], type_of(command)
            if not str(result).startswith(_WRONG_TYPE):
                raise ResponseError(f"{command[0]} {key}: {result}") from result
            if key not in self._refused:
                self._refused[key] = wanted
                logger.error(
                    "Redis: the key %s is no %s, somebody else has written it; it is not kept until you delete it: "
                    "redis-cli DEL '%s'",
                    *(key, wanted, key),
                )

    async def _look_at_refused(self, client: Any) -> None:
        looked_at = list(self._refused.items())[:_COMMANDS_AT_ONCE]
        pipeline = client.pipeline(transaction=False)
        for key, _ in looked_at:
            pipeline.type(key)
        for (key, wanted), held in zip(looked_at, await pipeline.execute(), strict=True):
            if held in (b"none", wanted.encode()):
                del self._refused[key]
                self._must_refill = True
                logger.info("Redis: the key %s is kept again", key)

    def _note_available(self) -> None:
        self.available = True
        if self._noted != "available":
            self._noted = "available"
            logger.info("Redis is there; the view is being kept")

    def _note_problem(self, problem: BaseException) -> None:
        self.available = False
        self.errors += 1
        refuses = isinstance(problem, ResponseError)
        if self._noted != (noted := "refuses" if refuses else "away"):
            self._noted = noted
            if refuses:
                logger.error(
                    "Redis refuses what is written (%s); counting goes on, the view is written when it accepts: "
                    "mend what it names, such as its memory limit or the user's rights",
                    problem,
                )
            else:
                logger.warning(
                    "Redis is away (%s); counting goes on, the view is written when it returns", problem
                )
