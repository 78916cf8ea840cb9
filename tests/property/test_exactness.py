"""The counts are those of a batch program, whatever the order, the batches, the repeats and the crashes.

``tests/oracle`` is that batch program. Compared is every count in every window of every key, as of the
edge that the snapshot names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_app.state.slices import SliceStore
from tests import oracle
from tests.support.comparison import differences
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.stores import stores
from tests.support.strategies import GAPS, Draw, examples, make_world, world_settings, worlds

Json = dict[str, Any]
Steps = list[tuple[int, int]]

DISORDER_MS = 2 * 3_600_000
CLOCK_MS = START_MS + 60 * DAY_MS  # behind which nothing of these worlds lies

steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1 << 16)), max_size=30)


def pipeline(
    store: SliceStore,
    events: Sequence[Json],
    lateness_ms: int = DISORDER_MS,
    partitions: int = 2,
    campaign_segments: bool = False,
) -> Pipeline:
    """A pipeline with all events on their topics, none delivered yet."""
    settings = world_settings(allowed_lateness=lateness_ms, campaign_segments=campaign_segments)
    made = Pipeline(settings, partitions, CLOCK_MS, store=store)
    for event in events:
        made.send(event)
    return made


def deliver_some(made: Pipeline, number: int) -> None:
    """A batch of some size of some topic that has unread records."""
    waiting = [place for place, records in made.topics.items() if made.read[place] < len(records)]
    if waiting:
        made.deliver(*waiting[number % len(waiting)], (1, 2, 3, 7, None)[number % 5])


def take(made: Pipeline, step: tuple[int, int], crashes: bool) -> None:
    """One step of a run: mostly deliveries, else time, flushes and whatever goes wrong."""
    kind, number = step
    if kind <= 4:
        deliver_some(made, number)
    elif kind == 5:
        made.tick((0, 1, 1_000, 29_999, 30_000, 31_000)[number % 6])
    elif kind == 6:
        made.flush()
    elif kind == 7:
        if number % 2:
            made.flush_shards()
        else:
            made.deliver_partials((1, 2, None)[number % 3])
    elif crashes and kind == 8:
        writes = (None, 0, 1, 2, 3, 4, 6, 9)
        made.crash((0, 1, 3, 1_000)[number % 4], writes[(number >> 4) % 8], writes[(number >> 8) % 8])
    elif crashes:
        made.compact(Random(number))


def shown(snapshots: dict[str, Json]) -> dict[str, Any]:
    """What must be equal: as of when, and all windows. The watermark of a snapshot is that of its sending."""
    return {key: (snapshot["as_of"], snapshot["windows"]) for key, snapshot in snapshots.items()}


def accounted_for(made: Pipeline) -> int:
    """Accepted records, duplicates and dead letters."""
    return sum(owner.shard.accepted + owner.shard.duplicates for owner in made.shards) + len(
        made.dead_letters
    )


@examples()
@given(stores, worlds(DISORDER_MS), steps)
def test_any_interleaving_batches_and_repeats_give_the_batch_counts(
    store: SliceStore, world: list[Json], taken: Steps
) -> None:
    made = pipeline(store, world)
    for step in taken:
        take(made, step, crashes=False)
    made.settle()
    assert not made.rejected()
    assert differences(made.snapshots, made.batch()) == []
    assert shown(made.merged()) == shown(made.snapshots)
    assert accounted_for(made) == len(world)


@examples(0.5)
@given(stores, worlds(10 * DAY_MS), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_batch_counts(
    store: SliceStore, world: list[Json], random: Random
) -> None:
    random.shuffle(world)
    made = pipeline(store, world, lateness_ms=60 * DAY_MS, partitions=1)
    made.settle()
    assert not made.rejected()
    assert differences(made.snapshots, made.batch()) == []


@examples(0.5)
@given(stores, worlds(DISORDER_MS), steps)
def test_when_a_day_has_passed_every_window_is_empty_and_told(
    store: SliceStore, world: list[Json], taken: Steps
) -> None:
    made = pipeline(store, world)
    for step in taken:
        take(made, step, crashes=False)
    made.settle()
    made.tick(10 * DAY_MS)
    made.flush_shards()
    made.deliver_partials()
    made.flush()
    assert differences(made.snapshots, made.batch()) == []
    for snapshot in made.snapshots.values():
        for window in ("1m", "5m", "1h", "24h"):
            assert not any(snapshot["windows"][window]["counts"].values())


@examples()
@given(stores, worlds(DISORDER_MS), steps)
def test_amid_the_stream_the_counts_are_those_of_the_watermark(
    store: SliceStore, world: list[Json], taken: Steps
) -> None:
    """What waits for time is decided by the shard's watermark, or by a following event of the same cart or
    chat (see lifecycle.py). For carts the oracle does so too; chats are added to it here."""
    made = pipeline(store, world)
    for step in taken:
        take(made, step, crashes=False)
    made.flush()
    accepted = made.accepted(delivered_only=True)
    expected = oracle.compute(accepted, settings=made.oracle_settings(), now_ms=made.watermarks())
    _add_chats_missed_by_a_following_event(accepted, made, expected)
    assert differences(made.merged(), expected) == []


def _add_chats_missed_by_a_following_event(
    accepted: list[oracle.Record], made: Pipeline, expected: oracle.Result
) -> None:
    """A chat without an answer in time that has an event later than its deadline."""
    for chat in _chats(accepted):
        latest = max(record.event["event_time"] for record in chat)
        by_event = oracle.compute(chat, settings=made.oracle_settings(), now_ms=latest)
        by_time = oracle.compute(chat, settings=made.oracle_settings(), now_ms=made.watermarks())
        for key, times in _missed(by_event).items():
            for time in times[len(_missed(by_time).get(key, [])) :]:
                expected.add([key], time, "chats_missed")


def _chats(accepted: list[oracle.Record]) -> Iterable[list[oracle.Record]]:
    """The distinct events of each chat."""
    chats: dict[tuple[str, str], dict[str, oracle.Record]] = {}
    for record in accepted:
        if record.topic == "chats":
            name = (record.event["customer_id"], record.event["chat_id"])
            chats.setdefault(name, {}).setdefault(record.event["event_id"], record)
    return [list(chat.values()) for chat in chats.values()]


def _missed(result: oracle.Result) -> dict[oracle.Key, list[int]]:
    return {
        key: [item.time for item in items if item.count == "chats_missed"]
        for key, items in result.contributions.items()
    }


@examples(1.5)
@given(stores, worlds(DISORDER_MS), steps, st.booleans())
def test_any_crashes_redeliveries_and_compactions_give_the_batch_counts(
    store: SliceStore, world: list[Json], taken: Steps, campaign_segments: bool
) -> None:
    made = pipeline(store, world, campaign_segments=campaign_segments)
    for step in taken:
        take(made, step, crashes=True)
    made.settle()
    assert not made.rejected()
    assert differences(made.snapshots, made.batch()) == []
    assert shown(made.merged()) == shown(made.snapshots)
    before = shown(made.merged())
    made.crash(rewind=1_000)
    made.settle()
    assert shown(made.merged()) == before == shown(made.snapshots)


@examples()
@given(stores, worlds(DISORDER_MS), steps, st.sampled_from([0, 1_000, 600_000]))
def test_after_crashes_too_each_late_event_is_one_dead_letter_and_counts_nowhere(
    store: SliceStore, world: list[Json], taken: Steps, lateness_ms: int
) -> None:
    made = pipeline(store, world, lateness_ms)
    for step in taken:
        take(made, step, crashes=True)
    made.settle()
    assert differences(made.merged(), made.batch()) == []
    assert len(made.rejected()) == len(made.dead_letters)


@examples()
@given(stores, worlds(DISORDER_MS), steps, st.sampled_from([0, 1, 1_000, 600_000]))
def test_late_events_are_dead_letters_and_count_nowhere(
    store: SliceStore, world: list[Json], taken: Steps, lateness_ms: int
) -> None:
    made = pipeline(store, world, lateness_ms)
    for kind, number in taken:
        if kind <= 6:
            _deliver_one_and_check(made, number)
        else:
            take(made, (kind, number), crashes=False)
    made.settle()
    assert {letter.reason.value for _, letter in made.dead_letters} <= {"late"}
    assert accounted_for(made) == len(world)
    assert differences(made.snapshots, made.batch()) == []
    repeats = Counter((record.topic, record.event["event_id"]) for record in made.accepted())
    duplicates = sum(owner.shard.duplicates for owner in made.shards)
    assert duplicates == sum(repeats.values()) - len(repeats)


def _deliver_one_and_check(made: Pipeline, number: int) -> None:
    """An event is late if and only if it is older than its shard's watermark, and no repeat."""
    waiting = [place for place, records in made.topics.items() if made.read[place] < len(records)]
    if not waiting:
        return
    topic, partition = waiting[number % len(waiting)]
    shard = made.shards[partition].shard
    record = made.topics[topic, partition][made.read[topic, partition]]
    assert record.value is not None
    late = json.loads(record.value)["event_time"] < shard.watermark.current_ms
    accepted, duplicates = shard.accepted, shard.duplicates
    made.deliver(topic, partition, 1)
    made.flush_shards()
    if shard.duplicates == duplicates:
        assert (shard.accepted == accepted) == late
        assert ((topic, partition, record.offset) in made.rejected()) == late


