"""The journal of one partition's state: what makes it exact after any crash. Pure.

Stands between the state and its changelog topic. Everything that one flush changes, together with
the header (up to which offset the input has been applied), is one *epoch*, written as one record or
as chunks of which the last is marked. A reader applies whole epochs only, so state and offsets can
never disagree. In turn, each epoch also writes out whole slices of the shelf, about half as many bytes as
it changes; once every slice has been written again, older records are dead and deleted by tombstones.
So the topic holds about four times the state and recovery reads no more.

Every owner of the partition writes under a *generation* of its own, one above the last it found,
and claims the partition with an empty epoch first. What a stale owner still writes bears a lower
generation and is ignored. See docs/decisions/0002-journal.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from itertools import takewhile
from typing import NamedTuple, TypeVar

import msgspec

from stream_app.clock import MINUTE_MS
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SLICES

MAX_CHUNK_BYTES = 700_000
MOST_HEADER_BYTES = 200_000
"""Together below the million bytes that a broker accepts by default."""
_ENTRY_OVERHEAD = 12
_BETWEEN_ROUNDS_MS = 10 * MINUTE_MS

Entry = tuple[str, bytes | None]
Rested = tuple[str, bytes]
Expired = Callable[[str, bytes], bool]
"""Tells of an object at rest, by its key and bytes, whether it may be forgotten."""
Forgetting = Callable[[int], Expired | None]
"""What may be forgotten of a slice, by its index; None where it need not be looked through."""
EntryT = TypeVar("EntryT", tuple[str, bytes | None], tuple[str, bytes])
Sized = tuple[list[EntryT], int]
"""Entries, and about how many bytes they take in a record."""


class SliceChunk(msgspec.Struct, array_like=True):
    """A part of a whole slice; ``first`` says that what the slice held before is gone."""

    index: int
    first: bool
    entries: list[Rested]


class Chunk(msgspec.Struct, array_like=True):
    """One record of the journal. ``header`` is in the last chunk of an epoch, or if it is large in several."""

    generation: int
    epoch: int
    changes: list[Entry]
    slices: list[SliceChunk]
    header: bytes | None = None
    last: bool = False
    owner: str = ""


class JournalRecord(NamedTuple):
    """A record to be produced: its key and its value, None for a tombstone."""

    key: bytes
    value: bytes | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Chunk).decode


class Rounds:
    """Which slices are due to be looked through: each once in a while of event time, not at every writing."""

    def __init__(self) -> None:
        self._looked_at_ms = [-_BETWEEN_ROUNDS_MS] * SLICES

    def is_due(self, index: int, watermark_ms: int) -> bool:
        """Whether a slice is due; if so, it is being looked through."""
        if watermark_ms < self._looked_at_ms[index] + _BETWEEN_ROUNDS_MS:
            return False
        self._looked_at_ms[index] = watermark_ms
        return True


class Journal:
    """Reads and writes the epochs of one shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.header: bytes | None = None
        self.generation = 0
        self.owner = ""
        self.epoch = 0
        self.end_offset = 0
        self.last_changes: list[Entry] = []
        self._live: dict[bytes, int] = {}
        self._void: list[bytes] = []
        self._slice_epochs = [0] * SLICES
        self._next_slice = 0
        self._pending: dict[bytes, Chunk] = {}
        self._before_claim = (0, "", 0, self._pending)

    def replay(self, record: JournalRecord, offset: int) -> None:
        """Read one record of the topic, in order of offsets."""
        self.end_offset = offset + 1
        if record.value is None:
            self._live.pop(record.key, None)
            return
        chunk = _decode(record.value)
        self._live[record.key] = chunk.epoch
        if chunk.generation < self.generation:
            return  # a stale owner wrote after it had lost the partition
        if chunk.generation > self.generation:
            self.generation, self.owner = chunk.generation, chunk.owner
        if chunk.owner != self.owner:
            return  # two claimed the same generation; the first has it
        if chunk.epoch <= self.epoch:
            return  # a repeat, or the claim of an owner that had not read the last epoch and gave up
        if self._pending and _place(next(iter(self._pending.values()))) != _place(chunk):
            self._pending.clear()  # an owner died amid an epoch
        self._pending.setdefault(record.key, chunk)  # one whose confirmation was lost stands there twice
        if chunk.last:
            self._apply(list(self._pending.values()))
            self._pending.clear()

    def claim(self, owner: str = "") -> list[JournalRecord]:
        """Start a generation of our own: an epoch without changes or slices that shuts stale owners out. ``owner``
        is a name that no other owner has."""
        self._before_claim = (self.generation, self.owner, self.epoch, self._pending)
        self._pending = {}
        self.shelf.drop_hot()
        self.generation += 1
        self.owner = owner
        self.epoch += 1
        return self._records(([], 0), [])

    def read_on(self, found: Sequence[tuple[JournalRecord, int]], claim: Set[bytes]) -> bool:
        """Whether others wrote what we had not read when we claimed. If so what they wrote is read now, as any reader of
        the journal sees it, and the claim is to be made again: ours is void behind an epoch of the last owner, and behind
        another claim of its generation. ``owner`` is then whoever's claim would hold if there were no such epoch.

        Args:
            found: what stands behind the place up to which the journal was read before, with offsets.
            claim: the keys of the claim's records.
        """
        before = takewhile(lambda place: place[0].key not in claim, found)
        if all(record.value is None for record, _ in before):
            return False
        self.generation, self.owner, self.epoch, self._pending = self._before_claim
        for record, offset in found:
            self.replay(record, offset)
        return True

    def write(
        self, changes: list[Entry], header: bytes | None, forgetting: Forgetting
    ) -> list[JournalRecord]:
        """The records of the next epoch: the changes, some whole slices and the header. ``forgetting`` is asked
        about each slice that is about to be written."""
        self.epoch += 1
        self.header = header
        self.last_changes = changes or self.last_changes
        changed = _size(changes)
        slices = self._slices_to_write((changed + len(header or b"") + 1) // 2, forgetting)
        return self._records((changes, changed), slices)

    def _records(self, changes: Sized[Entry], slices: list[tuple[int, Sized[Rested]]]) -> list[JournalRecord]:
        chunks = _split(self.generation, self.epoch, changes, slices)
        _add_header(chunks, self.header)
        records = []
        for number, chunk in enumerate(chunks):
            chunk.owner = self.owner
            key = f"{self.generation:010d}-{self.epoch:015d}-{number:05d}-{self.owner}".encode()
            self._live[key] = self.epoch
            records.append(JournalRecord(key, _encode(chunk)))
        return records

    def strangers(self, records: Iterable[JournalRecord], ours: Set[bytes]) -> bool:
        """Whether records that stand beside ours mean that the partition is another's: those of a higher generation
        do. What others wrote in our own generation is buried before anything of ours: it is void because our claim came
        first, and without that before it would seem to hold."""
        for record in records:
            if record.key not in ours and record.value is not None:
                chunk = _decode(record.value)
                if chunk.generation > self.generation:
                    return True
                if chunk.generation == self.generation and chunk.owner != self.owner:
                    self._void.append(record.key)
                else:
                    self._live[record.key] = chunk.epoch
        return False

    def dead_records(self) -> list[JournalRecord]:
        """Tombstones for the records that no reader needs any more; call when an epoch is confirmed."""
        oldest = min(self._slice_epochs)
        dead, self._void = self._void, []
        for key, epoch in self._live.items():
            if epoch >= oldest:
                break
            dead.append(key)
        for key in dead:
            self._live.pop(key, None)
        return [JournalRecord(key, None) for key in dead]

    def _slices_to_write(self, budget: int, forgetting: Forgetting) -> list[tuple[int, Sized[Rested]]]:
        """The next slices, by their index, until there are as many bytes as the budget."""
        written: list[tuple[int, Sized[Rested]]] = []
        for _ in range(SLICES):
            if budget <= 0:
                break
            index = self._next_slice
            self._next_slice = (index + 1) % SLICES
            self._slice_epochs[index] = self.epoch
            entries = sweep(self.shelf, index, forgetting(index))
            size = _size(entries)
            written.append((index, (entries, size)))
            budget -= size
        return written

    def _apply(self, chunks: list[Chunk]) -> None:
        changes = [entry for chunk in chunks for entry in chunk.changes]
        slices = self.shelf.slices
        slices.write(changes)
        if changes:  # an owner's claim has none; what came before it may be unpublished still
            self.last_changes = changes
        for chunk in chunks:
            for part in chunk.slices:
                if part.first:
                    slices.replace(part.index, part.entries)
                    self._slice_epochs[part.index] = chunk.epoch
                    self._next_slice = (part.index + 1) % SLICES
                else:
                    slices.write(part.entries)
        self.epoch = chunks[-1].epoch
        pieces = [chunk.header for chunk in chunks if chunk.header is not None]
        self.header = b"".join(pieces) if pieces else None


def nothing(index: int) -> None:
    """Nothing may be forgotten."""


def sweep(shelf: Shelf, index: int, expired: Expired | None) -> list[Rested]:
    """The entries of a slice, without those that may be forgotten, which leave the shelf."""
    entries = shelf.slices.entries(index)
    if expired is None:
        return entries
    gone = {key for key, value in entries if shelf.is_clean(key) and expired(key, value)}
    if not gone:
        return entries
    shelf.slices.write((key, None) for key in gone)
    for key in gone:
        shelf.hot.pop(key, None)
    return [entry for entry in entries if entry[0] not in gone]


def _add_header(chunks: list[Chunk], header: bytes | None) -> None:
    """Put the header into the last chunk, or a large one in pieces into chunks of its own."""
    if header is None or len(header) <= MOST_HEADER_BYTES:
        chunks[-1].header = header
    else:
        first = chunks[-1]
        for start in range(0, len(header), MAX_CHUNK_BYTES):
            piece = header[start : start + MAX_CHUNK_BYTES]
            chunks.append(Chunk(first.generation, first.epoch, [], [], piece))
    chunks[-1].last = True


def _place(chunk: Chunk) -> tuple[int, int]:
    return chunk.generation, chunk.epoch


def _size(entries: Sequence[Entry] | Sequence[Rested]) -> int:
    """About how many bytes entries take in a record."""
    values = sum([len(value) for _, value in entries if value])
    return sum([len(key) for key, _ in entries]) + values + _ENTRY_OVERHEAD * len(entries)


def _split(
    generation: int, epoch: int, changes: Sized[Entry], slices: list[tuple[int, Sized[Rested]]]
) -> list[Chunk]:
    """Spread an epoch over as few chunks as the size of a record allows, at least one."""
    parts = _parts(changes) or [([], 0)]
    chunks = [Chunk(generation, epoch, part, []) for part, _ in parts]
    room = MAX_CHUNK_BYTES - parts[-1][1]
    for index, whole in slices:
        for number, (part, size) in enumerate(_parts(whole) or [([], 0)]):
            if size > room:
                chunks.append(Chunk(generation, epoch, [], []))
                room = MAX_CHUNK_BYTES
            chunks[-1].slices.append(SliceChunk(index, number == 0, part))
            room -= size
    return chunks


def _parts(whole: Sized[EntryT]) -> list[Sized[EntryT]]:
    """Entries in parts that fit into a record each, with their sizes; none if there are none."""
    entries, size = whole
    if size <= MAX_CHUNK_BYTES:
        return [whole] if entries else []
    parts: list[Sized[EntryT]] = []
    part: list[EntryT] = []
    filled = 0
    for entry in entries:
        key, value = entry
        size = len(key) + len(value or b"") + _ENTRY_OVERHEAD
        if part and filled + size > MAX_CHUNK_BYTES:
            parts.append((part, filled))
            part, filled = [], 0
        part.append(entry)
        filled += size
    parts.append((part, filled))
    return parts
