"""A soak: steady traffic for long, on two workers. Memory stays flat, the event loop is never blocked for long, and
what was sent is counted.

That no key, pane, timer or id is kept beyond its time is held without a broker, over days of event time, by
``tests/property/test_bounded_state.py``. ``CHAOS_SOAK_MINUTES`` and ``CHAOS_SOAK_RATE`` say how long and how much.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from stream_app.clock import DAY_MS, HOUR_MS, now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker
from tests.support.programs import ROOT, Crew, Installation, LastSnapshots, installation, wait_until
from tests.support.traffic import Life

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]

MINUTES: Final = float(os.environ.get("CHAOS_SOAK_MINUTES") or 30)
"""Ten at least: before that, memory still fills with what is kept for the retention."""
EVENTS_A_SECOND: Final = {"embedded": 1000}
"""By broker, 4,000 for all others: the embedded one, which keeps all in memory, takes three times as long for a record
when it has run at that for ten minutes, and would be what is measured."""
CHAPTER_EVENTS: Final = 5000
CHAPTER_MS: Final = HOUR_MS // 2
POPULATIONS: Final = 500
"""So many chapters have customers of their own: who returns has been silent for far longer than the retention."""
LOOK_SECONDS: Final = 5.0
LONGEST_BLOCK_MS: Final = 250
MOST_GROWTH_BYTES: Final = 30_000_000
CATCH_UP_SECONDS: Final = 60.0
COUNTED: Final = {
    "deliveries": "email.delivered",
    "tickets_opened": "ticket.opened",
    "chats_started": "chat.started",
}


class Feeder(threading.Thread):
    """Pipes chapter after chapter of generated life into ``stream-app send``; each has customers of its own, and is
    half an hour of event time. Counts the distinct events by type."""

    def __init__(self, place: Installation, seed: int, rate: int) -> None:
        super().__init__(name="feeder", daemon=True)
        self._seed = seed
        self._end = threading.Event()
        self._start_ms = now_ms() - 300 * DAY_MS
        self.sent: Counter[str] = Counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream_app", "send", "-", "--rate", str(rate)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT, env=place.environment,
        )  # fmt: skip

    def run(self) -> None:
        """Feed until told to end; the pipe holds it back to the rate."""
        assert self.process.stdin is not None
        chapter = 0
        while not self._end.is_set():
            start_ms = self._start_ms + chapter * CHAPTER_MS
            events = Life(self._seed + chapter, start_ms, CHAPTER_MS, stem=f"{chapter}-").events(
                CHAPTER_EVENTS
            )
            for event in events:
                event["customer_id"] = f"{chapter % POPULATIONS}-{event['customer_id']}"
            self.process.stdin.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
            self.sent.update(Counter({e["event_id"]: e["event_type"] for e in events}.values()))
            chapter += 1
        self.process.stdin.close()

    def finish(self) -> None:
        """End behind the present chapter, and wait until all of it is acknowledged."""
        self._end.set()
        self.join(60)
        assert self.process.wait(60) == 0

    def __enter__(self) -> Feeder:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._end.set()
        self.process.kill()
        self.process.wait(10)


@pytest.mark.skipif(MINUTES == 0, reason="CHAOS_SOAK_MINUTES is 0")
@pytest.mark.timeout(int(MINUTES * 60) + 600)
def test_memory_is_flat_and_the_loop_is_never_blocked(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, seed: int
) -> None:
    """With a day's retention, so that what is due is forgotten many times over while it runs."""
    place = installation(
        broker.address, redis_server.url, tmp_path, retention="24h", allowed_lateness="1h", idle_timeout="5s"
    )
    rate = int(os.environ.get("CHAOS_SOAK_RATE") or EVENTS_A_SECOND.get(broker.name, 4000))
    with Crew(place, tmp_path) as crew:
        workers = [crew.start(), crew.start()]
        with Feeder(place, seed, rate) as feeder:
            held: list[int] = []
            blocked: list[tuple[int, int]] = []
            until = time.monotonic() + MINUTES * 60
            while time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
                held.append(sum(worker.resident_bytes for worker in workers))
                said = [worker.ask("/ready")[1] for worker in workers]
                blocked.append(
                    (
                        max(body["longest_block_busy_ms"] for body in said),
                        max(body["longest_block_ms"] for body in said),
                    )
                )
                assert all(worker.alive for worker in workers)
            feeder.finish()
        early, late = _quarters(held)
        print(f"{feeder.sent.total():,} distinct events sent in {MINUTES:.0f} minutes, at {rate:,} a second")
        print(f"resident: {early / 1e6:.0f} MB in the second quarter, {late / 1e6:.0f} MB in the last")
        busy, by_clock = zip(*blocked[len(blocked) // 4 :], strict=True)
        print(f"longest blocks of an event loop, of a processor's time: {sorted(set(busy))} ms")
        print(f"by the clock, on a machine that all share: {sorted(set(by_clock))} ms")
        _wait_until_counted(place, feeder.sent)
        assert late - early < MOST_GROWTH_BYTES
        assert max(busy) < LONGEST_BLOCK_MS


def _quarters(held: list[int]) -> tuple[float, float]:
    """The medians of the second and of the last quarter: the first is warming up."""
    quarter = max(1, len(held) // 4)
    return statistics.median(held[quarter : 2 * quarter] or held), statistics.median(held[-quarter:])


def _wait_until_counted(place: Installation, sent: Counter[str]) -> None:
    """Wait until the totals are what was sent."""
    snapshots = LastSnapshots(place.address, place.settings.prefix)
    wanted = {count: sent[event_type] for count, event_type in COUNTED.items()}

    def counted() -> bool:
        snapshots.update()
        return {count: snapshots.held("all:all", count) for count in wanted} == wanted

    wait_until(counted, CATCH_UP_SECONDS, f"the totals are {wanted}")
    snapshots.close()
