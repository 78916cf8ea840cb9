"""Which event ids have been seen, per topic. Stands before the shard state; pure.

An id is remembered until the watermark has left its event time behind by the duplicate window, so at
least as long as an event of that time could still be accepted. Ids are listed by the hour of event
time they came with, so that forgetting is dropping whole hours.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.clock import HOUR_MS

SPAN_MS = HOUR_MS
"""Ids are forgotten in spans of event time this long."""


class SeenIds:
    """The ids of one topic in one shard; every look-up is one set membership."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        """All of them, to be read only."""
        self._spans: dict[int, list[str]] = {}
        self._new: dict[int, list[str]] = {}

    def remember(self, event_id: str, time_ms: int) -> None:
        """Remember the id of an event of this time."""
        self.ids.add(event_id)
        span = time_ms // SPAN_MS
        new = self._new.get(span)
        if new is None:
            self._new[span] = [event_id]
        else:
            new.append(event_id)

    def restore(self, span: int, ids: Sequence[str]) -> None:
        """Remember ids of a span (``event time // SPAN_MS``) that were taken out as new before."""
        self.ids.update(ids)
        self._spans.setdefault(span, []).extend(ids)

    def take_new(self) -> dict[int, list[str]]:
        """The ids since the last call, by span."""
        new, self._new = self._new, {}
        for span, ids in new.items():
            self._spans.setdefault(span, []).extend(ids)
        return new

    def forget_before(self, time_ms: int) -> None:
        """Drop the spans that end at or before this event time, but for new ids."""
        for span in [span for span in self._spans if (span + 1) * SPAN_MS <= time_ms]:
            self.ids.difference_update(self._spans.pop(span))

    def __len__(self) -> int:
        return len(self.ids)
