"""What has arrived for a shard and is not applied yet, with the offsets that a broker would give it. Pure.

Stands between the order of arrival and the shard, wherever a history is replayed without a broker.
"""

from __future__ import annotations

from collections import Counter

from stream_app.backtest.arrivals import Arrival
from stream_app.ingest.dead_letter import Record
from stream_app.state.shard import Shard


class Intake:
    """The records that wait, by topic."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Record]] = {}
        self._ends: Counter[str] = Counter()

    def take(self, arrival: Arrival) -> None:
        """Note a record that has arrived."""
        topic = arrival.topic
        self._waiting.setdefault(topic, []).append(Record(self._ends[topic], arrival.key, arrival.value))
        self._ends[topic] += 1

    def apply(self, shard: Shard, clock_ms: int) -> None:
        """Hand a shard all that waits. All topics are known to have something first, so that none is passed by."""
        waiting, self._waiting = self._waiting, {}
        for topic in waiting:
            shard.watermark.arrived(topic, self._ends[topic], clock_ms)
        for topic, records in waiting.items():
            shard.process(topic, records, clock_ms)
