"""What one target still has to be told: whose turn it is, when to try again, and when to give up. Pure.

Stands between ``follow`` and the sending. Changes are told in their order, but an alert that the target cannot take is
overtaken by others, each of which keeps its own order. Room is bounded: who reads the topic asks ``is_full`` and waits, as
everything is safe in Kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stream_app.notifiers.follow import Record

ROOM: Final = 1_000
"""Changes that wait for one target before reading pauses."""

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
LONGEST_ASKED_SECONDS: Final = 3600.0
"""The longest pause that a target is granted when it asks for one."""

FAILURES_OF_ITS_OWN: Final = 5
"""So often a change fails while the target takes others, before it is given up on."""


class Place(NamedTuple):
    """A partition of an alert topic."""

    topic: str
    partition: int


@dataclass(slots=True, eq=False)
class Waiting:
    """A change that waits. ``since`` is a time in seconds; ``own_failures`` are those since which the target took
    another change; ``taken_before`` how many it had taken at the last failure."""

    place: Place
    record: Record
    since: float
    failures: int = 0
    own_failures: int = 0
    taken_before: int = -1

    @property
    def alert(self) -> str:
        """The fingerprint of its alert."""
        return self.record.notice.alert.fingerprint


@dataclass(slots=True)
class Tally:
    """How many changes of alerts went which way since the program began."""

    delivered: int = 0
    given_up: int = 0
    superseded: int = 0


@dataclass
class Backlog:
    """The changes that wait for one target. ``give_up_seconds`` is how long one waits at most; ``chance`` gives a number
    in 0..1 anew at every call, for the jitter. Times are seconds of a clock that never steps back."""

    give_up_seconds: float
    chance: Callable[[], float]
    room: int = ROOM
    tally: Tally = field(default_factory=Tally)
    failures: int = 0
    """Tries in a row that failed."""
    paused_until: float = 0.0
    _waiting: dict[Waiting, None] = field(default_factory=dict)
    _others_first_until: dict[str, float] = field(default_factory=dict)
    """Until when an alert that the target did not take lets others go first."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another change."""
        return len(self._waiting) >= self.room

    def add(self, place: Place, record: Record, now: float) -> None:
        """Put a change behind the others."""
        self._waiting[Waiting(place, record, now)] = None

    def next(self, now: float) -> Waiting | None:
        """The change whose turn it is: the oldest of those that need not let others go first, or else the one that has
        done so for longest. None when there is none, or the target has a pause."""
        if now < self.paused_until or not self._waiting:
            return None
        for waiting in self._waiting:
            if self._others_first_until.get(waiting.alert, now) <= now:
                return waiting
        return min(self._waiting, key=lambda waiting: self._others_first_until[waiting.alert])

    def supersede(self) -> list[Waiting]:
        """Take out what a later change of the same occurrence says as well; returns that, the oldest first."""
        last = {waiting.record.notice.alert.occurrence: waiting for waiting in self._waiting}
        left_out = [one for one in self._waiting if one is not last[one.record.notice.alert.occurrence]]
        for waiting in left_out:
            del self._waiting[waiting]
        self.tally.superseded += len(left_out)
        return left_out

    def delivered(self, waiting: Waiting) -> None:
        """Note that the target has taken a change."""
        self.tally.delivered += 1
        self._remove(waiting)
        self.answered()

    def answered(self) -> None:
        """Note that the target is well; no pause is needed any more."""
        self.failures, self.paused_until = 0, 0.0

    def given_up(self, waiting: Waiting) -> None:
        """Note that a change cannot be delivered."""
        self.tally.given_up += 1
        self._remove(waiting)

    def failed(self, waiting: Waiting, now: float) -> bool:
        """Note that a try failed; returns whether this change is to be given up on.

        The next try is of the same change, as most failures pass, and what overtakes it would be told again after a
        restart. If that fails, too, other alerts go first. A change is given up on when it waited too long, or when it
        failed several times although the target took others in between, so that it must be the change itself.
        """
        if waiting.taken_before != self.tally.delivered:
            waiting.own_failures += waiting.taken_before >= 0
            waiting.taken_before = self.tally.delivered
        waiting.failures += 1
        if waiting.failures > 1:
            self._others_first_until[waiting.alert] = now + 2 * _longest_pause(self.failures + 1)
        return waiting.own_failures >= FAILURES_OF_ITS_OWN or now - waiting.since >= self.give_up_seconds

    def pause(self, now: float, asked_seconds: float | None) -> float:
        """Let the target rest after a failed try; returns for how long.

        The pause doubles with every failure in a row, and a part of it is left to chance, so that many who were
        turned away together do not come back together. A target that asks for a longer one gets it.
        """
        self.failures += 1
        pause = _longest_pause(self.failures) * (0.5 + self.chance() / 2)
        if asked_seconds is not None:
            pause = max(pause, min(asked_seconds, LONGEST_ASKED_SECONDS))
        self.paused_until = now + pause
        return pause

    def forget(self) -> None:
        """Forget all that waits, as when the partitions go to others."""
        self._waiting.clear()
        self._others_first_until.clear()

    def _remove(self, waiting: Waiting) -> None:
        """Take a change out; it may have been forgotten meanwhile."""
        self._waiting.pop(waiting, None)
        self._others_first_until.pop(waiting.alert, None)


def _longest_pause(failures: int) -> float:
    """The pause after so many failures in a row, before chance shortens it."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30))
