"""A shard's event-time clock: which events are late, and what has come true.

Stands between decoding and the shard state; pure, the clock is an argument. A shard is one
partition number over all input topics. Its watermark is the newest event time of its slowest busy
partition, less the allowed lateness. A partition is *idle* when it is read to its end and *silent*: it had
nothing new for ``idle_timeout``. When all are idle, time goes on at the clock's pace.

"Read to its end" is only as true as the last look at the broker: before records move time on while
some partition is silent, the caller asks for the end offsets anew (``confirm``), so that a
record that waits unread in a quiet topic is never called late because a busy topic was read first.
What an open transaction holds back waits like that. Where nothing but its marker is left, or what was aborted,
the caller says so (``pass_over``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

NO_TIME = -1
"""The newest event time of a partition that never had an event, in milliseconds."""


@dataclass
class PartitionProgress:
    """How far one partition has been read. Offsets are the next to be read; times are milliseconds.

    ``last_arrival_ms`` is when, by the clock, it last had an event that was accepted: a producer of nothing
    but bad records must not hold up time.
    """

    newest_ms: int = NO_TIME
    next_offset: int = 0
    end_offset: int = 0
    last_arrival_ms: int = 0
    is_known: bool = True
    """Whether the broker answered when it was last asked for the end."""

    def is_silent(self, clock_ms: int, idle_timeout_ms: int) -> bool:
        """Whether it had nothing new for the idle timeout."""
        return clock_ms - self.last_arrival_ms >= idle_timeout_ms

    def is_idle(self, clock_ms: int, idle_timeout_ms: int) -> bool:
        """Whether it is silent and read to its known end."""
        is_read = self.is_known and self.next_offset >= self.end_offset
        return is_read and self.is_silent(clock_ms, idle_timeout_ms)


@dataclass
class Watermark:
    """The watermark of one shard. It never goes back; 0 means that nothing is known yet."""

    allowed_lateness_ms: int
    idle_timeout_ms: int
    partitions: dict[str, PartitionProgress]
    current_ms: int = 0
    _busy: list[PartitionProgress] = field(default_factory=list)

    @classmethod
    def fresh(
        cls, topics: tuple[str, ...], allowed_lateness_ms: int, idle_timeout_ms: int, clock_ms: int
    ) -> Watermark:
        """The watermark of a shard that starts now: every partition is waited for at first."""
        progress = {topic: PartitionProgress(last_arrival_ms=clock_ms) for topic in topics}
        return cls(allowed_lateness_ms, idle_timeout_ms, progress, 0, list(progress.values()))

    def relies_on_ends(self, clock_ms: int) -> bool:
        """Whether the ends must be looked at before time moves: some partition is silent, so that it is not waited
        for, or only because of what the last look saw; or the broker gave no answer for it."""
        return any(
            not progress.is_known or progress.is_silent(clock_ms, self.idle_timeout_ms)
            for progress in self.partitions.values()
        )

    def confirm(self, ends: dict[str, int], clock_ms: int) -> None:
        """Take note of the broker's end offsets, asked for at this time of the clock or later; a partition
        without an answer is waited for."""
        for topic, progress in self.partitions.items():
            progress.is_known = topic in ends
            progress.end_offset = max(progress.end_offset, ends.get(topic, 0))
        self._sort_out_busy(clock_ms)

    def pass_over(self, topic: str, offset: int) -> int:
        """What a partition still has before this offset is no record, nor ever will be: it is read on from there.
        Returns how many offsets that are; none if it was read further meanwhile."""
        progress = self.partitions[topic]
        passed = max(0, offset - progress.next_offset)
        progress.next_offset += passed
        return passed

    def arrived(self, topic: str, end_offset: int, clock_ms: int) -> None:
        """A batch of a partition is here, up to before ``end_offset``, and is about to be read."""
        progress = self.partitions[topic]
        progress.end_offset = max(progress.end_offset, end_offset)
        self._sort_out_busy(clock_ms)

    def observe(self, progress: PartitionProgress, time_ms: int) -> bool:
        """An event of this time was accepted; tells whether the watermark moved."""
        if time_ms <= progress.newest_ms:
            return False
        was_slowest = progress.newest_ms - self.allowed_lateness_ms <= self.current_ms
        progress.newest_ms = time_ms
        return was_slowest and self._advance()

    def tick(self, clock_ms: int) -> bool:
        """Time has passed; tells whether the watermark moved."""
        self._sort_out_busy(clock_ms)
        return self._advance() if self._busy else self._advance_by_clock(clock_ms)

    def _sort_out_busy(self, clock_ms: int) -> None:
        timeout = self.idle_timeout_ms
        self._busy = [p for p in self.partitions.values() if not p.is_idle(clock_ms, timeout)]

    def _advance(self) -> bool:
        slowest = min(progress.newest_ms for progress in self._busy) if self._busy else NO_TIME
        return self._raise_to(slowest - self.allowed_lateness_ms)

    def _advance_by_clock(self, clock_ms: int) -> bool:
        newest = max(progress.newest_ms for progress in self.partitions.values())
        if newest == NO_TIME:
            return False
        silent_since = max(p.last_arrival_ms for p in self.partitions.values()) + self.idle_timeout_ms
        return self._raise_to(newest - self.allowed_lateness_ms + max(0, clock_ms - silent_since))

    def _raise_to(self, time_ms: int) -> bool:
        if time_ms <= self.current_ms:
            return False
        self.current_ms = time_ms
        return True
