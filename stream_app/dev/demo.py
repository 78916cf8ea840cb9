"""`stream-app demo`: all of it on this machine, so that a person can see it work.

Stands around the whole flow: two embedded servers, the topics, a worker as a child process, simulated traffic
in front (`demo_traffic.py`), and behind it what a user would see (`demo_reading.py`), on a live screen
(`screen.py`) or in plain lines. What happens when is told in `simulation_story.py`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiokafka.errors import KafkaError
from pydantic import SecretStr
from redis.exceptions import RedisError

from stream_app.alerts.rules import load_rules
from stream_app.clock import DAY_MS, MINUTE_MS, SECOND_MS, monotonic_seconds, now_ms
from stream_app.dev import EmbeddedPair, ServerError
from stream_app.dev.demo_console import DemoConsole
from stream_app.dev.demo_lines import Moment, summary_lines
from stream_app.dev.demo_reading import Reader, Seen
from stream_app.dev.demo_traffic import Pace, Rate, send_when_due
from stream_app.dev.demo_worker import DemoWorker
from stream_app.dev.screen import Output, PlainOutput, Screen
from stream_app.dev.simulation_story import title_at
from stream_app.dev.simulation_world import hour_of_day
from stream_app.dev.simulator import simulate
from stream_app.failure import Failure
from stream_app.output import result, until_told
from stream_app.settings import Settings
from stream_app.sinks.ordered_sender import OrderedSender
from stream_app.sinks.reach import quiet_clients
from stream_app.sinks.topic_admin import ensure_topics

SEED = 7
LONGEST_MS = 3_650 * DAY_MS
LOOK_SECONDS = 0.4
NUMBERS_EXPECTED_SECONDS = 20.0
LAST_FLUSH_SECONDS = 3.0
END_IS_KNOWN_SECONDS = 1.0

# What differs from a worker's usual settings. Time runs fast: what is silent for a second was silent for twelve
# minutes in the shop, and a rule over an hour must not wait for it any longer. And the embedded broker lets a
# group's first member wait for half its session timeout, which a person would have to sit out.
_FAST = {
    "allowed_lateness": 10 * MINUTE_MS,
    "idle_timeout": SECOND_MS,
    "cart_timeout": 30 * MINUTE_MS,
    "chat_timeout": 2 * MINUTE_MS,
    "duplicate_window": 60 * MINUTE_MS,
    "session_timeout": 4 * SECOND_MS,
    "campaign_segments": True,  # there is something to see, and nothing to save
}
_PLAIN = {
    "kafka_security_protocol": "PLAINTEXT",
    "replication": 1,
    **dict.fromkeys(("redis_ssl_ca_certs", "redis_ssl_certfile", "redis_ssl_keyfile")),
}


def run(settings: Settings, seconds: int | None) -> int:
    """Show everything until told to end, or for so many seconds; 0.

    Raises:
        RulesError: the rules file is wrong.
        Failure: a server or the worker did not start, or ended by itself; the text says where its log is.
    """
    begin = monotonic_seconds()
    end = float("inf") if seconds is None else begin + seconds
    quiet_clients()
    ours = settings.model_copy(update=_FAST | _PLAIN)
    load_rules(ours.rules, ours)  # a mistake in them is named here, not in the worker's log
    try:
        with until_told() as told, EmbeddedPair() as pair:
            addresses = {"kafka": pair.broker.address, "redis": SecretStr(pair.redis.url)}
            here = ours.model_copy(update=addresses)
            ensure_topics(here)
            with DemoWorker(here) as worker:
                demo = _Demo(here, pair, worker, begin)
                asyncio.run(demo.play(told, end))
                demo.finish()
    except ServerError as problem:
        raise Failure(str(problem)) from None
    return 0


class _Demo:
    """One run, from the first event to the summary."""

    def __init__(self, settings: Settings, pair: EmbeddedPair, worker: DemoWorker, begin: float) -> None:
        self._settings = settings
        self._pair = pair
        self._worker = worker
        self._begin = begin
        self._pace = Pace.begin(now_ms())
        self._rate = Rate()
        self._seen = Seen()
        self._moment = Moment(0.0, 0, 0.0, "")

    async def play(self, told: threading.Event, end: float) -> None:
        """Send traffic and show what comes of it, until told or until the end."""
        with self._explained():
            async with DemoConsole(self._settings) as console:
                result(f"Console {console.url}   open it in a browser")
                result(f"Kafka {self._pair.broker.address}   Redis {self._pair.redis.url}")
                await self._send_and_show(self._output(console.url), told, end)

    async def _send_and_show(self, output: Output, told: threading.Event, end: float) -> None:
        async with (
            OrderedSender(self._settings) as sender,
            Reader(self._settings, output.change) as reader,
        ):
            self._seen = reader.seen
            arrivals = simulate(SEED, self._pace.start_ms, self._pace.start_ms + LONGEST_MS)
            tasks = [
                asyncio.create_task(send_when_due(sender, arrivals, self._pace)),
                asyncio.create_task(reader.follow_topics()),
            ]
            try:
                with output:
                    await self._show(output, sender, reader, tasks, told, end)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(sender.flush(), LAST_FLUSH_SECONDS)
            self._look_at_moment(sender)

    def finish(self) -> None:
        """Print what was seen, and complain if that was nothing.

        Raises:
            Failure: the worker had time enough, and told no numbers.
        """
        first = self._seen.first_numbers_at
        for line in summary_lines(self._seen, self._moment, None if first is None else first - self._begin):
            result(line)
        if first is None and self._moment.seconds >= NUMBERS_EXPECTED_SECONDS:
            raise Failure(
                f"the worker told no numbers within {self._moment.seconds:.0f} s; its last lines are in "
                f"{self._worker.save_log()}"
            )

    def _output(self, console: str) -> Output:
        where = f"Console {console}   Kafka {self._pair.broker.address}   Redis {self._pair.redis.url}"
        return Screen(where) if sys.stdout.isatty() else PlainOutput()

    async def _show(
        self,
        output: Output,
        sender: OrderedSender,
        reader: Reader,
        tasks: list[asyncio.Task[None]],
        told: threading.Event,
        end: float,
    ) -> None:
        while True:
            await reader.look()
            self._look_at_moment(sender)
            output.show(reader.seen, self._moment)
            rest = end - monotonic_seconds()
            if told.is_set() or rest <= 0:
                return
            await asyncio.sleep(min(LOOK_SECONDS, rest))
            self._require_alive()
            for task in tasks:
                if task.done():
                    task.result()

    def _look_at_moment(self, sender: OrderedSender) -> None:
        seconds = monotonic_seconds() - self._begin
        sent = sender.acknowledged
        self._moment = Moment(seconds, sent, self._rate.update(sent), self._now_in_shop())

    def _now_in_shop(self) -> str:
        clock_ms = now_ms()
        simulated_ms = self._pace.simulated_ms(clock_ms)
        if simulated_ms == clock_ms:
            return "the present is reached, and from now on events come at life's own pace"
        return title_at(hour_of_day(simulated_ms))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Where a client fails because its server ended, say that instead."""
        try:
            yield
        except (Failure, KafkaError, RedisError, OSError) as problem:
            time.sleep(
                END_IS_KNOWN_SECONDS
            )  # a connection breaks a moment before its server is seen to be gone
            self._require_alive()
            if isinstance(problem, Failure):
                raise
            raise Failure(f"the demo's servers cannot be used ({problem}); start it again") from None

    def _require_alive(self) -> None:
        for server in (self._pair.broker, self._pair.redis):
            if not server.running:
                raise Failure(f"the {server.title} has ended by itself; start `stream-app demo` again")
        if not self._worker.running:
            raise Failure(
                f"the worker has ended by itself (exit code {self._worker.exit_code}); its last lines are in "
                f"{self._worker.save_log()}"
            )
