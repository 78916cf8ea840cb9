"""The watch over the merged numbers: which keys are judged, and as of when. Pure.

Stands between the merger and the alert desk. A key is judged when it changed; one with a pending or firing
alert also as time goes on, because windows empty and waits end without an event; and one that a rule over silence or
spikes watches at the time when that can come true.

While a worker catches up, its topics are read at different paces: opt-outs of an hour may be here, and not the deliveries
that they belong to. So no alert over a rate begins on numbers that are further ahead of the watermark than the allowed
lateness and ``PATIENCE_MS``: they are judged when the watermark is near.
"""

from __future__ import annotations

from heapq import heappop, heappush

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.key_look import KeyLook
from stream_app.alerts.lifecycle import AlertChange
from stream_app.clock import MINUTE_MS
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.merge import Merger
from stream_app.metrics.snapshots import split_key

PATIENCE_MS = 10 * MINUTE_MS
"""How far apart topics are at most while all is well: producers' clocks may be five minutes ahead."""


class MetricWatch:
    """Holds one merger's keys against the rules."""

    def __init__(self, merger: Merger, desk: AlertDesk) -> None:
        self._merger = merger
        self._desk = desk
        self._judged_at: dict[str, int] = {}
        self._now_ms = merger.watermark_ms
        self._patience_ms = merger.allowed_lateness_ms + PATIENCE_MS
        self._due: list[tuple[int, str]] = []
        self._waiting: dict[str, int] = {}
        self._campaigns: set[str] = set()
        """Those of the ledger whose numbers are too far ahead to be judged."""
        for name in merger.names():
            look, _ = self._look(name)
            if look is not None:
                self._wait(name, look)

    def judge(self) -> list[AlertChange]:
        """Judge what has to be judged since the last call; returns what changed."""
        # A shard that speaks for the first time can take the watermark back; an alert's time never goes back.
        self._now_ms = max(self._now_ms, self._merger.watermark_ms)
        must = self._merger.take_changed() | self._take_due()
        active = self._desk.active_keys()
        changes: list[AlertChange] = []
        for name in sorted(must | active):
            look, edge = self._look(name)
            if look is not None and (name in must or self._judged_at.get(name) != edge):
                self._judged_at[name] = edge
                may_begin = self._settles_at(look) <= self._now_ms
                changes += self._desk.judge(*split_key(name), look, edge * PANE_MS, may_begin)
                self._wait(name, look)
        self._judged_at = {name: edge for name, edge in self._judged_at.items() if name in active}
        return changes + self._judge_campaigns()

    def _judge_campaigns(self) -> list[AlertChange]:
        """Judge the campaigns of the ledger that changed or have an alert; empty but for the one merger that keeps it."""
        ledger = self._merger.ledger
        active = self._desk.active_campaigns()
        self._campaigns |= ledger.take_changed() | active
        judged, self._campaigns = sorted(self._campaigns), set()
        changes = []
        for name in judged:
            held = ledger.campaign(name)
            if held is not None and name not in active and held.newest_ms - self._patience_ms > self._now_ms:
                self._campaigns.add(name)
            else:
                changes += self._desk.judge_campaign(name, ledger, self._now_ms)
        return changes

    @property
    def next_due_ms(self) -> int | None:
        """From which watermark on a look may find something although nothing came: at the next pane while an alert is
        pending or firing, or a campaign waits, else when a key's time comes. None where only an event can."""
        if self._desk.active_keys() or self._desk.active_campaigns() or self._campaigns:
            return (self._now_ms // PANE_MS + 1) * PANE_MS
        return self._due[0][0] if self._due else None

    def _look(self, name: str) -> tuple[KeyLook | None, int]:
        """A key as of now, and the edge that is; None where there is no such key any more."""
        merged = self._merger.key(name)
        if merged is None:
            return None, 0
        edge = max(merged.as_of_ms, self._now_ms) // PANE_MS
        return KeyLook(merged, edge, self._now_ms), edge

    def _settles_at(self, look: KeyLook) -> int:
        """From which watermark on a key's numbers may begin an alert."""
        return look.newest_ms - self._patience_ms

    def _take_due(self) -> set[str]:
        """The keys whose time has come."""
        taken = set()
        while self._due and self._due[0][0] <= self._now_ms:
            due_ms, name = heappop(self._due)
            if self._waiting.get(name) == due_ms:
                del self._waiting[name]
                taken.add(name)
        return taken

    def _wait(self, name: str, look: KeyLook) -> None:
        """Have a key judged at its time. Where that moves on later, it is judged in vain, and waits again."""
        due_ms = self._desk.due_ms(*split_key(name), look, self._now_ms)
        settled_ms = self._settles_at(look)
        if settled_ms > self._now_ms:
            due_ms = settled_ms if due_ms is None else min(due_ms, settled_ms)
        if due_ms is not None and due_ms < self._waiting.get(name, due_ms + 1):
            self._waiting[name] = due_ms
            heappush(self._due, (due_ms, name))
