"""What the tasks of an event loop wait for, in words: the last thing a stuck worker says. Beside the whole flow."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any

_OURS = str(Path(__file__).parent)
_MOST_FRAMES = 30
_FRAME = ("cr_frame", "gi_frame", "ag_frame")
_NEXT = ("cr_await", "gi_yieldfrom", "ag_await")


def waits_of(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """A line for each task that runs code of this package: the places it is at, innermost first."""
    for task in asyncio.all_tasks(loop):
        frames = _frames_of(task.get_coro())
        if any(frame.f_code.co_filename.startswith(_OURS) for frame in frames):
            places = " < ".join(_place_of(frame) for frame in reversed(frames))
            yield f"{task.get_name()} waits at {places}"


def _frames_of(awaited: Any) -> list[FrameType]:
    """The frames from a task's coroutine down to what it waits for."""
    frames: list[FrameType] = []
    while awaited is not None and len(frames) < _MOST_FRAMES:
        frame = _first(awaited, _FRAME)
        if frame is not None:
            frames.append(frame)
        awaited = _first(awaited, _NEXT) if frame is not None else _hidden_in(awaited)
    return frames


def _hidden_in(wrapper: Any) -> Any:
    """The coroutine or asynchronous generator behind what Python puts around it for ``__await__`` and ``async for``."""
    inner = gc.get_referents(wrapper)
    return next((held for held in inner if isinstance(held, CoroutineType | AsyncGeneratorType)), None)


def _first(thing: Any, names: tuple[str, ...]) -> Any:
    return next((held for name in names if (held := getattr(thing, name, None)) is not None), None)


def _place_of(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
