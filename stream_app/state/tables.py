"""The changelogged tables: Faust recovers them, our journals say what their records mean.

One of the three modules that know Faust. A table's changelog is the journal of its partitions; at
recovery Faust reads it and hands the records over here, and when recovery is complete the engine opens
the partitions. Faust's own store keeps every key of every partition and writes each change as a record of
its own; see docs/decisions/0002-journal.md for why we do not use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import faust
from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP, EventT

from stream_app.garbage import state_is_let_go
from stream_app.state.journal import Journal, JournalRecord
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
        self.is_recovering = False
        self.is_doubtful = False
        self.failure: Exception | None = None

    def apply_changelog_batch(
        self, batch: Iterable[EventT], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Replay changelog records. Faust only logs what is raised here, so a failure is kept for later."""
        if self.is_doubtful:
            return
        try:
            for event in batch:
                message = event.message
                journal = self._journal(message.partition)
                journal.replay(JournalRecord(message.key or b"", message.value), message.offset)
        except Exception as problem:  # noqa: BLE001 - raised again when recovery completes
            self.failure = self.failure or problem

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget all partitions: those that stay are read anew as well. A recovery that overtakes another is not trusted:
        Faust may leave out what the other had read. Its journals stay empty, and whoever claims them reads them."""
        self._let_go(list(self.journals))
        self.lost = self.table.assigned()
        self.is_doubtful, self.is_recovering = self.is_recovering, True
        state_is_let_go()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """All changelog records have been replayed: hand the partitions to the engine."""
        await self.table.opened(lambda: self._recovered({tp.partition for tp in active_tps}), self.lost)

    def persisted_offset(self, tp: TP) -> int | None:
        """None outlives a rebalance, so that a recovered state is what the journal says and nothing else."""
        return -1

    def reset_state(self) -> None:
        """There are no local files."""

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """There are no local files to back up."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """There are no local files to restore."""

    def _recovered(self, owned: set[int]) -> dict[int, Journal]:
        """The journals of the partitions that are ours; raises what made a replay fail."""
        if self.failure is not None:
            raise self.failure
        self.is_recovering = False
        self._let_go([partition for partition in self.journals if partition not in owned])
        return {partition: self._journal(partition) for partition in sorted(owned)}

    def _journal(self, partition: int) -> Journal:
        journal = self.journals.get(partition)
        if journal is None:
            journal = self.journals[partition] = Journal(Shelf(self.table.slice_store.new_slices()))
        return journal

    def _let_go(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.journals.pop(partition).shelf.slices.close()

    def _clear(self) -> None:
        self._let_go(list(self.journals))


class JournalRecovery(Recovery):
    """Faust's recovery, without what it gets wrong: one that another assignment has overtaken goes on as if it were done,
    and looks whether it is the newest only once the tables have been opened, with the partitions of the next."""

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Open the tables, unless another assignment has come."""
        if self.app.consumer_generation_id == generation_id:
            await super().on_recovery_completed(generation_id)


class JournalTables(TableManager):
    """Faust's manager of tables, with our recovery."""

    @property
    def recovery(self) -> Recovery:
        """The one recovery."""
        if self._recovery is None:
            self._recovery = JournalRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class JournalTable(faust.Table[bytes, bytes]):
    """A table whose changelog is a journal. ``assigned`` is asked at each assignment for what will be set once its
    partitions are lost; that is given to ``open_partitions``, which is called after each recovery that none has overtaken.
    Shelves keep their bytes at rest in ``slice_store``."""

    assigned: Callable[[], asyncio.Event]
    open_partitions: Opened
    slice_store: SliceStore

    def _new_store(self) -> JournalStore:
        return JournalStore(
            "memory://", self.app, self, table_name=self.name, key_serializer="raw", value_serializer="raw"
        )

    async def opened(self, recovered: Callable[[], dict[int, Journal]], lost: asyncio.Event) -> None:
        """Open the recovered partitions, or end the worker: Faust would only log the failure."""
        try:
            await self.open_partitions(recovered(), lost)
        except Exception as problem:  # noqa: BLE001 - the worker ends with it
            await self.app.crash(problem)
