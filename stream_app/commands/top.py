"""``stream-app top``: what Redis holds, live in the terminal, as one frame, or as JSON for programs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from rich.console import Console

from stream_app.clock import now_ms
from stream_app.output import json_line, reader_has_gone
from stream_app.settings import Settings
from stream_app.top.description import describe
from stream_app.top.pace import Pace
from stream_app.top.panels import Scene, frame
from stream_app.top.reading import Reader
from stream_app.top.table import View

FRAME_SECONDS = 1.0
FRAME_COLUMNS = 120
"""A frame that goes to a file or a pipe is so wide."""
CAMPAIGNS_PRINTED = 20


@dataclass(frozen=True)
class Choice:
    """What is shown, and after how many frames it ends by itself; without a number, it depends on where they go."""

    view: View
    frames: int | None = None


def run(settings: Settings, choice: Choice, as_json: bool) -> int:
    """Show the live screen on a terminal, one frame elsewhere, or one JSON object a second; 0.

    Raises:
        Unreachable: Redis gives no answer and no frame can be made.
    """
    if as_json:
        return asyncio.run(_print(settings, choice, as_json=True))
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not Console().is_dumb_terminal
    if choice.frames is None and is_terminal:
        return asyncio.run(_show(settings, choice.view))
    return asyncio.run(_print(settings, Choice(choice.view, choice.frames or 1), as_json=False))


async def _show(settings: Settings, view: View) -> int:
    from stream_app.top.screen import TopScreen

    async with Reader(settings) as reader:
        look = await reader.look(view.window)  # before the terminal is taken: what is wrong is said in a line
        screen = TopScreen(reader, view, look)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, screen.exit)
        await screen.run_async()
        return screen.return_code or 0


async def _print(settings: Settings, choice: Choice, as_json: bool) -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else FRAME_COLUMNS)
    async for scene in _scenes(settings, choice):
        if as_json:
            json_line(describe(scene))
        else:
            console.print(frame(scene, CAMPAIGNS_PRINTED))
    return 0


async def _scenes(settings: Settings, choice: Choice) -> AsyncIterator[Scene]:
    """A scene a second, until there were enough, we are told to end, or nobody reads them any more."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    pace = Pace()
    async with Reader(settings) as reader:
        for shown in count(1):
            look = await reader.look(choice.view.window)
            yield Scene(look, choice.view, now_ms(), pace.take(look))
            if shown == choice.frames or reader_has_gone():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), FRAME_SECONDS)
            if told.is_set():
                return
