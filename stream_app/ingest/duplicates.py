"""Which event ids have been seen, per topic. Stands before the shard state; pure.

An id is remembered until the watermark has left its event time behind by the duplicate window, so at
least as long as an event of that time could still be accepted. Ids are listed by the hour of event
time they came with, so that forgetting is dropping whole hours.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream_app.clock import HOUR_MS

SPAN_MS = HOUR_MS
"""Ids are forgotten in spans of event time this long."""


class SeenIds:
    """The ids of one shard; every look-up is one set membership."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}
        self._spans: dict[tuple[str, int], list[str]] = {}

    def of_topic(self, topic: str) -> set[str]:
        """The ids seen on a topic, to be read only."""
        return self._ids.setdefault(topic, set())

    def remember(self, topic: str, span: int, ids: Iterable[str]) -> None:
        """Remember ids with the span (``event time // SPAN_MS``) they came with."""
        new = list(ids)
        self.of_topic(topic).update(new)
        self._spans.setdefault((topic, span), []).extend(new)

    def forget_before(self, time_ms: int) -> None:
        """Drop the spans that end at or before this event time."""
        for topic, span in [place for place in self._spans if (place[1] + 1) * SPAN_MS <= time_ms]:
            self._ids[topic].difference_update(self._spans.pop((topic, span)))

    def __len__(self) -> int:
        return sum(len(ids) for ids in self._ids.values())
