"""How fast the workers count: events a second by topic, from two reports of each worker. Pure."""

from __future__ import annotations

from collections import Counter, deque

from stream_app.clock import SECOND_MS
from stream_app.top.reading import Look, Worker

OVER_MS = 10 * SECOND_MS
"""Over so long the pace is taken."""


class Pace:
    """Remembers the looks of the last ten seconds."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def take(self, look: Look) -> Counter[str] | None:
        """Take in a look; returns the events a second by topic since the oldest look that is remembered, or None
        where there is none before this one. What a worker counted before it was seen first is not in it."""
        looks = self._looks
        while len(looks) > 1 and look.read_at_ms - looks[0].read_at_ms > OVER_MS:
            looks.popleft()
        looks.append(look)
        passed_ms = look.read_at_ms - looks[0].read_at_ms
        if passed_ms <= 0:
            return None
        before = {_identity(worker): worker for worker in looks[0].workers}
        counted: Counter[str] = Counter()
        for worker in look.workers:
            earlier = before.get(_identity(worker))
            if earlier is not None:
                for topic, count in worker.events.items():
                    counted[topic] += count - earlier.events.get(topic, 0)
        return Counter({topic: round(count * SECOND_MS / passed_ms) for topic, count in counted.items()})


def _identity(worker: Worker) -> tuple[str, str]:
    return worker.name, worker.started_at
