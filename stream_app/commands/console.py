"""``stream-app console``: the live web page, in a program of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress

from stream_app.alerts.rules import Rules, RulesError, load_rules
from stream_app.console.access import Access, access_of
from stream_app.console.hub import Hub
from stream_app.console.server import ConsoleServer
from stream_app.output import result
from stream_app.settings import Settings, SettingsError
from stream_app.telemetry import set_up_logging

logger = logging.getLogger(__name__)


def run(settings: Settings, is_open: bool, is_local: bool) -> int:
    """Serve the page until told to end; 0.

    Raises:
        SettingsError: others could look without a token, the token is too short, or the rules file is wrong.
        Failure: the address cannot be used.
    """
    set_up_logging()
    access = access_of(settings, is_open, is_local)
    try:
        rules = load_rules(settings.rules)
    except RulesError as problem:
        raise SettingsError(str(problem)) from None
    asyncio.run(_serve(settings, rules, access))
    return 0


async def _serve(settings: Settings, rules: Rules, access: Access) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    hub = Hub(settings, rules)
    async with ConsoleServer(settings, access, hub) as server:
        result(f"Console {server.url}/")
        looking = asyncio.create_task(hub.run())
        ending = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                looking.result()
        finally:
            looking.cancel()
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await looking
    logger.info("console stops")