@examples(0.5)
@given(stores, worlds(DISORDER_MS), steps)
def test_a_record_that_waits_unread_is_never_late(store: SliceStore, world: list[Json], taken: Steps) -> None:
    """However far the other topics are read ahead, and however long by the clock it waits."""
    made = pipeline(store, world, lateness_ms=0 if world == sorted(world, key=_time) else DISORDER_MS)
    for step in taken:
        take(made, step, crashes=False)
        made.tick(40_000)
    made.settle()
    assert not made.rejected()


def _time(event: Json) -> int:
    return int(event["event_time"])


@examples(0.3)
@given(stores, worlds(DISORDER_MS, size=12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 1000))
def test_a_crash_after_any_written_record_changes_nothing(
    store: SliceStore, world: list[Json], flushed: int, written: int, rewind: int
) -> None:
    straight, crashed = pipeline(store, world), pipeline(store, world)
    for number in range(flushed):
        deliver_some(crashed, number)
    crashed.flush()
    deliver_some(crashed, 4)
    crashed.crash(rewind, during_flush=written)
    for made in (straight, crashed):
        made.settle()
    assert shown(straight.merged()) == shown(crashed.merged()) == shown(crashed.snapshots)


def test_worlds_are_crowded() -> None:
    """The generator makes what the laws are about: ties, repeats, and every type."""
    random = Random(7)
    limits = (25, len(GAPS) - 1, 2, 1, 2, 11, 5)
    drawn = [Draw(*(random.randint(0, limit) for limit in limits)) for _ in range(400)]
    world = make_world(drawn, DISORDER_MS, 1)
    assert len({event["event_type"] for event in world}) == 19
    assert len({event["event_id"] for event in world}) < len(world)
    assert world != sorted(world, key=_time)
    ties = Counter(event["event_time"] for event in world)
    assert max(ties.values()) > 2
