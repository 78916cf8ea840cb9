"""The watch over the merged numbers: which keys are judged, and as of when. Pure.

Stands between the merger and the alert desk. A key is judged when it changed; one with a pending or firing
alert also as time goes on, because windows empty and waits end without an event.
"""

from __future__ import annotations

from functools import partial

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import Numbers
from stream_app.metrics.merge import Merger
from stream_app.metrics.snapshots import split_key
from stream_app.metrics.windows import MergedKey


class MetricWatch:
    """Holds one merger's keys against the rules."""

    def __init__(self, merger: Merger, desk: AlertDesk) -> None:
        self._merger = merger
        self._desk = desk
        self._judged_at: dict[str, int] = {}
        self._now_ms = 0

    def judge(self) -> list[AlertChange]:
        """Judge what has to be judged since the last call; returns what changed."""
        # A shard that speaks for the first time can take the watermark back; an alert's time never goes back.
        self._now_ms = max(self._now_ms, self._merger.watermark_ms)
        changed = self._merger.take_changed()
        active = self._desk.active_keys()
        changes: list[AlertChange] = []
        for name in sorted(changed | active):
            merged = self._merger.key(name)
            if merged is None:
                continue
            edge = max(merged.as_of_ms, self._now_ms) // PANE_MS
            if name in changed or self._judged_at.get(name) != edge:
                self._judged_at[name] = edge
                dimension, key = split_key(name)
                changes += self._desk.judge(dimension, key, partial(_counts, merged, edge), edge * PANE_MS)
        self._judged_at = {name: edge for name, edge in self._judged_at.items() if name in active}
        return changes


def _counts(merged: MergedKey, edge: int, window: str) -> Numbers:
    return Numbers(merged.window_at(window, edge))
