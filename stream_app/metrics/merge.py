"""The merger: adds up the shards' absolute numbers of its dimension keys. Pure.

Stands between the partials and the sinks. A merger is one partition of the partials topic. For each key
it keeps what each shard said last, and the sum of that in windows. A partial of an older epoch or of a stale owner is ignored. The clock is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, PANE_MS
from stream_app.metrics.cells import Cell
from stream_app.metrics.ledger import STANDING_KIND, Ledger
from stream_app.metrics.partials import KeyPartial, Partial
from stream_app.metrics.snapshots import Snapshot, take_snapshot
from stream_app.metrics.windows import MergedKey, difference
from stream_app.settings import Settings
from stream_app.state.journal import Expired, Rounds
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.stage_counts import holds_customers
from stream_app.state.tallies import KeyTally

TALLY_KIND, CELL_KIND, SHARD_KIND, EMPTIED_KIND = "m:", "q:", "s:", "e:"
HISTORY_KIND = "h:"
"""What the alert rules remember of a key; kept as long as the key, whose name comes first."""
_SEPARATOR = "\0"


class ShardMark(msgspec.Struct, array_like=True):
    """How far a shard's word has been heard, and the watermark it had told before the one it told last: what it told with
    that one, in one record or several, may not all have been heard."""

    generation: int = 0
    epoch: int = 0
    watermark_ms: int = 0
    told_before_ms: int = 0

    def after(self, word: Partial) -> ShardMark:
        """The mark when a word of the shard has been heard, a repeat of what was told last or the next."""
        told_before_ms, watermark_ms = self.told_before_ms, self.watermark_ms
        if word.watermark_ms > watermark_ms:
            watermark_ms = word.watermark_ms
            if not word.is_repeat:
                told_before_ms = self.watermark_ms
        return ShardMark(word.generation, word.epoch, watermark_ms, told_before_ms)


class MergeHeader(msgspec.Struct, array_like=True):
    """Up to where the partials have been applied, and which keys owe a snapshot: after a crash, those
    that this epoch was about to send as well."""

    next_offset: int = 0
    due: list[str] = []


class MergeFlush(NamedTuple):
    """What a flush takes out of a merger."""

    header: MergeHeader
    snapshots: list[Snapshot]


class Merger:
    """The merged state of one partition of the partials topic."""

    def __init__(self, shelf: Shelf, header: bytes | None, settings: Settings) -> None:
        held = msgspec.msgpack.decode(header, type=MergeHeader) if header else MergeHeader()
        self.next_offset = held.next_offset
        self._settings = settings
        self.snapshot_interval_ms = settings.snapshot_interval
        """The shortest time between two snapshots of a key."""
        self._tallies = Drawer(shelf, TALLY_KIND, KeyTally)
        self._cells = Drawer(shelf, CELL_KIND, Cell)
        self._shards = Drawer(shelf, SHARD_KIND, ShardMark)
        self._emptied = Drawer(shelf, EMPTIED_KIND, int)
        self.ledger = Ledger(shelf)
        self._marks = dict(self._shards.items())
        self._keys: dict[str, MergedKey] = {}
        self._empties: list[tuple[int, str]] = []
        self._waiting_to_empty: set[str] = set()
        self._restore()
        self._changed: set[str] = set()
        self._outdated: set[str] = set()
        self._due: dict[str, None] = dict.fromkeys(name for name in held.due if name in self._keys)
        self._sent_at: dict[str, int] = {}
        self._dirty = False
        self._rounds = Rounds()
        self.unflushed = 0

    @property
    def watermark_ms(self) -> int:
        """The watermark of the slowest shard that has spoken."""
        return min((mark.watermark_ms for mark in self._marks.values()), default=0)

    @property
    def allowed_lateness_ms(self) -> int:
        """How far the watermark stays behind the newest event of its slowest busy partition."""
        return self._settings.allowed_lateness

    def process(self, partials: Sequence[tuple[int, Partial]]) -> None:
        """Apply partials with their offsets, in order; those applied before are skipped."""
        for offset, word in partials:
            if offset < self.next_offset:
                continue
            self.next_offset = offset + 1
            self._dirty = True
            self.unflushed += 1
            mark = self._marks.get(str(word.shard), ShardMark())
            if (word.generation, word.epoch) < (mark.generation, mark.epoch):
                continue
            self._marks[str(word.shard)] = heard = mark.after(word)
            self._shards.put(str(word.shard), heard)
            for key in word.keys:
                if not (word.is_repeat and self._has_forgotten(key, heard)):
                    self._apply(word.shard, key)
            for standing in word.standings:
                self.ledger.apply(word.shard, standing)

    def take_changed(self) -> set[str]:
        """The keys that changed since the last call, to be judged."""
        changed, self._changed = self._changed, set()
        return changed

    def key(self, name: str) -> MergedKey | None:
        """The merged numbers of a key."""
        return self._keys.get(name)

    def names(self) -> Iterable[str]:
        """The names of all keys."""
        return self._keys.keys()

    def flush(self, clock_ms: int, must: bool = False) -> MergeFlush | None:
        """Take out the snapshots that are due; None if nothing has changed, unless there ``must`` be a flush."""
        self._empty_windows()
        names = [name for name in self._due if self._may_send(name, clock_ms)]
        if not (self._dirty or names or must):
            return None
        self._forget_outdated()
        snapshots = []
        for name in names:
            del self._due[name]
            self._sent_at[name] = clock_ms
            snapshots.append(take_snapshot(name, self._keys[name], self.watermark_ms))
        self._dirty = False
        self.unflushed = 0
        return MergeFlush(self.header(names), snapshots)

    def owe_nothing(self) -> None:
        """Owe no key a snapshot, as nobody looks at them."""
        self._due.clear()

    def header(self, sent: Sequence[str] = ()) -> MergeHeader:
        """How far the partials have been applied, and which keys owe a snapshot or are just being ``sent``."""
        return MergeHeader(self.next_offset, [*sent, *self._due])

    def all_snapshots(self) -> Iterable[Snapshot]:
        """Every key as it is now, for a view that has to be filled again."""
        for name in list(self._keys):
            merged = self._keys.get(name)
            if merged is not None:
                yield take_snapshot(name, merged, self.watermark_ms)

    def forgetting(self, index: int) -> Expired | None:
        """What may be forgotten of a slice of the shelf; None where that was looked at lately."""
        return self.expired if self._rounds.is_due(index, self.watermark_ms) else None

    def expired(self, key: str, value: bytes) -> bool:
        """Whether an object at rest may be forgotten; see the retention setting."""
        kind, name = key[:2], key[2:]
        if kind == CELL_KIND:
            full_key, _, pane = _split_cell_name(name)
            merged = self._keys.get(full_key)
            return merged is None or not merged.covers(pane)
        if kind == TALLY_KIND:
            full_key = name.rpartition(_SEPARATOR)[0]
            merged = self._keys.get(full_key)
            if merged is not None and self._may_forget(merged.newest_ms, merged.total):
                self._outdated.add(full_key)
            return False  # but with the next epoch, so that all that the shards said of the key goes at once
        if kind == STANDING_KIND:
            return self.ledger.expired(name, value, self.watermark_ms - self._settings.retention)
        if kind == HISTORY_KIND:
            return name.partition(_SEPARATOR)[0] not in self._keys
        return kind == EMPTIED_KIND and name not in self._keys

    def _may_forget(self, newest_ms: int, total: Cell) -> bool:
        return newest_ms < self.watermark_ms - self._settings.retention and not holds_customers(total)

    def _has_forgotten(self, word: KeyPartial, mark: ShardMark) -> bool:
        """Whether a repeat speaks of a key that was heard of and forgotten. It must not revive it: a repeat holds only
        what changed last, and of one shard."""
        return (
            word.key not in self._keys
            and word.newest_ms < mark.told_before_ms - self._settings.retention
            and self._may_forget(word.newest_ms, word.total)
        )

    def _forget_outdated(self) -> None:
        """Forget what was found to be outdated, unless something has reached it since that is to be told first."""
        for full_key in self._outdated:
            merged = self._keys[full_key]
            if full_key not in self._due and self._may_forget(merged.newest_ms, merged.total):
                self._forget(full_key)
        self._outdated.clear()

    def _forget(self, full_key: str) -> None:
        merged = self._keys.pop(full_key)
        self._sent_at.pop(full_key, None)
        for shard in self._marks:
            name = f"{full_key}{_SEPARATOR}{shard}"
            self._tallies.delete(name)
            for pane in merged.panes():
                self._cells.delete(f"{name}{_SEPARATOR}{pane}")

    def _apply(self, shard: int, word: KeyPartial) -> None:
        full_key = word.key
        name = f"{full_key}{_SEPARATOR}{shard}"
        merged = self._keys.get(full_key)
        if merged is None:
            merged = self._keys[full_key] = MergedKey()
        merged.reach(word.newest_ms)
        held = self._tallies.get(name)
        merged.change_total(difference(word.total, held.total if held else {}))
        self._tallies.put(name, KeyTally(word.newest_ms, word.total))
        for pane, cell in word.panes.items():
            cell_name = f"{name}{_SEPARATOR}{pane}"
            merged.change_pane(pane, difference(cell, self._cells.get(cell_name) or {}))
            self._cells.put(cell_name, cell)
        self._changed.add(full_key)
        self._due[full_key] = None
        if full_key not in self._waiting_to_empty:
            self._await_emptiness(full_key, merged)

    def _empty_windows(self) -> None:
        """When time has emptied a key's longest window, its empty windows are told once."""
        empties, watermark_ms = self._empties, self.watermark_ms
        while empties and empties[0][0] <= watermark_ms:
            _, name = heappop(empties)
            self._waiting_to_empty.discard(name)
            merged = self._keys.get(name)
            if merged is None or merged.is_empty():
                continue
            end_ms = merged.as_of_ms + LONGEST_WINDOW_MS
            if end_ms <= watermark_ms:
                merged.advance(end_ms // PANE_MS)
                self._emptied.put(name, end_ms // PANE_MS)
                self._due[name] = None
            else:
                self._await_emptiness(name, merged)

    def _await_emptiness(self, name: str, merged: MergedKey) -> None:
        if name not in self._waiting_to_empty:
            self._waiting_to_empty.add(name)
            heappush(self._empties, (merged.as_of_ms + LONGEST_WINDOW_MS, name))

    def _may_send(self, name: str, clock_ms: int) -> bool:
        return clock_ms - self._sent_at.get(name, 0) >= self.snapshot_interval_ms

    def _restore(self) -> None:
        for name, tally in self._tallies.items():
            merged = self._keys.setdefault(name.rpartition(_SEPARATOR)[0], MergedKey())
            merged.reach(tally.newest_ms)
            merged.change_total(tally.total)
        for name, cell in self._cells.items():
            full_key, _, pane = _split_cell_name(name)
            if full_key in self._keys:
                self._keys[full_key].change_pane(pane, cell)
        for full_key, edge in self._emptied.items():
            if full_key in self._keys:
                self._keys[full_key].advance(edge)
        for full_key, merged in self._keys.items():
            self._await_emptiness(full_key, merged)


def _split_cell_name(name: str) -> tuple[str, int, int]:
    full_key, shard, pane = name.rsplit(_SEPARATOR, 2)
    return full_key, int(shard), int(pane)
