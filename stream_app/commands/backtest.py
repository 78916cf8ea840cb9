"""``stream-app backtest``: what alert rules would have told of recorded events, without Kafka, Redis and a clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from stream_app.alerts.rules import load_rules
from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.comparison import Pair
from stream_app.backtest.trial import Trial
from stream_app.clock import monotonic_seconds
from stream_app.commands.backtest_report import JsonReport, PlainReport, Report, Run
from stream_app.commands.destination import event_of
from stream_app.commands.lines import Block, read_blocks, total_bytes
from stream_app.commands.progress import Progress
from stream_app.commands.tally import Tally
from stream_app.failure import Failure
from stream_app.garbage import spare_the_old
from stream_app.ingest.decode import Rejected
from stream_app.settings import Settings


@dataclass(frozen=True)
class Choice:
    """Which rules are on trial, the settings' or the shipped ones if None, and which they are compared with, if any."""

    rules: Path | None = None
    compare: Path | None = None


class _Reading:
    """One run of the command: lines in, firings out."""

    def __init__(self, trial: Trial, report: Report, longest_line: int, progress: Progress) -> None:
        self._trial = trial
        self._report = report
        self._longest_line = longest_line
        self._progress = progress
        self.tally = Tally()

    async def file(self, name: str) -> None:
        """Replay a whole file, or standard input until its end."""
        async for block in read_blocks(name, self._longest_line, asyncio.sleep):
            for number, line in enumerate(block.lines, block.first_number):
                if line and not line.isspace():
                    self._line(name, number, line)
            self._show(block)
            await asyncio.sleep(0)  # for Ctrl-C
        self._progress.next_file()

    def _line(self, name: str, number: int, line: bytes) -> None:
        try:
            topic, event = event_of(line, self._longest_line)
            time_ms = event.time_ms()
        except Rejected as problem:
            self.tally.refuse(name, number, problem)
            return
        self.tally.take(topic)
        self.told(self._trial.feed(Arrival(topic, event.customer_id.encode(), line, time_ms)))

    def told(self, pairs: list[Pair]) -> None:
        """Report what is over."""
        for pair in pairs:
            self._report.tell(pair, self._trial.replay.newest_ms)

    def _show(self, block: Block) -> None:
        self._progress.show(block.bytes_read, self.tally.taken, self.tally.refused)


def run(settings: Settings, files: list[str], choice: Choice, as_json: bool) -> int:
    """Replay the files in their order; 0.

    Raises:
        RulesError: a rules file is wrong.
        Failure: a file cannot be read, or holds no event that is counted.
    """
    rules = load_rules(choice.rules or settings.rules, settings)
    compare = None if choice.compare is None else load_rules(choice.compare, settings)
    spare_the_old()
    names = (str(choice.rules or settings.rules or "the shipped rules"), str(choice.compare or ""))
    report = (JsonReport if as_json else PlainReport)(names, is_comparison=compare is not None)
    asyncio.run(_replay(settings, files, Trial(settings, rules, compare), report))
    return 0


async def _replay(settings: Settings, files: list[str], trial: Trial, report: Report) -> None:
    start = monotonic_seconds()
    with Progress(total_bytes(files), "replaying") as progress:
        reading = _Reading(trial, report, settings.max_event_bytes, progress)
        for name in files:
            await reading.file(name)
        reading.told(trial.finish())
    tally = reading.tally
    tally.say_unnamed()
    if not trial.replay.accepted:
        raise Failure("no event was counted; name files of one JSON event per line, such as `send` takes")
    report.finish(
        trial, Run(tally.taken, tally.by_reason + trial.replay.refused, monotonic_seconds() - start)
    )
