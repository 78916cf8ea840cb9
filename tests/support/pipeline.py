"""The whole pipeline without Kafka and without a clock: topics are lists, time is moved by hand.

Shards, mergers and their journals are the real ones, partials are really packed and unpacked, and a flush
writes in the order of ``stations.py``. Every record that is written can be the last one before a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import Rules
from stream_app.alerts.watch import MetricWatch
from stream_app.ingest.dead_letter import DeadLetter, Record
from stream_app.ingest.decode import Headers
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.ingest.watermark import NO_TIME
from stream_app.metrics.ledger import Ledger
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import LEDGER_KEY, Partial, decode_partial, key_partials, merger_of, pack
from stream_app.settings import Settings
from stream_app.state.journal import Entry, Forgetting, JournalRecord
from stream_app.state.shard import Shard
from stream_app.state.slices import MemoryStore, SliceStore
from stream_app.state.standings import campaigns_among
from stream_app.state.tallies import KeyChange
from stream_app.stations.base import Header
from stream_app.stations.shard import StationHeader
from tests import oracle
from tests.support.comparison import oracle_settings
from tests.support.stores import new_journal

Json = dict[str, Any]

NO_RULES = Rules((), None)
START_MS = 1_763_719_200_000
DAY_MS = 86_400_000

_encode = msgspec.msgpack.Encoder().encode


class Crash(Exception):
    """The worker died before it could write another record."""


class AnotherOwner(Exception):
    """Somebody else wrote to the journal; whoever notices gives up."""


class LogRecord(NamedTuple):
    """A record of a journal's topic, at its offset."""

    offset: int
    key: bytes
    value: bytes | None


