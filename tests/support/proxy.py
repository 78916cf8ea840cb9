"""A TCP proxy on the loopback that makes a bad network of a good one: slow, late, cut, or refusing.

    with Proxy() as proxy, new_broker(advertised=proxy.address) as broker:
        proxy.target = broker.address  # clients of proxy.address stay behind it: the broker sends them there
        proxy.limit(50_000)

It runs in a thread of its own. What a call changes holds for all connections, those that are open too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from stream_app.dev.servers import HOST, find_free_port

LARGEST_PIECE = 65_536
PIECES_A_SECOND = 20
CALL_SECONDS = 10.0

Answer = TypeVar("Answer")


class Proxy:
    """Forwards every connection to ``target`` (``host:port``), which may be set or changed at any time."""

    def __init__(self, target: str | None = None) -> None:
        self.target = target
        self.port = find_free_port()
        self.bytes_forwarded = 0
        self._accepts = True
        self._delay = 0.0
        self._bytes_per_second: float | None = None
        self._free_at = 0.0  # when all that was let through is through, at the limit
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        """Where clients connect to."""
        return f"{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def limit(self, bytes_per_second: float | None) -> None:
        """Let no more pass, over all connections and both ways together; None lets everything pass."""
        self._bytes_per_second = bytes_per_second

    def delay(self, seconds: float) -> None:
        """Hold every piece back for so long."""
        self._delay = seconds

    def refuse(self) -> None:
        """Break every new connection as soon as it is made; open ones stay."""
        self._accepts = False

    def accept(self) -> None:
        """Take new connections again."""
        self._accepts = True

    def cut(self) -> None:
        """Break all connections that are open now; new ones are still taken."""
        self._run(self._cut())

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._server = self._run(asyncio.start_server(self._connected, HOST, self.port))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *problem: Any) -> None:
        try:
            self._run(self._close())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _close(self) -> None:
        self._server.close()
        self.refuse()
        await self._cut()

    async def _cut(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepts:
            writer.transport.abort()
            return
        connection = self._loop.create_task(self._forward(reader, writer))
        self._connections.add(connection)

        def ended(task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            if task.cancelled():  # perhaps before its first step, when nothing in it can let the client go
                writer.transport.abort()

        connection.add_done_callback(ended)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward both ways until one side ends; the other is then ended as well."""
        transports = [writer.transport]
        try:
            host, _, port = (self.target or "").rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            transports.append(back.transport)
            ways = [asyncio.ensure_future(self._pump(*way)) for way in ((reader, back), (there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            for transport in transports:
                transport.close()  # after what is still to be written
        except OSError:
            writer.transport.abort()  # the target does not answer, so neither do we
        except asyncio.CancelledError:
            for transport in transports:
                transport.abort()
            raise

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(LARGEST_PIECE):
            await asyncio.sleep(self._delay)
            while piece:
                part = piece[: self._part_bytes()]
                piece = piece[len(part) :]
                await self._wait_for_turn(len(part))
                self.bytes_forwarded += len(part)
                writer.write(part)
                await writer.drain()

    def _part_bytes(self) -> int:
        """How much to pass on at once: little at a low limit, so that a higher one is soon felt."""
        if self._bytes_per_second is None:
            return LARGEST_PIECE
        return max(1, int(self._bytes_per_second / PIECES_A_SECOND))

    async def _wait_for_turn(self, size: int) -> None:
        if self._bytes_per_second is None:
            self._free_at = 0.0
            return
        now = self._loop.time()
        self._free_at = max(now, self._free_at) + size / self._bytes_per_second
        await asyncio.sleep(self._free_at - now)
