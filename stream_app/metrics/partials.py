"""Partials: what a shard tells the mergers, and how it is packed.

Stands between the shard and the merger. A partial holds *absolute* numbers, so that a repeat overwrites
and never adds; generation and epoch tell a repeat or a stale owner's word from the newest. All that a
flush changed for one merger travels in one record (several if it is large); the watermark goes to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

import msgspec
from msgspec import structs

from stream_app.metrics.cells import Cell
from stream_app.state.standings import Standing
from stream_app.state.tallies import KeyChange

MAX_PARTIAL_BYTES = 100_000
"""How large a record may become, by an estimate that errs upwards: no more than is quickly applied."""
MAX_PANES = 1_000
MAX_STANDINGS = 1_000
LEDGER_KEY = "all:all"
"""The merger of this key keeps the ledger of all campaigns."""
_CELL_BYTES, _SLOT_BYTES = 12, 12


class KeyPartial(msgspec.Struct, array_like=True, gc=False):
    """One key's numbers in one shard: the newest event time, the total, and the panes that changed."""

    key: str
    newest_ms: int
    total: Cell
    panes: dict[int, Cell]


class Partial(msgspec.Struct, array_like=True):
    """One shard's word to one merger."""

    shard: int
    generation: int
    epoch: int
    watermark_ms: int
    keys: list[KeyPartial]
    standings: list[Standing] = []
    """For the merger that keeps the ledger."""
    is_repeat: bool = False
    """Whether a new owner says what the last one may have said already."""


encode_partial = msgspec.msgpack.Encoder().encode
decode_partial = msgspec.msgpack.Decoder(Partial).decode


def merger_of(key: str, partitions: int) -> int:
    """The partition of the merger that is responsible for a dimension key."""
    return crc32(key.encode("utf-8")) % partitions


def key_partials(changes: Iterable[KeyChange]) -> list[KeyPartial]:
    """What there is to be told of keys that changed."""
    return [
        KeyPartial(change.key, change.tally.newest_ms, change.tally.total, change.panes) for change in changes
    ]


def pack(word: Partial, partitions: int) -> list[tuple[int, bytes]]:
    """A shard's word to all mergers as records, each with the partition it goes to; every merger gets at least one.
    Standings go to the merger of ``LEDGER_KEY``."""
    waiting: dict[int, list[KeyPartial]] = {partition: [] for partition in range(partitions)}
    sizes = dict.fromkeys(waiting, 0)
    records = []

    def send(partition: int, standings: Sequence[Standing] = ()) -> None:
        part = structs.replace(word, keys=waiting[partition], standings=list(standings))
        records.append((partition, encode_partial(part)))
        waiting[partition], sizes[partition] = [], 0

    for key in (piece for whole in word.keys for piece in _pieces(whole)):
        partition = merger_of(key.key, partitions)
        waiting[partition].append(key)
        sizes[partition] += _size(key)
        if sizes[partition] >= MAX_PARTIAL_BYTES:
            send(partition)
    for partition in range(partitions):
        send(partition)
    for start in range(0, len(word.standings), MAX_STANDINGS):
        send(merger_of(LEDGER_KEY, partitions), word.standings[start : start + MAX_STANDINGS])
    return records


def _pieces(key: KeyPartial) -> Iterator[KeyPartial]:
    """A key as it is, or with its panes spread over several partials."""
    if len(key.panes) <= MAX_PANES:
        yield key
        return
    panes = list(key.panes.items())
    for start in range(0, len(panes), MAX_PANES):
        yield KeyPartial(key.key, key.newest_ms, key.total, dict(panes[start : start + MAX_PANES]))


def _size(key: KeyPartial) -> int:
    slots = len(key.total) + sum(map(len, key.panes.values()))
    return 4 * len(key.key) + _CELL_BYTES * (2 + len(key.panes)) + _SLOT_BYTES * slots
