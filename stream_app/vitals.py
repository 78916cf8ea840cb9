"""The vital figures of one worker: how much it read, how fast it writes, how far behind it is. Beside the flow.

The parts that do the work count here, each as it goes; a report of it is shown in Redis about once a second
(``sinks/worker_report.py``) for the console, and served for Prometheus. Plain numbers, no clock, no I/O: only the worker's
one event loop touches them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BOUNDS = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0)


class Histogram:
    """How often values fell below each bound, as Prometheus has it: a value belongs to the first bound that is not
    below it, and to the last bucket where all are."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.buckets = [0] * (len(self.bounds) + 1)
        """How many values each bucket has, not summed up; the last is for those above all bounds."""
        self.sum = 0.0

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.buckets)

    def observe(self, value: float) -> None:
        """Take a value in."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Vitals:
    """What one worker has done since it started. All numbers only grow."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """Records read and applied, by input topic without the prefix; dead letters are among them."""
        self.dead_letters: Counter[str] = Counter()
        """Records not counted, by reason; those whose letters the broker has confirmed."""
        self.batches = Histogram(BATCH_BOUNDS)
        """Fetched batches of the input topics, in records."""
        self.flushes: dict[str, Histogram] = {}
        """How long flushes took, in seconds, by whose they were: ``shards`` and ``mergers``."""

        self.commits = Histogram(SECONDS_BOUNDS)
        """How long commits of offsets took, in seconds, answered well or not."""
        self.replayed = 0
        """Records of journals that were read."""

    def took_flush(self, whose: str, seconds: float) -> None:
        """A flush has ended."""
        self.flushes.setdefault(whose, Histogram(SECONDS_BOUNDS)).observe(seconds)
