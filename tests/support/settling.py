"""How a test with a real worker ends: time moves on past everything that waits, and the outcome is read.

Stands beside the programs; used where a test sends what it likes and then holds every window of every key
against the batch oracle.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from stream_app.clock import DAY_MS, HOUR_MS, now_ms
from stream_app.sinks.tail import read_tail, stands_between
from tests.oracle import Record, compute
from tests.support.comparison import oracle_settings
from tests.support.programs import Installation, LastSnapshots, wait_until
from tests.support.traffic import Sender, delivered, one_in_each

MOST_LOOKED_AT = 20
DEADLINES_MS = 3 * HOUR_MS
"""Longer than a cart or a chat waits."""


class Source(NamedTuple):
    """Where a dead letter's record lies."""

    topic: str
    partition: int
    offset: int


def settled_watermark(newest_ms: int, allowed_lateness_ms: int) -> int:
    """A watermark that all before has come true at, and that time by the clock takes across no day's end while a
    test looks; fails where an event that brings it about would lie in the future at some hour of the day."""
    watermark_ms = newest_ms + DEADLINES_MS
    assert watermark_ms + 2 * HOUR_MS + allowed_lateness_ms <= now_ms(), (
        "a test's traffic must lie further back"
    )
    return watermark_ms if watermark_ms % DAY_MS < DAY_MS - HOUR_MS else watermark_ms + 2 * HOUR_MS


def settle(
    place: Installation,
    sender: Sender,
    newest_ms: int,
    others: Iterable[Record] = (),
    without: Collection[Source] = (),
) -> None:
    """Send each shard an event so late that all before has come true, and wait until every number is the batch's.

    ``others`` are accepted records that somebody else sent; ``without`` says which of the sender's do not count.
    """
    settings = place.settings
    watermark_ms = settled_watermark(newest_ms, settings.allowed_lateness)
    end_ms = watermark_ms + settings.allowed_lateness
    sender.send(*(delivered(customer, end_ms) for customer in one_in_each(settings.partitions)))
    sender.flush()
    counted = [record for record in sender.records if place_of(place, record) not in without]
    expected = compute([*counted, *others], settings=oracle_settings(settings), now_ms=watermark_ms)
    snapshots = LastSnapshots(place.address, settings.prefix, settings.partitions)
    try:
        snapshots.wait_until_exact(expected, 60)
    finally:
        snapshots.close()


def place_of(place: Installation, record: Record) -> Source:
    """Where a record lies that a sender has sent."""
    return Source(place.topic(record.topic), record.partition, record.offset)


def dead_letters(
    place: Installation, expected: Collection[Source], broker_may_lose: bool = False
) -> dict[Source, Any]:
    """The dead letters by where their records lie, once there are as many as expected; fails where a record has two, and
    where one has none. ``broker_may_lose``: unless it is one that a new reader does not find either, as the embedded
    broker may have confirmed it and hold it no more."""
    begin = {TopicPartition(place.topic("deadletters"), n): 0 for n in range(place.settings.partitions)}

    letters: list[Any] = []

    def enough() -> bool:
        letters[:] = asyncio.run(read())
        return len(letters) >= len(expected)

    async def read() -> list[Any]:
        return [letter async for letter in read_tail(place.settings, begin)]

    async def is_held(source: Source) -> bool:
        there = TopicPartition(source.topic, source.partition)
        return await stands_between(place.settings, there, source.offset, source.offset + 1)

    try:
        wait_until(enough, 30, f"{len(expected)} dead letters")
    except AssertionError:
        missing = sorted(set(expected) - set(map(source_of, letters)))
        held = {source: asyncio.run(is_held(source)) for source in missing[:MOST_LOOKED_AT]}
        said = f"{len(letters)} dead letters; without one: {len(missing)}; does the broker hold them: {held}"
        if any(held.values()) or len(missing) > MOST_LOOKED_AT or not broker_may_lose:
            raise AssertionError(said) from None
        print(said)
    sources = [source_of(letter) for letter in letters]
    assert [source for source, times in Counter(sources).items() if times > 1] == [], (
        "two letters of a record"
    )
    return dict(zip(sources, letters, strict=True))


def source_of(letter: Any) -> Source:
    """Where a dead letter's record lies, by its first headers, which are ours."""
    headers = {name: value.decode() for name, value in letter.headers[:5]}
    return Source(headers["topic"], int(headers["partition"]), int(headers["offset"]))


def reason_of(letter: Any) -> str:
    """Why a record is a dead letter."""
    return str(dict(letter.headers[:5])["reason"].decode())
