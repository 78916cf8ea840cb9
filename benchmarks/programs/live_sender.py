"""Sends prepared events to Kafka by librdkafka, live at a steady pace or a backlog at full speed.

A process of its own, in the bench's environment, started by ``benchmarks/traffic.py``, which also writes the plan: the topics in the first line, then an event a line as topic number, partition, key and the body without its
beginning and its end. What is missing there is the event's id and time, and the number of the round, because a
plan that ends is begun again. Standard output has a line of JSON at the begin and the end of each phase.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

TICK_SECONDS = 0.005
BACKLOG_TICK_EVENTS = 50
QUEUE_EVENTS = 500_000
QUEUE_KILOBYTES = 1_000_000
FLUSH_SECONDS = 110.0

Line = tuple[str, int, bytes, bytes, bytes]


class Sender:
    """Sends one plan, and knows how many of its events were handed over and how many failed."""

    def __init__(self, kafka: str, plan: Path, run: str, linger_ms: int) -> None:
        self.sent = 0
        self.failed = 0
        self._run = run.encode()
        self._lines = _rounds(plan)
        settings: dict[str, Any] = {
            "bootstrap.servers": kafka,
            "linger.ms": linger_ms,
            "queue.buffering.max.messages": QUEUE_EVENTS,
            "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
            "delivery.report.only.error": True,
            "on_delivery": self._note_failure,
        }
        self._producer = Producer(settings)

    def live(self, name: str, rate: float, seconds: float) -> None:
        """Send at a pace, each event with the time at which it is sent."""
        began, first = _say(name, "began", self.sent), self.sent
        most_behind = 0.0
        while (elapsed := time.time() - began) < seconds:
            due = first + int(elapsed * rate)
            most_behind = max(most_behind, (due - self.sent) / rate)
            self._send(due - self.sent, round(time.time() * 1000))
            self._producer.poll(0)
            time.sleep(max(0.0, TICK_SECONDS - (time.time() - began - elapsed)))
        _say(name, "ended", self.sent, first=first, most_behind_ms=round(most_behind * 1000))

    def backlog(self, name: str, events: int, from_ms: int, to_ms: int) -> None:
        """Send as fast as possible, with times that are spread evenly, and confirmed to the last."""
        _say(name, "began", self.sent)
        for done in range(0, events, BACKLOG_TICK_EVENTS):
            count = min(BACKLOG_TICK_EVENTS, events - done)
            self._send(count, from_ms + (to_ms - from_ms) * done // events)
            self._producer.poll(0)
        self.finish()
        _say(name, "ended", self.sent)

    def finish(self) -> None:
        """Return when the broker has confirmed everything, or nothing more can be expected."""
        self.failed += self._producer.flush(FLUSH_SECONDS)

    def _send(self, count: int, time_ms: int) -> None:
        seconds, milliseconds = divmod(time_ms, 1000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"
        stamp = f'","event_time":"{moment}",'.encode()
        run, sent, produce = self._run, self.sent, self._producer.produce
        for topic, partition, key, rest, end in itertools.islice(self._lines, count):
            value = b'{"event_id":"%b-%d%b%b%b' % (run, sent, stamp, rest, end)
            sent += 1
            try:
                produce(topic, value, key, partition)
            except BufferError:
                self._send_when_there_is_room(topic, value, key, partition)
        self.sent = sent

    def _send_when_there_is_room(self, *record: Any) -> None:
        while True:
            self._producer.poll(0.05)
            try:
                self._producer.produce(*record)
                return
            except BufferError:
                continue

    def _note_failure(self, problem: Any, record: Any) -> None:
        if problem is not None:
            self.failed += 1
            print(f"sender: {problem}", file=sys.stderr)


def _rounds(plan: Path) -> Iterator[Line]:
    """The events of a plan, round and round, read as they are needed."""
    for number in itertools.count():
        end = b'%d"}' % number
        with plan.open("rb") as lines:
            topics = next(lines).decode().split()
            for line in lines:
                topic, partition, key, rest = line.split(b"\t")
                yield topics[int(topic)], int(partition), key, rest[:-1], end


def _say(name: str, what: str, sent: int, **more: Any) -> float:
    now = time.time()
    print(json.dumps({"phase": name, what: now, "sent": sent, **more}), flush=True)
    return now


def main() -> None:
    arguments = argparse.ArgumentParser(prog="sender", description=__doc__)
    arguments.add_argument("--kafka", required=True)
    arguments.add_argument("--plan", type=Path, required=True)
    arguments.add_argument("--run", required=True, help="what the ids of its events begin with")
    arguments.add_argument("--linger-ms", type=int, default=20)
    arguments.add_argument(
        "phases", nargs="+", help="live:NAME:RATE:SECONDS or backlog:NAME:EVENTS:FROM_MS:TO_MS"
    )
    options = arguments.parse_args()
    sender = Sender(options.kafka, options.plan, options.run, options.linger_ms)
    for phase in options.phases:
        kind, name, *numbers = phase.split(":")
        if kind == "live":
            sender.live(name, float(numbers[0]), float(numbers[1]))
        else:
            sender.backlog(name, *map(int, numbers))
    sender.finish()
    _say("all", "ended", sender.sent, failed=sender.failed)


if __name__ == "__main__":
    main()
