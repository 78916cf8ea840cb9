"""The progress of ``send`` and ``backtest``, on a terminal only: into a file or a pipe nothing is written."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from stream_app.clock import monotonic_seconds

SHOW_EVERY_SECONDS = 0.1


class Progress:
    """A bar on standard error by bytes read; a bare count where the size is not known."""

    def __init__(self, total_bytes: int | None, label: str) -> None:
        """``label`` is what is going on, in a word."""
        self._total = total_bytes
        self._label = label
        self._before = 0
        self._in_file = 0
        self._shown_at = 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[counts]}"),
                progress.TimeRemainingColumn(),
            )
            # What is printed meanwhile goes above the bar on the same terminal, and else where it belongs.
            console, is_shared = Console(stderr=True), sys.stdout.isatty()
            self._bar = progress.Progress(
                *columns, console=console, transient=True, redirect_stdout=is_shared
            )
            self._task = self._bar.add_task(self._label, total=self._total, counts="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, bytes_read: int | None, taken: int, refused: int) -> None:
        """Show how far the current file is read, if that is news; cheap enough to be called often."""
        self._in_file = self._in_file if bytes_read is None else bytes_read
        now = monotonic_seconds()
        if self._bar is None or now - self._shown_at < SHOW_EVERY_SECONDS:
            return
        self._shown_at = now
        counts = f"{taken:,} events" + (f", {refused:,} refused" if refused else "")
        self._bar.update(self._task, completed=self._before + self._in_file, counts=counts)

    def next_file(self) -> None:
        """The current file is read to its end."""
        self._before += self._in_file
        self._in_file = 0
