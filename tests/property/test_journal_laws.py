"""Laws of the journal: what was written is what is read, whatever was lost, repeated or cleaned away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.state import journal as journal_module
from stream_app.state.journal import Journal, JournalRecord, nothing
from stream_app.state.slices import SLICES, SliceStore
from tests.support.pipeline import Log
from tests.support.stores import new_journal, stores
from tests.support.strategies import examples

NAMES = [f"{kind}:{number}" for kind in "up" for number in range(12)]
BIG = 2_000
MOST_HEADER = 20
ROUNDS_TO_DECIDE = 6
LARGE_HEADER = b"h" * (3 * MOST_HEADER)

entries = st.tuples(st.sampled_from(NAMES), st.none() | st.integers(0, 60))
epochs = st.lists(st.lists(entries, max_size=6), max_size=40)
chunk_bytes = st.sampled_from([1, 40, 200, 700_000])


@contextmanager
def small_chunks(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "MAX_CHUNK_BYTES", size)
        patch.setattr(journal_module, "MOST_HEADER_BYTES", max(size, MOST_HEADER))
        yield


class Writer:
    """A journal with its log; changes go through the shelf as a station's do."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.journal = read(log)
        self.append(self.journal.claim())

    def write(self, changed: list[tuple[str, int | None]], header: bytes) -> list[JournalRecord]:
        """The records of an epoch, not yet on the log."""
        shelf = self.journal.shelf
        for name, size in changed:
            if size is None:
                shelf.delete(name)
            else:
                shelf.changed(name, "x" * size)
        return self.journal.write(shelf.write_down(), header, nothing)

    def append(self, records: list[JournalRecord]) -> None:
        for record in records:
            self.log.append(*record)

    def epoch(self, changed: list[tuple[str, int | None]], header: bytes = b"h") -> None:
        """A whole epoch, with its tombstones."""
        self.append(self.write(changed, header))
        self.append(self.journal.dead_records())


def read(log: Log) -> Journal:
    """A fresh journal that has read the log."""
    journal = new_journal(log.store)
    for record in log.records:
        journal.replay(JournalRecord(record.key, record.value), record.offset)
    return journal


def state(journal: Journal) -> tuple[list[dict[str, bytes]], bytes | None, int]:
    slices = [dict(journal.shelf.slices.entries(index)) for index in range(SLICES)]
    return slices, journal.header, journal.epoch


@examples()
@given(stores, epochs, chunk_bytes, st.randoms(use_true_random=False), st.booleans())
def test_what_is_written_is_read_back_after_any_compaction(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int, random: Random, compacts: bool
) -> None:
    with small_chunks(size):
        writer = Writer(Log(store))
        for number, changed in enumerate(written):
            writer.epoch(changed, b"%d" % number)
            if compacts and random.random() < 0.3:
                writer.log.compact(random)
            assert state(read(writer.log)) == state(writer.journal)
        assert read(writer.log).generation == 1


@examples()
@given(stores, epochs.filter(bool), chunk_bytes, st.integers(0, 200))
def test_an_epoch_that_is_not_whole_never_happened(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int, lost: int
) -> None:
    with small_chunks(size):
        writer = Writer(Log(store))
        for changed in written[:-1]:
            writer.epoch(changed)
        before = state(read(writer.log))
        records = writer.write(written[-1], b"lost")
        writer.append(records[: min(lost, len(records) - 1)])
        assert state(read(writer.log)) == before
        heir = Writer(writer.log)
        heir.epoch([("u:9", 9)], b"heir")
        assert state(read(writer.log)) == state(heir.journal)
        assert heir.journal.header == b"heir"


@examples()
@given(stores, epochs.filter(bool), chunk_bytes, st.integers(0, 3))
def test_what_a_stale_owner_writes_is_ignored(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int, more: int
) -> None:
    with small_chunks(size):
        stale = Writer(Log(store))
        for changed in written[:-1]:
            stale.epoch(changed)
        owner = Writer(stale.log)
        for number in range(more):
            owner.epoch([("u:1", number)], b"owner")
        before = state(read(stale.log))
        stale.append(
            stale.write(written[-1], b"stale")
        )  # sees from the offset that it is stale: no tombstones
        assert state(read(stale.log)) == before
        owner.epoch([("u:2", 2)], b"owner")
        assert state(read(stale.log)) == state(owner.journal)


