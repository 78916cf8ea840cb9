"""The changelogged tables: Faust assigns them, our journals say what their records mean.

One of the three modules that know Faust. A table's changelog is the journal of its partitions. Faust assigns it with
the partition, and says when an assignment is complete; then the engine opens the partitions, and reads their journals
itself. Faust's own store keeps every key of every partition and writes each change as a record of its own, and its
recovery takes records one at a time; see docs/decisions/0002-journal.md for why we use neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import faust
from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP, CollectionT, EventT

from stream_app.garbage import state_is_let_go
from stream_app.state.journal import Journal
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SliceStore

Opened = Callable[[dict[int, Journal], asyncio.Event], Awaitable[None]]


class JournalStore(Store[bytes, bytes]):
    """The journals of the partitions that this worker owns."""

    table: JournalTable

    def __post_init__(self) -> None:
        """Start without partitions; called by Faust's service."""
        self.journals: dict[int, Journal] = {}
        self.lost = asyncio.Event()

    def apply_changelog_batch(
        self, batch: Iterable[EventT], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Faust reads no changelog, see ``JournalRecovery``."""
        raise NotImplementedError

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget all partitions: those that stay are read anew as well, so that a state is what the journal says and
        nothing else."""
        self._let_go()
        self.lost = self.table.assigned()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """The assignment is complete: hand the partitions to the engine, with journals that are still to be read."""
        self._let_go()
        for partition in sorted(tp.partition for tp in active_tps):
            self.journals[partition] = Journal(Shelf(self.table.slice_store.new_slices()))
        await self.table.opened(dict(self.journals), self.lost)

    def persisted_offset(self, tp: TP) -> int | None:
        """There are no local files."""

    def reset_state(self) -> None:
        """There are no local files."""

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """There are no local files to back up."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """There are no local files to restore."""

    def _let_go(self) -> None:
        for journal in self.journals.values():
            journal.shelf.slices.close()
        self.journals = {}

    def _clear(self) -> None:
        self._let_go()


class JournalRecovery(Recovery):
    """Faust's recovery with nothing to read, as the journals are read by those who open them; and without what it gets
    wrong: one that another assignment has overtaken goes on as if it were done, and looks whether it is the newest only once
    the tables have been opened, with the partitions of the next."""

    def add_active(self, table: CollectionT, tp: TP) -> None:
        """A changelog is ours. Its offsets are not looked at, nor its records."""
        self.actives_for_table[table].add(tp)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Open the tables, unless another assignment has come."""
        if self.app.consumer_generation_id == generation_id:
            await super().on_recovery_completed(generation_id)


class JournalTables(TableManager):
    """Faust's manager of tables, with our recovery."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """The journals of the last assignment are let go."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        state_is_let_go()

    @property
    def recovery(self) -> Recovery:
        """The one recovery."""
        if self._recovery is None:
            self._recovery = JournalRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class JournalTable(faust.Table[bytes, bytes]):
    """A table whose changelog is a journal. ``assigned`` is asked at each assignment for what will be set once its
    partitions are lost; that is given to ``open_partitions``, which is called for each assignment that none has overtaken.
    Shelves keep their bytes at rest in ``slice_store``."""

    assigned: Callable[[], asyncio.Event]
    open_partitions: Opened
    slice_store: SliceStore

    def _new_store(self) -> JournalStore:
        return JournalStore(
            "memory://", self.app, self, table_name=self.name, key_serializer="raw", value_serializer="raw"
        )

    async def opened(self, journals: dict[int, Journal], lost: asyncio.Event) -> None:
        """Open the partitions, or end the worker: Faust would only log the failure."""
        try:
            await self.open_partitions(journals, lost)
        except Exception as problem:  # noqa: BLE001 - the worker ends with it
            await self.app.crash(problem)
