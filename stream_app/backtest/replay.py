"""Recorded events through the shards, as fast as it goes: the worker's flow without Kafka, Redis and a clock. Pure.

::

    arrivals ─▶ shards (one for each partition) ─▶ partials ─▶ judges (one for each rules file) ─▶ changes of alerts

Records are taken as arriving in the order given, and the clock as showing the newest event time so far. Everything
that depends on the clock follows: which topic is silent, what is late, how time goes on while nothing comes. The
worker flushes twenty times a second; here everything is flushed and judged at the end of each pane of ten seconds,
or earlier after ``MOST_WAITING`` records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stream_app.alerts.lifecycle import AlertChange
from stream_app.backtest.arrivals import Arrival, ArrivalClock
from stream_app.backtest.intake import Intake
from stream_app.backtest.judge import Judge
from stream_app.backtest.tidy_shelf import TidyShelf
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.partials import Partial, decode_partial, key_partials, pack
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from stream_app.state.shard import Shard, ShardFlush
from stream_app.state.stages import last_day_over, over_at_ms
from stream_app.state.standings import campaigns_among

MOST_WAITING = 4_000
"""Records that are applied at once, at most."""


class Change(NamedTuple):
    """What one of the judges tells; ``judge`` is its place among them."""

    judge: int
    change: AlertChange


class Replay:
    """One run over recorded events, held against the rules of every judge."""

    def __init__(self, settings: Settings, judges: Sequence[Judge]) -> None:
        self._settings = settings
        self._judges = judges
        self._shards: list[_Shard] = []
        self._arrivals = ArrivalClock(settings.allowed_lateness)
        self._clock_ms = 0
        self._edge_ms = 0
        """The end of the pane that the clock is in."""
        self._waiting = 0
        self._changes: list[Change] = []
        self.refused: Counter[str] = Counter()
        """Records that the shards did not count, by reason."""
        self.first_ms = 0
        self.newest_ms = 0

    @property
    def accepted(self) -> int:
        """Events that were counted."""
        return sum(one.shard.accepted for one in self._shards)

    @property
    def duplicates(self) -> int:
        """Events whose id had been there already."""
        return sum(one.shard.duplicates for one in self._shards)

    def feed(self, arrival: Arrival) -> list[Change]:
        """Take the next event; returns what changed meanwhile."""
        for known, clock_ms in self._arrivals.take(arrival):
            self._take(known, clock_ms)
        return self._take_changes()

    def finish(self) -> list[Change]:
        """No more events: time goes on until all that came is decided, as of the newest event; returns what changed."""
        for known, clock_ms in self._arrivals.rest():
            self._take(known, clock_ms)
        if self._shards:
            waits = self._settings.allowed_lateness + self._settings.idle_timeout
            self._pass_time(self._clock_ms + waits + PANE_MS)
        return self._take_changes()

    def _take(self, arrival: Arrival, clock_ms: int) -> None:
        if not self._shards:
            self._begin(clock_ms)
        if clock_ms >= self._edge_ms:
            self._pass_time(clock_ms)
        self._clock_ms = clock_ms
        self._shards[partition_of(arrival.key, self._settings.partitions)].take(arrival)
        self._waiting += 1
        if self._waiting >= MOST_WAITING:
            self._apply()
            self._flush()

    def _take_changes(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes

    def _begin(self, time_ms: int) -> None:
        self.first_ms = self._clock_ms = time_ms
        self._edge_ms = _edge_after(time_ms)
        partitions = range(self._settings.partitions)
        stages = any(judge.asks_for_stages for judge in self._judges)
        self._shards = [_Shard(number, self._settings, time_ms, stages) for number in partitions]

    def _pass_time(self, until_ms: int) -> None:
        """Let the clock go on to the pane that a time is in."""
        self._apply()
        last_edge_ms = until_ms // PANE_MS * PANE_MS
        while self._edge_ms <= last_edge_ms:
            self._clock_ms = self._edge_ms
            for one in self._shards:
                one.shard.tick(self._clock_ms)
            self._flush()
            self._edge_ms = max(self._edge_ms + PANE_MS, min(self._next_edge_ms(), last_edge_ms))

    def _apply(self) -> None:
        """Hand what has arrived to the shards."""
        if self._waiting:
            self.newest_ms = max(self.newest_ms, self._clock_ms)
            for one in self._shards:
                one.apply(self._clock_ms)
            self._waiting = 0

    def _flush(self) -> None:
        """Take out what changed in the shards, and let the rules be held against it."""
        for one in self._shards:
            self._flush_one(one)
            while one.shard.review_is_due():  # the day's counts are whole before they are judged
                self._flush_one(one)
        for place, judge in enumerate(self._judges):
            self._changes += [Change(place, change) for change in judge.look()]

    def _flush_one(self, one: _Shard) -> None:
        out = one.flush()
        if out is not None:
            self._assess(one, out)
        for word in one.words(out):
            for judge in self._judges:
                judge.hear(word)

    def _assess(self, one: _Shard, out: ShardFlush) -> None:
        self.refused.update(str(letter.reason) for letter in out.dead_letters)
        watermark_ms = one.shard.watermark.current_ms
        forgotten, one.shard.forgotten_customers = one.shard.forgotten_customers, []
        for judge in self._judges:
            judge.assess(out.customers, watermark_ms)
            judge.forget(forgotten, watermark_ms)

    def _next_edge_ms(self) -> int:
        """The next edge of a pane at which anything can come of it that nothing comes; no watermark is faster than the
        clock, but for the moments at which a topic falls silent."""
        wakes = [one.wakes_at_ms(self._clock_ms) for one in self._shards]
        for judge in self._judges:
            wait_ms = judge.wakes_in_ms()
            wakes.append(None if wait_ms is None else self._clock_ms + wait_ms)
        soonest_ms = min((time_ms for time_ms in wakes if time_ms is not None), default=_END_OF_TIME_MS)
        return max(_edge_after(self._clock_ms), _edge_after(soonest_ms - 1))


class _Shard:
    """One shard, and what it has told the judges."""

    def __init__(self, number: int, settings: Settings, clock_ms: int, decides_stages: bool) -> None:
        self._number = number
        self._decides_stages = decides_stages
        self._idle_timeout_ms = settings.idle_timeout
        self._shelf = TidyShelf()
        self.shard = Shard(self._shelf, None, settings, clock_ms, decides_stages=decides_stages)
        self._epoch = 0
        self._intake = Intake()
        self._told_watermark_ms = 0

    def take(self, arrival: Arrival) -> None:
        """Note a record that has arrived."""
        self._intake.take(arrival)

    def apply(self, clock_ms: int) -> None:
        """Apply what has arrived."""
        self._intake.apply(self.shard, clock_ms)

    def flush(self) -> ShardFlush | None:
        """What has changed since the last flush, if anything has."""
        if not self.shard.has_changes():
            return None
        out = self.shard.flush()
        self._shelf.tidy(self.shard.expired)
        self._epoch += 1
        return out

    def words(self, out: ShardFlush | None) -> list[Partial]:
        """What the shard tells the merger of a flush: absolute numbers, its watermark, or nothing new."""
        watermark_ms = self.shard.watermark.current_ms
        place = (self._number, 0, self._epoch, watermark_ms)
        if out is not None and self.shard.accepted:  # one without events has no time, and holds nothing back
            self._told_watermark_ms = watermark_ms
            standings = self.shard.standings.of(sorted(campaigns_among(c.key for c in out.keys)))
            word = Partial(*place, key_partials(out.keys), standings)
            return [decode_partial(value) for _, value in pack(word, 1)]
        if watermark_ms > self._told_watermark_ms:
            self._told_watermark_ms = watermark_ms
            return [Partial(*place, [])]
        return []

    def wakes_at_ms(self, clock_ms: int) -> int | None:
        """When, by the clock, the watermark can move although nothing comes: once the next topic falls silent. When all
        are, it goes on by itself, and what is of interest is the next deadline of a cart, chat or ticket, if any, and
        where stages are asked for, the end of the day."""
        progress = self.shard.watermark.partitions.values()
        falls_silent = [one.last_arrival_ms + self._idle_timeout_ms for one in progress]
        if max(falls_silent) > clock_ms:
            return min(time_ms for time_ms in falls_silent if time_ms > clock_ms)
        watermark_ms, deadline_ms = self.shard.watermark.current_ms, self.shard.next_deadline_ms
        due = [] if deadline_ms is None else [deadline_ms + 1]
        if self._decides_stages and self.shard.accepted:
            due.append(over_at_ms(last_day_over(watermark_ms) + 1))
        return clock_ms + max(0, min(due) - watermark_ms) if due else None


_END_OF_TIME_MS = 1 << 62


def _edge_after(time_ms: int) -> int:
    """The first edge of a pane after a time."""
    return (time_ms // PANE_MS + 1) * PANE_MS
