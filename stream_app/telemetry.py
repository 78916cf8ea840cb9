"""Logging: one plain line per event, never a traceback; and a process's last words. Beside the whole flow."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from typing import NoReturn

_QUIET = (
    *("faust", "mode", "aiokafka", "kafka", "asyncio", "redis"),
    *("stream_app.topology", "stream_app.ingest.batches", "stream_app.state.tables"),
)


_STANDARD_ERROR = 2


class PlainFormatter(logging.Formatter):
    """Writes an exception as its type and message, on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        problem = record.exc_info[1] if record.exc_info else None
        record.exc_info, record.exc_text, record.stack_info = None, None, None
        line = super().format(record).replace("\n", " ")
        return line if problem is None else f"{line} ({type(problem).__name__}: {problem})"


_FORMATTER = PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def set_up_logging(level: int = logging.INFO) -> None:
    """Log our own events from ``level`` and the libraries' warnings to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTER)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    threading.excepthook = _log_thread_failure
    # Subclasses of Faust's services log under our names what only Faust's makers want to read.
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mode.timers").setLevel(logging.ERROR)  # it warns of every timer that is late
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells of everyone who sends no HTTP
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # it warns of a machine that is busy


def write_at_once(name: str, level: int, text: str) -> None:
    """Write a line like those of the log, past the log, which may be held by a thread that waits for room in a
    full pipe. Where there is no room now, the line is lost."""
    line = _FORMATTER.format(logging.LogRecord(name, level, "", 0, text, None, None))
    if select.select((), (_STANDARD_ERROR,), (), 0)[1]:
        # What is said to have room takes so many bytes without waiting.
        os.write(_STANDARD_ERROR, line.encode("utf-8", "replace")[: select.PIPE_BUF - 1] + b"\n")


def end_at_once(name: str, text: str) -> NoReturn:
    """Say why, and end the process with 1 before anything else in it can write."""
    try:
        write_at_once(name, logging.CRITICAL, text)
    finally:
        os._exit(1)


def _log_thread_failure(failed: threading.ExceptHookArgs) -> None:
    """A thread of a library failed; what rests on it notices, so one line is enough."""
    logging.getLogger(__name__).error("a thread ended (%s: %s)", failed.exc_type.__name__, failed.exc_value)
