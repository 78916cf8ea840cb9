"""What the journal promises where two owners meet, and where there is nothing to write."""

from __future__ import annotations

from stream_app.clock import MINUTE_MS
from stream_app.state.journal import Journal, JournalRecord, Rounds
from stream_app.state.shelf import Shelf
from tests.property.test_journal_laws import Writer, read, small_chunks, state
from tests.support.pipeline import DAY_MS, START_MS, Log, Pipeline
from tests.support.strategies import world_settings

HOUR_MS = 3_600_000


def replayed(records: list[JournalRecord]) -> Journal:
    journal = Journal(Shelf())
    for offset, record in enumerate(records):
        journal.replay(record, offset)
    return journal


def test_a_fresh_partition_has_no_header_and_generation_one() -> None:
    journal = Journal(Shelf())
    assert len(journal.claim()) == 1
    assert (journal.header, journal.generation, journal.epoch) == (None, 1, 1)


def test_every_owner_has_a_generation_of_its_own() -> None:
    log = Log()
    assert [Writer(log).journal.generation for _ in range(3)] == [1, 2, 3]


def test_a_claim_forgets_what_its_reader_had_not_written_down() -> None:
    writer = Writer(Log())
    writer.epoch([("u:1", 3)])
    writer.journal.shelf.changed("u:1", "unwritten")
    writer.journal.claim()
    assert writer.journal.shelf.hot == {}
    assert writer.journal.shelf.write_down() == []


def test_a_claim_does_not_take_back_an_epoch_that_its_owner_had_not_read() -> None:
    """The old owner's last epoch lands after the new one has read the journal and before it claims. If the new one dies
    then, whoever reads next must find state and header of the same epoch."""
    old = Writer(Log())
    old.epoch([("u:1", 1)], b"header 1")
    new = read(old.log)
    old.epoch([("u:1", 2)], b"header 2")
    for record in new.claim():
        old.log.append(*record)
    heir = read(old.log)
    assert heir.shelf.at_rest("u:1") == old.journal.shelf.at_rest("u:1")
    assert heir.header == b"header 2"


def test_of_two_owners_that_claim_the_same_generation_the_later_claim_takes_nothing_back() -> None:
    log = Log()
    Writer(log).epoch([("u:1", 1)], b"header 1")
    slow = read(log)
    quick = Writer(log)
    quick.epoch([("u:1", 2)], b"header 2")
    for record in slow.claim():
        log.append(*record)
    heir = read(log)
    assert heir.header == b"header 2"
    assert state(heir)[0] == state(quick.journal)[0]


def test_epochs_without_changes_leave_no_more_live_records_than_others() -> None:
    """A stream of duplicates, or of nothing but dead letters, only moves the header."""
    writer = Writer(Log())
    writer.epoch([("u:1", 1)])
    for _ in range(500):
        writer.epoch([])
    assert len(writer.log.live()) <= 70


def test_what_stale_owners_wrote_is_cleaned_away_too() -> None:
    """Each gives up when it sees that its records did not land where it expected."""
    owner = Writer(Log())
    for number in range(100):
        stale, owner = owner, Writer(owner.log)
        stale.append(stale.write([("u:1", number)], b"stale"))
    owner = Writer(owner.log)
    for number in range(300):
        owner.epoch([("u:1", number)])
    assert len(owner.log.live()) <= 70


def test_a_large_epoch_is_split_and_only_its_last_chunk_bears_the_header() -> None:
    with small_chunks(100):
        writer = Writer(Log())
        records = writer.write([(f"u:{number}", 50) for number in range(10)], b"header")
        writer.append(records)
        assert len(records) >= 10
        assert all(len(record.value or b"") < 300 for record in records)
        assert state(read(writer.log)) == state(writer.journal)
        assert [record.key for record in records] == sorted(record.key for record in records)


def test_tombstones_and_empty_logs_are_read_without_complaint() -> None:
    journal = replayed([JournalRecord(b"unknown", None), JournalRecord(b"", None)])
    assert (journal.epoch, journal.end_offset, journal.header) == (0, 2, None)


def test_an_owner_whose_journal_is_claimed_by_another_is_told_so() -> None:
    log = Log()
    owner = Writer(log)
    owner.epoch([("u:1", 1)])
    first = log.next_offset
    other = Writer(log)
    owner.append(owner.write([("u:1", 2)], b"stale"))
    found = [JournalRecord(x.key, x.value) for x in log.records if x.offset >= first]
    assert owner.journal.strangers(found, {found[-1].key})
    assert not other.journal.strangers(found, {found[0].key})


def test_what_an_owner_wrote_itself_is_never_taken_for_a_strangers() -> None:
    """However far back it looks: its own epochs, and those that it has read, are not buried before their time."""
    log = Log()
    Writer(log).epoch([("u:1", 1)])
    owner = Writer(log)
    owner.epoch([("u:1", 2)])
    found = [JournalRecord(x.key, x.value) for x in log.records]
    before = state(read(log))
    assert not owner.journal.strangers(found, {found[-1].key})
    owner.append(owner.journal.dead_records())
    assert state(read(log)) == before


def test_a_new_owner_that_was_too_quick_lets_no_event_be_counted_twice() -> None:
    """The old owner reads hours of event time in one epoch while the new one starts: ids of the first hours
    are forgotten in the state that the new owner's claim would send back to the older offsets."""
    settings = world_settings(allowed_lateness=0)
    pipeline = Pipeline(settings, 1, START_MS + 3 * DAY_MS)
    for number in range(10):
        place = {"event_id": f"e{number}", "event_time": START_MS + number * HOUR_MS, "customer_id": "ann"}
        pipeline.send({"event_type": "email.opened", "campaign_id": "m", **place})
    pipeline.tick(settings.idle_timeout)
    pipeline.deliver("email.opens", 0, 1)
    pipeline.flush()
    old = pipeline.shards[0]

    def old_owner_goes_on() -> None:
        pipeline.deliver_to(old, "email.opens")
        old.flush()

    pipeline.recover(before_claim=old_owner_goes_on)
    pipeline.read = dict.fromkeys(pipeline.read, 0)
    pipeline.settle()
    assert pipeline.counts("campaign:m")["opens"] == 10
    assert not pipeline.dead_letters


def test_a_slice_is_looked_through_again_after_ten_minutes_of_event_time() -> None:
    rounds = Rounds()
    assert [rounds.is_due(3, minute * MINUTE_MS) for minute in (0, 5, 9, 10, 15, 20)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip
    assert rounds.is_due(4, 5 * MINUTE_MS)


def test_a_dead_letter_is_known_until_its_record_is_read_again() -> None:
    """An owner that dies between a dead letter and its epoch leaves the letter to be read back. The next one writes other
    letters, and dies before it has come to that record again."""
    pipeline = Pipeline(world_settings(), 1, START_MS + DAY_MS)
    pipeline.send(b"{", topic="email.opens", key=b"ann")
    pipeline.deliver("email.opens", 0)
    pipeline.crash(during_flush=1)
    assert len(pipeline.dead_letters) == 1
    pipeline.send(b"{", topic="carts", key=b"ann")
    pipeline.deliver("carts", 0)
    pipeline.flush()
    pipeline.crash()
    pipeline.settle()
    assert sorted(letter.topic for _, letter in pipeline.dead_letters) == ["carts", "email.opens"]
    pipeline.crash(rewind=1)
    pipeline.settle()
    assert len(pipeline.dead_letters) == 2
