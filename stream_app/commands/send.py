"""``stream-app send``: lines of events from files into the input topics.

Every line is checked with the worker's decoder first; a refused one is named and left out, the
others are sent as they are, byte for byte.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from stream_app.clock import monotonic_seconds
from stream_app.commands.destination import destination
from stream_app.commands.lines import Block, read_blocks, total_bytes
from stream_app.commands.progress import Progress
from stream_app.commands.tally import Tally, listed
from stream_app.failure import Failure
from stream_app.ingest.decode import Rejected
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.output import json_line, result, say
from stream_app.settings import Settings
from stream_app.sinks.ordered_sender import LINGER_SECONDS, OrderedSender
from stream_app.sinks.topic_admin import check_topics

LINES_PER_BREATH = 250
SHORTEST_SLEEP_SECONDS = 0.002
LAST_FLUSH_SECONDS = 3.0


class Sending:
    """One run of the command: lines in, events out, at the rate that was asked for."""

    def __init__(
        self, sender: OrderedSender, longest_line: int, rate: float | None, progress: Progress
    ) -> None:
        self._sender = sender
        self._longest_line = longest_line
        self._rate = rate
        self._progress = progress
        self._start = monotonic_seconds()
        self.tally = Tally()

    async def file(self, name: str) -> None:
        """Send a whole file, or standard input until its end."""
        async for block in read_blocks(name, self._longest_line, self._wait):
            await self._block(name, block)
        self._progress.next_file()

    async def _block(self, name: str, block: Block) -> None:
        for number, line in enumerate(block.lines, block.first_number):
            if not line or line.isspace():
                continue
            try:
                topic, key = destination(line, self._longest_line)
            except Rejected as problem:
                self.tally.refuse(name, number, problem)
                continue
            await self._until_due()
            await self._sender.send(topic, key, line)
            self.tally.take(topic)
            if self.tally.taken % LINES_PER_BREATH == 0:
                await self._sender.breathe()
        await self._sender.breathe()
        self._show(block.bytes_read)

    async def _until_due(self) -> None:
        """Spread the events evenly: the n-th is due n / rate seconds after the start."""
        if self._rate is None:
            return
        due = self._start + self.tally.taken / self._rate
        while (ahead := due - monotonic_seconds()) > SHORTEST_SLEEP_SECONDS:
            self._show(None)
            await self._wait(min(ahead, LINGER_SECONDS))

    async def _wait(self, seconds: float) -> None:
        await self._sender.breathe()
        await asyncio.sleep(seconds)

    def _show(self, bytes_read: int | None) -> None:
        self._progress.show(bytes_read, self.tally.taken, self.tally.refused)


def run(settings: Settings, files: list[str], rate: float | None, as_json: bool, compress: bool) -> int:
    """Send the files in their order; 1 if a line was refused, else 0."""
    check_topics(settings, input_topic_specs(settings))
    return asyncio.run(_send_files(settings, files, rate, as_json, compress))


async def _send_files(
    settings: Settings, files: list[str], rate: float | None, as_json: bool, compress: bool
) -> int:
    start = monotonic_seconds()
    async with OrderedSender(settings, compress) as sender:
        with Progress(total_bytes(files), "sending") as progress:
            sending = Sending(sender, settings.max_event_bytes, rate, progress)
            try:
                for name in files:
                    await sending.file(name)
                await sender.flush()
            except (Failure, asyncio.CancelledError):
                with suppress(Failure, TimeoutError):
                    async with asyncio.timeout(LAST_FLUSH_SECONDS):
                        await sender.flush()
                say(f"not finished: {sender.acknowledged:,} events were sent and acknowledged")
                raise
    _report(sending.tally, sender.acknowledged, monotonic_seconds() - start, as_json)
    return 1 if sending.tally.refused else 0


def _report(tally: Tally, sent: int, seconds: float, as_json: bool) -> None:
    tally.say_unnamed()
    rate = sent / seconds if seconds > 0 else 0.0
    if as_json:
        json_line(
            {
                "sent": sent,
                "refused": tally.refused,
                "by_topic": dict(tally.by_topic),
                "by_reason": dict(tally.by_reason),
                "refusals": tally.refusals,
                "seconds": round(seconds, 3),
                "events_per_second": round(rate, 1),
            }
        )
        return
    refused = f"{tally.refused:,} refused ({listed(tally.by_reason)})" if tally.refused else "none refused"
    result(f"{sent:,} events sent and acknowledged, {refused}, in {seconds:.1f} s ({rate:,.0f} events/s)")