@examples()
@given(stores, epochs, epochs, chunk_bytes, st.randoms(use_true_random=False))
def test_a_claim_that_came_too_soon_is_made_again_with_all_that_was_written(
    store: SliceStore,
    read_before: list[list[tuple[str, int | None]]],
    missed: list[list[tuple[str, int | None]]],
    size: int,
    random: Random,
) -> None:
    """The last owner goes on after the new one has read the journal, perhaps amid an epoch, and behind the claim too."""
    with small_chunks(size):
        old = Writer(Log(store))
        for changed in read_before:
            old.epoch(changed)
        records = [
            r for changed in missed for r in (*old.write(changed, b"missed"), *old.journal.dead_records())
        ]
        cuts = sorted(random.randint(0, len(records)) for _ in range(2))
        old.append(records[: cuts[0]])
        heir, end = read(old.log), old.log.next_offset
        old.append(records[cuts[0] : cuts[1]])
        claim = heir.claim("heir")
        for number, record in enumerate(claim):
            old.append([record])
            if number == 0:
                old.append(records[cuts[1] :])
        expected = state(read(old.log))
        found = [(JournalRecord(x.key, x.value), x.offset) for x in old.log.records if x.offset >= end]
        ours = {record.key for record in claim}
        if heir.read_on(found, ours):
            assert state(heir) == expected
            assert heir.owner == "heir"
            old.append(heir.claim("heir again"))
        else:
            assert not heir.strangers((record for record, _ in found), ours)
        for number in range(3):
            old.append([*heir.write([], b"%d" % number, nothing), *heir.dead_records()])
            assert state(read(old.log)) == state(heir)


@examples()
@given(
    stores, epochs, chunk_bytes, st.lists(st.integers(0, 1), max_size=12), st.randoms(use_true_random=False)
)
def test_of_rivals_one_has_it_in_the_end_and_nothing_is_lost(
    store: SliceStore,
    written: list[list[tuple[str, int | None]]],
    size: int,
    turns: list[int],
    random: Random,
) -> None:
    """Two were given the partition one soon after the other, and have read the same. Each claims it, reads on where it came
    second and claims again; who has it writes, until it sees that the other has it."""
    with small_chunks(size):
        writer = Writer(Log(store))
        for changed in written:
            writer.epoch(changed)
        rivals = [Rival("one", writer.log), Rival("other", writer.log)]
        for turn in turns:
            rivals[turn].take_turn()
            if random.random() < 0.3:
                writer.log.compact(random)
                assert_known(read(writer.log), rivals)
        for _ in range(ROUNDS_TO_DECIDE):
            for rival in rivals:
                rival.take_turn()
        assert sorted(rival.is_out for rival in rivals) == [False, True]
        owner = next(rival for rival in rivals if not rival.is_out)
        heir = read(writer.log)
        assert owner.has_it
        assert state(heir) == state(owner.journal)
        assert_known(heir, rivals)


def assert_known(reader: Journal, rivals: list[Rival]) -> None:
    """A reader knows all that was confirmed, by whichever of the two."""
    assert all(reader.shelf.at_rest(name) for rival in rivals for name in rival.wrote)


