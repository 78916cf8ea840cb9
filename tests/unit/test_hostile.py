"""Every hostile kind: decoded without an error and at once, and by a shard given the reason that it expects."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from stream_app.clock import HOUR_MS
from stream_app.ingest.decode import Reason, Rejected, decode
from tests.support.hostile import HEAVY_EVERY, Hostile, Hostility
from tests.support.hostile_kinds import KINDS, Kind
from tests.support.pipeline import START_MS, Pipeline
from tests.support.strategies import world_settings
from tests.support.traffic import delivered

JUDGED_BY_THE_SHARD = {Reason.TOO_LARGE, Reason.LATE, Reason.FUTURE}
LONGEST_SECONDS = 0.05
TRIES = 3
BY_NAME = {kind.name: kind for kind in KINDS}


def hostility(seed: int = 1) -> Hostility:
    return Hostility(seed, START_MS, START_MS)


def as_read(record: Hostile) -> list[tuple[str, bytes | None]]:
    """The headers as a consumer reads them: wrong bytes in a name are replaced."""
    return [(name.encode().decode("utf-8", "replace"), value) for name, value in record.headers]


def seconds_of(record: Hostile) -> tuple[float, Reason | None]:
    """How long decoding took, and what came of it."""
    begun = time.perf_counter()
    try:
        decode(record.topic, record.key, record.value, as_read(record))
        reason = None
    except Rejected as rejected:
        reason = rejected.reason
    return time.perf_counter() - begun, reason


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_a_hostile_record_is_decoded_at_once_to_what_its_kind_says(kind: Kind) -> None:
    record = hostility().one(kind)
    outcomes = [seconds_of(record) for _ in range(TRIES)]
    assert min(seconds for seconds, _ in outcomes) < LONGEST_SECONDS
    if kind.reason not in JUDGED_BY_THE_SHARD:
        assert {reason for _, reason in outcomes} == {kind.reason}


def test_a_shard_gives_every_kind_its_reason_and_counts_what_is_only_odd() -> None:
    pipeline = Pipeline(world_settings(allowed_lateness=HOUR_MS), 1, START_MS)
    pipeline.send(delivered("first", START_MS))
    pipeline.deliver_all()
    pipeline.tick(31_000)  # all other topics are idle: the far past is late from here on
    sent = {}
    for record in hostility().records(3 * len(KINDS)):
        place = pipeline.send(
            record.value, topic=record.topic, key=record.key, partition=0, headers=as_read(record)
        )
        sent[place] = record
    pipeline.settle()
    letters = pipeline.rejected()
    said = {place: letters[place].reason if place in letters else None for place in sent}
    assert {sent[place].kind: reason for place, reason in said.items() if reason != sent[place].reason} == {}
    odd = sum(record.counts is not None for record in sent.values())
    assert (pipeline.shards[0].shard.accepted, pipeline.shards[0].shard.duplicates) == (odd + 1, 0)
    assert max(len(letter.detail) for letter in letters.values()) < 5_000


def test_the_seed_repeats_every_byte_and_another_seed_does_not() -> None:
    first, again, other = (list(hostility(seed).records(300)) for seed in (1, 1, 2))
    assert first == again
    assert [record.value for record in first] != [record.value for record in other]


def test_all_kinds_come_the_heavy_ones_rarely_and_every_reason_is_among_them() -> None:
    assert len(BY_NAME) == len(KINDS) >= 35
    assert {kind.reason for kind in KINDS} == {*Reason, None}
    light = sum(not kind.is_heavy for kind in KINDS)
    records = list(hostility().records(len(KINDS) + light * (HEAVY_EVERY - 1)))
    times = [sum(record.kind == name for record in records) for name in BY_NAME]
    assert [1 if kind.is_heavy else HEAVY_EVERY for kind in KINDS] == times
    ids = [record.counts["event_id"] for record in records if record.counts]
    assert all(earlier != later for earlier, later in pairwise(sorted(ids)))
