"""What chats and tickets share: their counts go to the dimensions of their opening event. Pure.

Where an event comes before the opening in event-time order (or the opening never comes), its counts go
to the dimensions of the first event and are moved when the opening is there.
"""

from __future__ import annotations

import msgspec

from stream_app.metrics.cells import slot_of
from stream_app.state.lifecycle import Emit, Place, Step

_RATINGS = slot_of("ratings")
_RATINGS_POSITIVE = slot_of("ratings_positive")
_POSITIVE_FROM = 4


class ServiceState(msgspec.Struct, array_like=True):
    """Whether and when it was opened, in which dimensions, and what was counted before that."""

    opened_ms: int | None = None
    seen: bool = False
    segment: str | None = None
    channel: str | None = None
    before_opening: tuple[tuple[int, int, int], ...] = ()

    def count(self, time_ms: int, slot: int, number: int, emit: Emit) -> None:
        """Count in this conversation's or case's dimensions."""
        emit(Place(time_ms, self.segment, self.channel), slot, number)
        if self.opened_ms is None:
            self.before_opening = (*self.before_opening, (time_ms, slot, number))

    def see(self, step: Step) -> None:
        """Take the dimensions of the first event for the time being."""
        if not self.seen:
            self.seen, self.segment, self.channel = True, step.segment, step.channel

    def open(self, step: Step, emit: Emit) -> bool:
        """Take the dimensions of the opening event; False where it was opened before."""
        if self.opened_ms is not None:
            return False
        for time_ms, slot, number in self.before_opening:
            emit(Place(time_ms, self.segment, self.channel), slot, -number)
            emit(Place(time_ms, step.segment, step.channel), slot, number)
        self.before_opening = ()
        self.opened_ms, self.segment, self.channel = step.time_ms, step.segment, step.channel
        return True

    def rate(self, step: Step, emit: Emit) -> None:
        """Count a rating, 4 and 5 as positive."""
        self.count(step.time_ms, _RATINGS, 1, emit)
        if (step.number or 0) >= _POSITIVE_FROM:
            self.count(step.time_ms, _RATINGS_POSITIVE, 1, emit)
