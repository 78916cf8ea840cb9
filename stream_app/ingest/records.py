"""Records out of the bytes of a fetch, where aiokafka would give up. One of the modules that know aiokafka inside.

aiokafka decodes the names of headers while it unpacks, and a name that is no UTF-8 ends the consumer: one such
record would end every worker, again at each start. Such a batch is unpacked once more, slowly, with the wrong
bytes replaced. Whatever else cannot be unpacked ends the worker with a sentence that says where it lies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from stream_app.failure import Failure

_LENGTH = struct.Struct(">8xi")
"""How every batch begins: its offset, and how many bytes follow."""


def read_forgivingly(plain_topics: Iterable[str] = ()) -> None:
    """Let every consumer of this process unpack with the classes below. Of ``plain_topics`` they hand out records as
    they are unpacked, without a ``ConsumerRecord`` around each, which costs as much as all the rest.

    aiokafka's fetcher takes both by their names in its module, and has no other place to say so.
    """
    fetcher.MemoryRecords = ForgivingBatches
    fetcher.PartitionRecords = NamedPartitionRecords
    NamedPartitionRecords.plain_topics = frozenset(plain_topics)


class ForgivingBatches:
    """The batches of a fetched partition, as aiokafka's ``MemoryRecords`` hands them out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._batches = MemoryRecords(data)
        self._begin = self._end = 0
        self._is_again = False
        self.size_in_bytes = self._batches.size_in_bytes

    def has_next(self) -> bool:
        """Whether there is one more."""
        return self._is_again or bool(self._batches.has_next())

    def next_batch(self) -> Any:
        """The next batch, or the last one again if that was asked for."""
        if self._is_again:
            self._is_again = False
            return _ForgivingBatch(memoryview(self._data)[self._begin : self._end])
        batch = self._batches.next_batch()
        self._begin = self._end
        self._end += _LENGTH.size + _LENGTH.unpack_from(self._data, self._begin)[0]
        return batch

    def again(self) -> None:
        """Hand out the last batch once more, with wrong bytes in the names of headers replaced by U+FFFD."""
        self._is_again = True


class NamedPartitionRecords(fetcher.PartitionRecords):
    """The records of a fetched partition, whatever their headers are called; an error names the partition."""

    plain_topics: frozenset[str] = frozenset()
    """The topics whose records have a place, a key, a value and headers, and are nothing more."""

    _records_iterator: Iterator[Any] | None

    def __init__(self, tp: TopicPartition, *rest: Any) -> None:
        super().__init__(tp, *rest)
        self._is_plain = tp.topic in self.plain_topics
        self._records_iterator = self._unpack_forgivingly()

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator or iter(())

    def _unpack_forgivingly(self) -> Iterator[Any]:
        while True:
            try:
                yield from self._unpack_records()  # leaves out what is before ``next_fetch_offset``
                return
            except Exception as problem:
                # aiokafka's C code lets a wrong name's error through, its Python code wraps it.
                if not isinstance(problem.__cause__ or problem, UnicodeDecodeError):
                    raise self._failure(problem) from problem
            self._records.again()

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        return record if self._is_plain else super()._consumer_record(tp, record)

    def _failure(self, problem: Exception) -> Failure:
        place = self._tp
        return Failure(
            f"{place.topic}, partition {place.partition} cannot be read on at offset {self.next_fetch_offset}: "
            f"{str(problem) or repr(problem)}. If it says so again after a restart, the records there are damaged: "
            "delete the partition's records up to behind them (kafka-delete-records.sh) and start again"
        )


class _ForgivingBatch(_DefaultRecordBatchPy):
    """A batch in aiokafka's Python code, which decodes names without error."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _ForgivingBytes(self._buffer)


class _ForgivingBytes(bytearray):
    """Bytes whose slices decode without error: slices are what aiokafka's Python code decodes names from."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _ForgivingBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text, whatever was asked for in case of an error."""
        return super().decode(encoding, "replace")
