"""The merge station: one merger, its alert rules, and how it is flushed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.watch import MetricWatch
from stream_app.clock import now_ms
from stream_app.ingest.topics import METRICS, PARTIALS
from stream_app.metrics.merge import MergeHeader, Merger
from stream_app.metrics.snapshots import Snapshot
from stream_app.sinks.publisher import OutRecord
from stream_app.sinks.redis_view import FiringAlert
from stream_app.stations.alert_teller import firing_alert
from stream_app.stations.base import Station


class MergeStation(Station):
    """One merger."""

    reads = (PARTIALS,)
    merger: Merger
    desk: AlertDesk
    applied = 0
    """Up to before which offset the partials are in the journal, and may be committed."""

    async def open(self, lost: asyncio.Event) -> None:
        """Shut stale owners out, take the merger up from its journal, and tell what may not have been told."""
        header = await self.claim_journal(lost)
        self.merger = Merger(self.journal.shelf, header.state if header else None, self.settings)
        self.desk = AlertDesk(self.journal.shelf, self.rules)
        self._watch = MetricWatch(self.merger, self.desk)
        await self.tell_the_rest(header, self.merger.header())
        retired = self.desk.retire_unwatched(self.merger.watermark_ms)
        if retired:
            await self._write(self.merger.header(), retired, [])

    async def flush_changes(self) -> None:
        """Journal what has changed since the last flush, then publish snapshots and alerts."""
        changes = self._watch.judge()
        out = self.merger.flush(now_ms(), must=self.journal.shelf.has_changes())
        if out is not None:
            await self._write(out.header, changes, out.snapshots)

    def everything(self) -> Iterator[Snapshot | FiringAlert]:
        """Every key and every firing alert, for a view that has to be filled again."""
        yield from (firing_alert(change) for change in self.desk.firing())
        yield from self.merger.all_snapshots()

    async def _write(
        self, header: MergeHeader, changes: list[AlertChange], snapshots: Sequence[Snapshot]
    ) -> None:
        await self.write_epoch(self.journal.shelf.write_down(), header, changes, self.merger.forgetting)
        self.applied = header.next_offset
        for snapshot in snapshots:
            self.view.show(snapshot)
        topic = self.settings.topic(METRICS)
        records = [OutRecord(topic, f"{s.dimension}:{s.key}".encode(), s.to_json()) for s in snapshots]
        await self.publisher.write(records)
        await self.tell_alerts(changes, header)
