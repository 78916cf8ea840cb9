"""Endless life for the chaos suite, repeated by its seed: chapters of generated events, with alarms and probes.

Every chapter covers ten minutes of event time and is sent in a second or two. An *alarm* is a campaign whose
opt-outs all fall into one pane, so that what must be told of it is known beforehand. A *probe* is one event for
each partition, twice a second: from outside, the only sign that a partition is served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from stream_app.clock import DAY_MS, MINUTE_MS, SECOND_MS, now_ms
from tests.support.traffic import Json, Life, Sender, delivered, event, one_in_each

PARTITIONS: Final = 4
CHAPTER_MS: Final = 10 * MINUTE_MS
CHAPTER_EVENTS: Final = 600
CHAPTERS_AN_ALARM: Final = 4
READERS: Final = 240
LEAVERS: Final = 24
PROBES_A_SECOND: Final = 2
CHUNKS_A_SECOND: Final = 20
BAD_RECORD_EVERY: Final = 5  # chunks
BAD_TOPICS: Final = ("email.opens", "carts", "tickets")
BAD_VALUE: Final = b"{"


@dataclass
class Probe:
    """When the probes of one partition were confirmed by the broker (monotonic seconds)."""

    sent_at: list[float] = field(default_factory=list)


class Traffic(threading.Thread):
    """Sends in a thread of its own until told to stop; each chunk is confirmed before the next is sent."""

    def __init__(self, sender: Sender, seed: int, a_second: int) -> None:
        super().__init__(name="traffic", daemon=True)
        self.sender = sender
        self._seed = seed
        self._a_second = a_second
        self._start_ms = (now_ms() - 20 * DAY_MS) // CHAPTER_MS * CHAPTER_MS
        self._time_ms = self._start_ms
        self._end = threading.Event()
        self._people = one_in_each(PARTITIONS, "probe")
        self.probes = {number: Probe() for number in range(PARTITIONS)}
        self.alarms: dict[str, int] = {}
        self.bad: list[Any] = []
        self.problem: BaseException | None = None

    @property
    def newest_ms(self) -> int:
        """The newest event time so far, at most."""
        return self._time_ms

    def run(self) -> None:
        """Send chapter after chapter; ends only behind a whole chapter, so that alarms are whole."""
        try:
            for number, chunk in enumerate(self._chunks()):
                begun = time.monotonic()
                self.sender.send(*chunk)
                if number % BAD_RECORD_EVERY == 0:
                    topic, partition = BAD_TOPICS[number % len(BAD_TOPICS)], number % PARTITIONS
                    self.bad.append(self.sender.raw(topic, b"nobody", BAD_VALUE, partition=partition))
                if number % (CHUNKS_A_SECOND // PROBES_A_SECOND) == 0:
                    self._send_probes()
                self.sender.flush()
                self._end.wait(max(0.0, len(chunk) / self._a_second - (time.monotonic() - begun)))
        except BaseException as problem:  # noqa: BLE001 - raised again where the test waits for it
            self.problem = problem

    def finish(self, seconds: float = 120.0) -> None:
        """End behind the present chapter, and wait for that."""
        self._end.set()
        self.join(seconds)
        if self.problem is not None:
            raise self.problem
        assert not self.is_alive(), f"not all was sent within {seconds} s"

    def _chunks(self) -> Iterator[list[Json]]:
        size = max(1, self._a_second // CHUNKS_A_SECOND)
        chapter = 0
        while not self._end.is_set():
            events = self._chapter(chapter)
            for first in range(0, len(events), size):
                yield events[first : first + size]
            chapter += 1

    def _chapter(self, chapter: int) -> list[Json]:
        start_ms = self._start_ms + chapter * CHAPTER_MS
        self._time_ms = start_ms
        life = Life(self._seed + chapter, start_ms, CHAPTER_MS - MINUTE_MS, stem=f"{chapter}-")
        events = life.events(CHAPTER_EVENTS)
        if chapter % CHAPTERS_AN_ALARM == 0:
            events += self._alarm(f"alarm-{chapter}", start_ms + CHAPTER_MS - 10 * SECOND_MS)
        return events

    def _alarm(self, campaign: str, pane_ms: int) -> list[Json]:
        """Ten percent of a campaign's readers leave, all within one pane."""
        self.alarms[campaign] = pane_ms + 10 * SECOND_MS
        readers = [f"reader-{number}" for number in range(READERS)]
        made = [delivered(reader, pane_ms, campaign) for reader in readers]
        made += [
            event("email.opted_out", reader, pane_ms + SECOND_MS, campaign_id=campaign)
            for reader in readers[:LEAVERS]
        ]
        return made

    def _send_probes(self) -> None:
        for number, person in enumerate(self._people):
            self.sender.send(delivered(person, self._time_ms, f"probe-{number}"))
        self.sender.flush()
        now = time.monotonic()
        for probe in self.probes.values():
            probe.sent_at.append(now)

    def __enter__(self) -> Traffic:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._end.set()
        if self.is_alive():
            self.join(30)
