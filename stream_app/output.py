"""What all commands share: what they print, and how they end when they are told to."""

from __future__ import annotations

import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import orjson

PREVIEW_CHARACTERS = 80


def say(text: str) -> None:
    """One line for a person, on standard error: standard output is for results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def result(text: str) -> None:
    """One line of the result, at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def json_line(value: Any) -> None:
    """One line of the result for a program."""
    result(orjson.dumps(value).decode())


def printable(content: bytes | str | None, longest: int = PREVIEW_CHARACTERS) -> str:
    """Foreign content on one line, without anything that could steer a terminal."""
    if content is None:
        return ""
    text = content[: 4 * longest].decode("utf-8", "replace") if isinstance(content, bytes) else content
    clean = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def reader_has_gone() -> bool:
    """Whether whoever reads our output has closed it, such as ``head``: known without writing anything."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in watched.poll(0))


@contextmanager
def until_told() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or Ctrl-C, for commands that such a signal ends well."""
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
