"""Holes: a batch that begins behind the place where its partition was left. Stands between Faust and the engine.

Around a rebalance Faust may hand over records that were fetched for a position it has left since; to apply them
would skip all that lies between, for ever. So the first batch behind a hole is not taken, and the partition is
read again from where it was left. Some holes are real (markers of transactions, records that retention or
compaction removed): then the same batch comes again, and may be taken if Kafka has nothing between. Pure.
"""

from __future__ import annotations

from typing import NamedTuple


class Hole(NamedTuple):
    """From the offset that was expected to the one that came."""

    expected: int
    came: int


class Holes:
    """The holes seen last, by place."""

    def __init__(self) -> None:
        self._seen: dict[object, Hole] = {}

    def accepts(self, place: object, expected: int, came: int) -> bool:
        """Whether a batch that begins at ``came`` may be applied to a partition left at ``expected``."""
        if came <= expected:
            self._seen.pop(place, None)
            return True
        seen = self._seen.get(place)
        if seen == Hole(expected, came):
            del self._seen[place]
            return True
        if seen is None or seen.expected != expected or came < seen.came:
            self._seen[place] = Hole(expected, came)
        return False
