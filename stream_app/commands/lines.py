"""The lines of the files that ``send`` and ``backtest`` are given: plain, gzipped, or standard input.

Lines come in blocks, with the number of the first, so that the work per line stays small. A line
that is longer than any event may be is cut: it is refused anyway and never held in memory whole.
"""

from __future__ import annotations

import gzip
import io
import select
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from stream_app.failure import Failure

BLOCK_BYTES = 256 * 1024
LOOK_AGAIN_SECONDS = 0.02
STANDARD_INPUT = "-"
_GZIP_MAGIC = b"\x1f\x8b"


class Block(NamedTuple):
    """Some lines of a file, the number of the first, and how many bytes of the file are read by now."""

    first_number: int
    lines: list[bytes]
    bytes_read: int


class _Stream(Protocol):
    def read1(self, size: int = -1, /) -> bytes: ...


async def read_blocks(
    name: str, longest_line: int, while_waiting: Callable[[float], Awaitable[None]]
) -> AsyncIterator[Block]:
    """All lines of a file, in blocks; ``while_waiting`` is awaited as long as standard input is silent.

    Raises:
        Failure: the file cannot be read to its end; names it and what is wrong.
    """
    number, rest = 1, b""
    try:
        with _opened(name) as (raw, stream):
            while chunk := await _next_chunk(name, raw, stream, while_waiting):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()[: longest_line + 1]  # one byte over the limit is enough to be refused
                if lines:
                    yield Block(number, lines, _position(raw))
                    number += len(lines)
            if rest:
                yield Block(number, [rest], _position(raw))
    except (OSError, EOFError, zlib.error) as problem:
        words = getattr(problem, "strerror", None) or str(problem).rstrip(".")
        raise Failure(f"{name}: cannot be read to its end ({words}); mend the file and try again") from None


def total_bytes(names: list[str]) -> int | None:
    """The size of all files together, if it can be known."""
    with suppress(OSError):
        if STANDARD_INPUT not in names and all(Path(name).is_file() for name in names):
            return sum(Path(name).stat().st_size for name in names)
    return None


@contextmanager
def _opened(name: str) -> Iterator[tuple[io.BufferedReader, _Stream]]:
    """The file as it lies on disk, and the stream of its content; they differ if it is gzipped."""
    if name == STANDARD_INPUT:
        standard_input = sys.stdin.buffer
        assert isinstance(standard_input, io.BufferedReader)
        yield standard_input, standard_input
        return
    with Path(name).open("rb") as raw:
        if raw.peek(2).startswith(_GZIP_MAGIC):
            yield raw, gzip.GzipFile(fileobj=raw)
        else:
            yield raw, raw


async def _next_chunk(
    name: str, raw: io.BufferedReader, stream: _Stream, while_waiting: Callable[[float], Awaitable[None]]
) -> bytes:
    if name != STANDARD_INPUT:
        return stream.read1(BLOCK_BYTES)
    # Not by a thread that blocks in a read: it could not be ended when somebody presses Ctrl-C.
    # What `read1` leaves in its buffer `select` does not see, so it is asked for all that is there.
    while not select.select([raw], [], [], 0)[0]:
        await while_waiting(LOOK_AGAIN_SECONDS)
    chunk = raw.read1(BLOCK_BYTES)
    if chunk.startswith(_GZIP_MAGIC):
        raise Failure("-: standard input is gzipped; name the file, or use `zcat FILE | stream-app send -`")
    return chunk


def _position(raw: io.BufferedReader) -> int:
    return raw.tell() if raw.seekable() else 0
