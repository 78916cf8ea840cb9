"""The demo's console: the same web page as `stream-app console`, inside the demo's own process.

Stands behind the flow, beside what the demo itself reads. It listens on this machine only: at the usual port, so that a
page left open finds the next demo, or at any free one where that is taken.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from stream_app.alerts.rules import load_rules
from stream_app.console.access import access_of
from stream_app.console.hub import Hub
from stream_app.console.server import ConsoleServer
from stream_app.failure import Failure
from stream_app.settings import Settings

_HERE = "127.0.0.1:8585"


class DemoConsole:
    """Serves the page. Use it as an asynchronous context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.model_copy(update={"console_http": _HERE, "console_token": None})
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen and look.

        Raises:
            Failure: no port is free, or the charts' library is not installed.
        """
        # The demo itself says what has ended, and on a terminal a line of a log would stand in its screen.
        logging.getLogger("stream_app.console").setLevel(logging.CRITICAL)
        hub = Hub(self._settings, load_rules(self._settings.rules))
        access = access_of(self._settings, is_open=False)
        try:
            server = await self._stack.enter_async_context(ConsoleServer(self._settings, access, hub))
        except Failure:
            server = await self._stack.enter_async_context(ConsoleServer(self._settings, access, hub, port=0))
        self.url = f"{server.url}/"
        self._looking = asyncio.create_task(hub.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking
        await self._stack.aclose()