class Log:
    """One partition of a compacted topic. Offsets stay when records go. Its readers keep shelves in ``store``."""

    def __init__(self, store: SliceStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.records: list[LogRecord] = []
        self.next_offset = 0

    def append(self, key: bytes, value: bytes | None) -> int:
        """Write a record; returns its offset."""
        self.records.append(LogRecord(self.next_offset, key, value))
        self.next_offset += 1
        return self.next_offset - 1

    def compact(self, random: Random) -> None:
        """Drop some records that a newer one of their key supersedes, and some tombstones without any."""
        newest = {record.key: record.offset for record in self.records}
        kept: list[LogRecord] = []
        held: set[bytes] = set()
        for record in self.records:
            superseded = newest[record.key] != record.offset
            spent = record.value is None and record.key not in held
            if (superseded or spent) and random.random() < 0.7:
                continue
            kept.append(record)
            held.add(record.key)
        self.records = kept

    def live(self) -> dict[bytes, bytes]:
        """What a full compaction would leave."""
        newest = {record.key: record.value for record in self.records}
        return {key: value for key, value in newest.items() if value is not None}


_owners = count()


class _Owner:
    """One partition's journal in the hands of one worker."""

    def __init__(self, pipeline: Pipeline, log: Log) -> None:
        self.pipeline = pipeline
        self.log = log
        self.journal = new_journal(log.store)
        for record in list(log.records):
            self.journal.replay(JournalRecord(record.key, record.value), record.offset)
        self.journal.end_offset = max(self.journal.end_offset, log.next_offset)

    def claim_journal(self) -> Header | None:
        """Shut stale owners out; what others wrote since the journal was read, is read first. Raises AnotherOwner where
        somebody claims it later."""
        claims = True
        while claims:
            first, claim = self.journal.end_offset, self.journal.claim(f"owner {next(_owners)}")
            for record in claim:
                self.pipeline.produce()
                self.log.append(*record)
            found = [(JournalRecord(x.key, x.value), x.offset) for x in self.log.records if x.offset >= first]
            ours = {record.key for record in claim}
            claims = self.journal.read_on(found, ours)
            if not claims and self.journal.strangers((record for record, _ in found), ours):
                raise AnotherOwner
            self.journal.end_offset = self.log.next_offset
        header = self.journal.header
        return None if header is None else msgspec.msgpack.decode(header, type=Header)

    def write_epoch(
        self, changes: list[Entry], state: object, outbox: list[AlertChange], forgetting: Forgetting
    ) -> None:
        """One epoch, then tombstones for what it made dead."""
        self._append(self.journal.write(changes, _encode(Header(_encode(state), outbox)), forgetting))
        for record in self.journal.dead_records():
            self._append([record])

    def _append(self, records: Sequence[JournalRecord]) -> None:
        expected = self.journal.end_offset + len(records) - 1
        for record in records:
            self.pipeline.produce()
            self.journal.end_offset = self.log.append(*record) + 1
        if records and self.journal.end_offset - 1 != expected:
            raise AnotherOwner


class ShardOwner(_Owner):
    """A shard in the hands of one worker."""

    def __init__(self, pipeline: Pipeline, number: int) -> None:
        super().__init__(pipeline, pipeline.shard_logs[number])
        self.number = number

    def claim(self) -> None:
        """Take the shard over and publish again what the last epoch changed."""
        header, held, pipeline = self.claim_journal(), StationHeader(None), self.pipeline
        if header is not None:
            held = msgspec.msgpack.decode(header.state, type=StationHeader)
        self.dead_letters_end = held.dead_letters_end
        letters = [letter for number, letter in pipeline.dead_letters if number == self.number]
        unknown = {(letter.topic, letter.record.offset) for letter in letters[held.dead_letters_end :]}
        self.shard = Shard(self.journal.shelf, held.shard, pipeline.settings, pipeline.clock_ms, unknown)
        changes = self.shard.key_changes(self.journal.last_changes)
        self.publish(changes, self.shard.standings.campaigns(), is_repeat=True)

    def flush(self) -> None:
        """Dead letters, then the epoch, then the partials; only then the offsets count as committed."""
        shard, pipeline = self.shard, self.pipeline
        if not shard.has_changes():
            self.publish([], [])
            return
        out = shard.flush()
        entries = self.journal.shelf.write_down()
        for letter in out.dead_letters:
            pipeline.produce()
            pipeline.dead_letters.append((self.number, letter))
        end = sum(number == self.number for number, _ in pipeline.dead_letters)
        if out.awaits_the_dead:
            end = self.dead_letters_end
        self.write_epoch(entries, StationHeader(_encode(out.header), end), [], shard.forgetting)
        shard.forgotten_customers.clear()  # a station hands them to the churn rule, which is left out here
        self.publish(out.keys, campaigns_among(change.key for change in out.keys))
        for topic, progress in out.header.progress.items():
            pipeline.committed[topic, self.number] = progress[1]

    def publish(
        self, keys: Sequence[KeyChange], campaigns: Sequence[str], *, is_repeat: bool = False
    ) -> None:
        """Tell the mergers the absolute numbers of what changed, and where campaigns stand."""
        watermark = self.shard.watermark
        if all(progress.newest_ms == NO_TIME for progress in watermark.partitions.values()):
            return
        place = (self.number, self.journal.generation, self.journal.epoch, watermark.current_ms)
        standings = self.shard.standings.of(campaigns)
        word = Partial(*place, key_partials(keys), standings, is_repeat)
        for merger, value in pack(word, self.pipeline.partitions):
            self.pipeline.produce()
            self.pipeline.partials[merger].append(value)


class MergerOwner(_Owner):
    """A merger in the hands of one worker."""

    def __init__(self, pipeline: Pipeline, number: int) -> None:
        super().__init__(pipeline, pipeline.merger_logs[number])
        self.number = number

    def claim(self) -> None:
        """Take the merger over and tell the alerts of the last epoch again."""
        header = self.claim_journal()
        state = header.state if header else None
        pipeline = self.pipeline
        self.merger = Merger(self.journal.shelf, state, pipeline.settings)
        self.watch = MetricWatch(self.merger, AlertDesk(self.journal.shelf, pipeline.rules))
        pipeline.alerts += header.outbox if header else []

    def deliver(self, first: int, count: int | None = None) -> int:
        """Hand over partials from an offset on; returns where the next ones begin."""
        values = self.pipeline.partials[self.number][first : None if count is None else first + count]
        self.merger.process([(first + n, decode_partial(value)) for n, value in enumerate(values)])
        return first + len(values)

    def flush(self) -> None:
        """The epoch, then snapshots and alerts."""
        pipeline = self.pipeline
        changes = self.watch.judge()
        out = self.merger.flush(pipeline.clock_ms, must=self.journal.shelf.has_changes())
        if out is None:
            return
        self.write_epoch(self.journal.shelf.write_down(), out.header, changes, self.merger.forgetting)
        for snapshot in out.snapshots:
            pipeline.produce()
            pipeline.snapshots[f"{snapshot.dimension}:{snapshot.key}"] = json.loads(snapshot.to_json())
        pipeline.alerts += changes
        pipeline.committed_partials[self.number] = out.header.next_offset


class Pipeline:
    """All of it. Send records, deliver them in any order and number, flush, crash, look at the snapshots."""

    def __init__(
        self,
        settings: Settings | None = None,
        partitions: int = 2,
        clock_ms: int = START_MS,
        rules: Rules = NO_RULES,
        store: SliceStore | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.rules = rules
        self.partitions = partitions
        self.clock_ms = clock_ms
        self.topics: dict[tuple[str, int], list[Record]] = {
            (topic, number): [] for number in range(partitions) for topic in INPUT_TOPICS
        }
        self.read: dict[tuple[str, int], int] = dict.fromkeys(self.topics, 0)
        self.committed: dict[tuple[str, int], int] = dict.fromkeys(self.topics, 0)
        self.partials: list[list[bytes]] = [[] for _ in range(partitions)]
        self.read_partials = [0] * partitions
        self.committed_partials = [0] * partitions
        self.shard_logs = [Log(store) for _ in range(partitions)]
        self.merger_logs = [Log(store) for _ in range(partitions)]
        self.snapshots: dict[str, Json] = {}
        self.alerts: list[AlertChange] = []
        self.dead_letters: list[tuple[int, DeadLetter]] = []
        self.writes_left: int | None = None
        self.shards: list[ShardOwner] = []
        self.mergers: list[MergerOwner] = []
        self.recover()

    # --- what comes in

    def partition_of(self, key: bytes) -> int:
        """Where a producer puts a key."""
        return crc32(key) % self.partitions

    def send(
        self,
        value: Json | bytes | None,
        *,
        topic: str | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> tuple[str, int, int]:
        """Write a record to an input topic as a producer would; returns topic, partition and offset."""
        if isinstance(value, dict):
            topic = topic or EVENT_TYPES[value["event_type"]].topic
            key = value["customer_id"].encode() if key is None else key
            value = json.dumps(value).encode()
        assert topic is not None, "raw bytes need a topic"
        number = self.partition_of(key or b"") if partition is None else partition
        records = self.topics[topic, number]
        records.append(Record(len(records), key, value, headers))
        return topic, number, len(records) - 1

    def deliver(self, topic: str, partition: int, count: int | None = None) -> int:
        """Hand the next records of a topic to its shard, as the engine does; returns how many."""
        return self.deliver_to(self.shards[partition], topic, count)

    def deliver_to(self, owner: ShardOwner, topic: str, count: int | None = None) -> int:
        """The same to an owner that may have lost its partition without knowing."""
        partition = owner.number
        first = self.read[topic, partition]
        records = self.topics[topic, partition][first : None if count is None else first + count]
        if not records:
            return 0
        shard = owner.shard
        self.read[topic, partition] = end = records[-1].offset + 1
        shard.watermark.arrived(topic, end, self.clock_ms)
        if shard.watermark.relies_on_ends(self.clock_ms):
            self._look_at_ends()
        shard.process(topic, records, self.clock_ms)
        return len(records)

    def deliver_all(self) -> None:
        """Hand over everything that waits, topic by topic."""
        for topic, partition in self.topics:
            self.deliver(topic, partition)

    def deliver_partials(self, count: int | None = None) -> None:
        """Hand the next partials to every merger."""
        for number, owner in enumerate(self.mergers):
            self.read_partials[number] = owner.deliver(self.read_partials[number], count)

    # --- time, flushes and crashes

    def tick(self, milliseconds: int = 0) -> None:
        """Let the clock go on and look at it, as the engine does four times a second."""
        self.clock_ms += milliseconds
        if any(owner.shard.watermark.relies_on_ends(self.clock_ms) for owner in self.shards):
            self._look_at_ends()
        for owner in self.shards:
            owner.shard.tick(self.clock_ms)

    def flush_shards(self) -> None:
        """Journal and publish what changed in the shards."""
        for owner in self.shards:
            owner.flush()

    def flush_mergers(self) -> None:
        """Journal and publish what changed in the mergers."""
        for owner in self.mergers:
            owner.flush()

    def flush(self) -> None:
        """A flush of everything, a second after the last, so that every snapshot is due."""
        self.flush_shards()
        self.deliver_partials()
        self.clock_ms += self.settings.snapshot_interval
        self.flush_mergers()

    def settle(self) -> None:
        """Deliver everything and let time go on past every deadline."""
        self.deliver_all()
        settings = self.settings
        waits = settings.cart_timeout + settings.chat_timeout + settings.allowed_lateness
        self.tick(waits + settings.idle_timeout + 1)
        self.flush()

    def produce(self) -> None:
        """A record is about to be written; raises Crash where the worker dies before that."""
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Crash
            self.writes_left -= 1

    def crash(
        self, rewind: int = 0, during_flush: int | None = None, during_recovery: int | None = None
    ) -> None:
        """Lose what is in memory and start again, ``rewind`` records before what was committed.

        ``during_flush``: amid a flush, after so many written records. ``during_recovery``: and once more
        amid the recovery.
        """
        if during_flush is not None:
            self.writes_left = during_flush
            with suppress(Crash):
                self.flush()
        if during_recovery is not None:
            self.writes_left = during_recovery
            with suppress(Crash):
                self.recover(rewind)
        self.writes_left = None
        self.recover(rewind)

    def recover(self, rewind: int = 0, before_claim: Callable[[], None] | None = None) -> None:
        """Build everything anew from the journals. ``before_claim`` runs when they have been read."""
        self.shards = [ShardOwner(self, number) for number in range(self.partitions)]
        self.mergers = [MergerOwner(self, number) for number in range(self.partitions)]
        if before_claim is not None:
            before_claim()
        self.read = {place: max(0, offset - rewind) for place, offset in self.committed.items()}
        self.read_partials = [max(0, offset - rewind) for offset in self.committed_partials]
        for shard in self.shards:
            shard.claim()
        for merger in self.mergers:
            merger.claim()

    def compact(self, random: Random) -> None:
        """Let the broker clean the journals."""
        for log in (*self.shard_logs, *self.merger_logs):
            log.compact(random)

    def _look_at_ends(self) -> None:
        for owner in self.shards:
            if not hasattr(owner, "shard"):
                continue  # has read its journal, and not claimed it yet
            ends = {topic: len(self.topics[topic, owner.number]) for topic in INPUT_TOPICS}
            owner.shard.watermark.confirm(ends, self.clock_ms)

    # --- what comes out

    def snapshot(self, key: str) -> Json:
        """The last snapshot of a key."""
        return self.snapshots[key]

    def counts(self, key: str, window: str = "total") -> Json:
        """The counts of a window of a key's last snapshot."""
        held: Json = self.snapshots[key]["windows"][window]["counts"]
        return held

    def rate(self, key: str, name: str, window: str = "total") -> Json:
        """A rate of a window of a key's last snapshot."""
        held: Json = self.snapshots[key]["windows"][window]["rates"][name]
        return held

    def merged(self) -> dict[str, Json]:
        """Every key as the mergers hold it now, sent or not."""
        return {
            f"{snapshot.dimension}:{snapshot.key}": json.loads(snapshot.to_json())
            for owner in self.mergers
            for snapshot in owner.merger.all_snapshots()
        }

    @property
    def ledger(self) -> Ledger:
        """The ledger of all campaigns."""
        return self.mergers[merger_of(LEDGER_KEY, self.partitions)].merger.ledger

    def watermarks(self) -> dict[int, int]:
        """The watermark of each shard."""
        return {owner.number: owner.shard.watermark.current_ms for owner in self.shards}

    def rejected(self) -> dict[tuple[str, int, int], DeadLetter]:
        """The dead letters by topic, partition and offset."""
        return {(letter.topic, number, letter.record.offset): letter for number, letter in self.dead_letters}

    def accepted(self, *, delivered_only: bool = False) -> list[oracle.Record]:
        """What was sent and is not in the dead letters, as the oracle reads it; duplicates among it."""
        return list(self._accepted(delivered_only))

    def _accepted(self, delivered_only: bool) -> Iterator[oracle.Record]:
        rejected = self.rejected()
        for (topic, number), records in self.topics.items():
            progress = self.shards[number].shard.watermark.partitions[topic]
            end = progress.next_offset if delivered_only else len(records)
            for record in records[:end]:
                if (topic, number, record.offset) not in rejected:
                    assert record.value is not None
                    yield oracle.Record(topic, number, record.offset, json.loads(record.value))

    def batch(self, now_ms: int | Mapping[int, int] | None = None) -> oracle.Result:
        """What the oracle counts of all that was sent and not rejected, as of the shards' watermarks or of a time."""
        now_ms = self.watermarks() if now_ms is None else now_ms
        return oracle.compute(self.accepted(), settings=self.oracle_settings(), now_ms=now_ms)

    def oracle_settings(self) -> oracle.Settings:
        """The settings that matter to the oracle."""
        return oracle_settings(self.settings)