class Rival:
    """One of two who take a partition over, turn by turn, as a station does."""

    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log
        self.journal = read(log)
        self.journal.end_offset = log.next_offset
        self.has_it = False
        self.is_out = False
        self.wrote: list[str] = []

    def take_turn(self) -> None:
        """Claim it, or write an epoch if it has it, or nothing more if it has seen that it lost it."""
        if self.has_it:
            self._write()
        elif not self.is_out:
            claim = self.journal.claim(f"{self._name}-{self._log.next_offset}")
            self.has_it = not self.journal.read_on(*self._append(claim))

    def _write(self) -> None:
        name = f"{self._name}:{len(self.wrote)}"
        self.journal.shelf.changed(name, 1)
        if self._still_has_it(self.journal.write(self.journal.shelf.write_down(), b"h", nothing)):
            self.wrote.append(name)
            self._still_has_it(self.journal.dead_records())

    def _still_has_it(self, records: list[JournalRecord]) -> bool:
        """Append records, and look whether the other has it."""
        found, ours = self._append(records)
        if self.journal.strangers((record for record, _ in found), ours):
            self.has_it, self.is_out = False, True
        return self.has_it

    def _append(self, records: list[JournalRecord]) -> tuple[list[tuple[JournalRecord, int]], set[bytes]]:
        """What stands behind where it last read, once these records do, and their keys."""
        first = self.journal.end_offset
        for record in records:
            self._log.append(*record)
        self.journal.end_offset = self._log.next_offset
        found = [(JournalRecord(x.key, x.value), x.offset) for x in self._log.records if x.offset >= first]
        return found, {record.key for record in records}


@examples()
@given(stores, epochs, chunk_bytes)
def test_a_repeated_epoch_changes_nothing(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int
) -> None:
    """A producer that saw no confirmation writes a record again."""
    with small_chunks(size):
        writer = Writer(Log(store))
        for changed in written:
            records = writer.write(changed, b"h")
            writer.append(records)
            once = read(writer.log)
            writer.append(records[-1:])
            twice = read(writer.log)
            assert state(twice) == state(once)
            assert twice.last_changes == once.last_changes


@examples()
@given(stores, epochs.filter(bool), chunk_bytes, st.randoms(use_true_random=False))
def test_a_record_that_stands_twice_amid_its_epoch_changes_nothing(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int, random: Random
) -> None:
    """The confirmation of any record can be lost, and the repeat can come late: also of a piece of the header."""
    with small_chunks(size):
        writer = Writer(Log(store))
        for changed in written:
            records = writer.write(changed, LARGE_HEADER)
            for index in range(len(records)):
                writer.append(records[index : index + 1])
                writer.append([records[random.randint(0, index)]])
            assert state(read(writer.log)) == state(writer.journal)


@examples()
@given(stores, epochs, chunk_bytes, st.randoms(use_true_random=False))
def test_what_the_last_epoch_changed_is_known_to_the_heir(
    store: SliceStore, written: list[list[tuple[str, int | None]]], size: int, random: Random
) -> None:
    """However many owners claim and die before they publish it."""
    with small_chunks(size):
        writer = Writer(Log(store))
        for changed in filter(None, written):
            writer.epoch(changed)
            last = [(name, writer.journal.shelf.at_rest(name)) for name in {name for name, _ in changed}]
            for _ in range(random.choice((0, 0, 1, 3))):
                writer.log.compact(random)
                writer = Writer(writer.log)
            assert sorted(read(writer.log).last_changes) == sorted(last)


def test_after_many_epochs_the_log_holds_a_few_times_the_state() -> None:
    random = Random(5)
    writer = Writer(Log())
    for _ in range(4_000):
        changed = [(f"u:{random.randrange(3_000)}", random.randrange(150)) for _ in range(20)]
        writer.epoch([*changed])
    held = sum(len(key) + len(value) for part in state(writer.journal)[0] for key, value in part.items())
    live = sum(len(key) + len(value) for key, value in writer.log.live().items())
    assert live <= 4 * held
    assert state(read(writer.log)) == state(writer.journal)


def test_a_small_state_has_no_more_live_records_than_slices_and_a_few() -> None:
    writer = Writer(Log())
    for number in range(1_000):
        writer.epoch([(f"u:{number % 5}", 10)])
    assert len(writer.log.live()) <= 70


def test_an_expired_object_is_forgotten_when_its_slice_is_written() -> None:
    writer = Writer(Log())
    writer.epoch([("u:old", 1), ("u:new", 1)])
    shelf = writer.journal.shelf
    for number in range(200):
        shelf.changed("p:1", number)
        changes = shelf.write_down()
        writer.append(writer.journal.write(changes, b"h", lambda index: lambda key, value: key == "u:old"))
        writer.append(writer.journal.dead_records())
    assert shelf.at_rest("u:old") is None
    assert shelf.at_rest("u:new") is not None
    assert state(read(writer.log)) == state(writer.journal)
