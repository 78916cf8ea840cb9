"""What the journals of an installation say, read as the next owner would read them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from stream_app.ingest.topics import PARTIALS
from stream_app.metrics.merge import MergeHeader
from stream_app.state.journal import Journal, JournalRecord
from stream_app.state.shard import ShardHeader
from stream_app.state.shelf import Shelf
from stream_app.stations.base import Header
from stream_app.stations.shard import StationHeader
from tests.support.programs import Installation, TopicReader, wait_until

Offsets = dict[tuple[str, int], int]


def applied_offsets(place: Installation) -> Offsets:
    """Up to before which offset each partition of the inputs and the partials is in the journals, where that is
    not 0. For workers that have ended."""
    found: Offsets = {}
    for number, state in _states(place, "shards").items():
        held = msgspec.msgpack.decode(state, type=StationHeader).shard
        if held is not None:
            progress = msgspec.msgpack.decode(held, type=ShardHeader).progress
            found |= {(topic, number): next_offset for topic, (_, next_offset, *_) in progress.items()}
    for number, state in _states(place, "merge").items():
        found[PARTIALS, number] = msgspec.msgpack.decode(state, type=MergeHeader).next_offset
    return {key: offset for key, offset in found.items() if offset}


def _states(place: Installation, table: str) -> dict[int, bytes]:
    topic = f"{place.settings.group_id}-{table}-changelog"
    journals: dict[int, Any] = defaultdict(lambda: Journal(Shelf()))
    reader = TopicReader(place.address, topic, place.settings.partitions)
    try:
        wait_until(lambda: not reader.read(300) and reader.records, 20, f"{topic} is read")
        for record in reader.records:
            journals[record.partition].replay(JournalRecord(record.key or b"", record.value), record.offset)
    finally:
        reader.close()
    headers = {number: journal.header for number, journal in journals.items() if journal.header is not None}
    return {n: msgspec.msgpack.decode(header, type=Header).state for n, header in headers.items()}
