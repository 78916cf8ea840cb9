"""What one target has to be told of one partition of an alert topic, in the order of its records. Pure.

Stands between ``feed`` and ``backlog``. A partition is always read from its beginning: what lies before the offset that
the target's group has committed is *history*, which was told already and is only remembered, so that the alerts that
fire are known after every restart. A target that has committed nothing yet is told what fires now, and nothing else of
the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from stream_app.notifiers.notice import Alert, Notice


@dataclass(frozen=True, slots=True)
class Choice:
    """Which alerts a target is told. Empty ``dimensions`` and ``keys`` stand for all; ``keys`` are shell patterns;
    ``kinds`` says which topics are read at all. ``lowest_rank`` is that of the mildest severity that is told."""

    kinds: tuple[str, ...]
    lowest_rank: int = 0
    dimensions: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def is_about(self, alert: Alert) -> bool:
        """Whether an alert is about what the target wants, however severe."""
        return (
            alert.kind in self.kinds
            and (not self.dimensions or alert.dimension in self.dimensions)
            and (not self.keys or any(fnmatchcase(alert.key, pattern) for pattern in self.keys))
        )


class Record(NamedTuple):
    """A notice and where it stands. ``time_ms`` is when it was written, by the clock."""

    offset: int
    time_ms: int
    notice: Notice


class Partition:
    """One partition of an alert topic, as one target sees it."""

    def __init__(self, choice: Choice, committed: int | None) -> None:
        self._choice = choice
        self._committed = committed
        self._wanted: dict[str, Record] = {}
        """The last change of each alert that fires and that the target wants; while history is read, of the ended too."""
        self._told_before: list[Record] = []
        self._open: dict[int, None] = {}
        self._position = committed or 0
        self._safe_from = committed or 0
        self.in_history = True

    def read(self, offset: int, time_ms: int, notice: Notice | None) -> list[Record]:
        """Take the next record, or None for one that is no change of an alert; returns what is to be told now."""
        told: list[Record] = []
        if self.in_history and self._committed is not None and offset >= self._committed:
            told += self._end_history(is_new=False)
        self._position = max(self._position, offset + 1)
        if notice is None or not self._lets_through(notice.alert):
            return told
        record = Record(offset, time_ms, notice)
        self._remember(record)
        return told if self.in_history else [*told, *self._to_tell([record])]

    def end_of_history(self, position: int) -> list[Record]:
        """Note that all was read that stood in the partition when it was taken over, up to ``position``; returns what
        is to be told now. What was committed lies beyond that only if the topic was deleted and created again: nothing
        of the new one was told."""
        self._position = position
        return self._end_history(is_new=self._committed is None or position < self._committed)

    def done(self, offset: int) -> None:
        """Note that a change was delivered or given up on."""
        self._open.pop(offset, None)

    def take_told_before(self) -> list[Record]:
        """The last change of each alert that the target was told of before this partition was taken over; once."""
        told, self._told_before = self._told_before, []
        return told

    @property
    def committable(self) -> int | None:
        """The offset behind which nothing is left to be done; None as long as that is not known.

        Until all that fired when the target was new has been told, there is none: a restart begins anew.
        """
        if self.in_history:
            return None
        first = next(iter(self._open), self._position)
        return first if first >= self._safe_from else None

    def _end_history(self, is_new: bool) -> list[Record]:
        """From here on, changes are told; what fires, where nobody was told of it."""
        self.in_history = False
        last = sorted(self._wanted.values())
        firing = [record for record in last if record.notice.alert.is_firing]
        self._wanted = {record.notice.alert.fingerprint: record for record in firing}
        if not is_new:
            self._told_before = last
            return []
        self._safe_from = self._position
        return self._to_tell(firing)

    def _lets_through(self, alert: Alert) -> bool:
        """Whether the target is told: the severity must suffice once, and what was told is told to its end."""
        if alert.is_pending or not self._choice.is_about(alert):
            return False
        if alert.rank >= self._choice.lowest_rank:
            return True
        known = self._wanted.get(alert.fingerprint)
        return known is not None and known.notice.alert.occurrence == alert.occurrence

    def _remember(self, record: Record) -> None:
        alert = record.notice.alert
        if alert.is_firing or self.in_history:
            self._wanted[alert.fingerprint] = record
        else:
            self._wanted.pop(alert.fingerprint, None)

    def _to_tell(self, records: list[Record]) -> list[Record]:
        self._open.update(dict.fromkeys(record.offset for record in records))
        return records
