"""RocksDB under the shelves: where bytes at rest lie on disk, for a state that is larger than memory.

Stands beside ``MemorySlices``. A process has a directory of its own below ``data_dir``, held by a lock, with a
database in it for each shelf. All of it is scratch, for the journal has the truth: nothing is synced or logged
ahead, a shelf's database goes when the shelf does, and what a killed process left goes at the next start of any
other. All databases of a process share one budget of memory. See docs/decisions/0006-rocksdb.md.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, cast
from weakref import WeakSet

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    ReadOptions,
    Snapshot,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from stream_app.failure import Failure
from stream_app.settings import ENV_PREFIX
from stream_app.state.slices import SLICES, slice_of

logger = logging.getLogger(__name__)

_MEBIBYTE = 1 << 20
_MEMORY_BYTES = 96 * _MEBIBYTE
"""Of all databases of a process together: blocks read, and what has not been written to disk yet."""
_UNWRITTEN_BYTES = 32 * _MEBIBYTE
_UNWRITTEN_BYTES_A_SHELF = 4 * _MEBIBYTE
_FILTER_BITS_A_KEY = 10


class RocksSlices:
    """One shelf's slices: a database whose keys begin with the number of their slice."""

    def __init__(self, directory: Path, options: Options) -> None:
        self._directory = directory
        self._database = Rdict(str(directory), options)
        self._scratch = WriteOptions()
        self._scratch.disable_wal = True  # type: ignore[method-assign, assignment] # an attribute, typed as a method
        self._is_open = True

    def get(self, key: str) -> bytes | None:
        """See ``Slices``."""
        value: bytes | None = self._database.get(_place(key))
        return value

    def write(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """See ``Slices``."""
        self._write(WriteBatch(raw_mode=True), changes)

    def replace(self, index: int, entries: Iterable[tuple[str, bytes]]) -> None:
        """See ``Slices``."""
        batch = WriteBatch(raw_mode=True)
        batch.delete_range(bytes((index,)), bytes((index + 1,)))
        self._write(batch, entries)

    def entries(self, index: int) -> list[tuple[str, bytes]]:
        """See ``Slices``."""
        return list(_beginning_with(bytes((index,)), self._database.snapshot()))

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """See ``Slices``. A reader that outlives the shelf reads what there was when it began."""
        snapshot = self._database.snapshot()
        for index in range(SLICES):
            yield from _beginning_with(bytes((index,)) + kind.encode(), snapshot)

    def count(self) -> int:
        """See ``Slices``; an estimate of the database's."""
        return self._database.property_int_value("rocksdb.estimate-num-keys") or 0

    def close(self) -> None:
        """See ``Slices``; the database goes from the disk."""
        if self._is_open:
            self._is_open = False
            self._database.close()
            _remove(self._directory)

    def _write(self, batch: WriteBatch, changes: Iterable[tuple[str, bytes | None]]) -> None:
        for key, value in changes:
            if value is None:
                batch.delete(_place(key))
            else:
                batch.put(_place(key), value)
        self._database.write(batch, self._scratch)


class RocksStore:
    """Makes a database for each shelf of this process."""

    def __init__(self, data_dir: Path) -> None:
        """Take a directory below ``data_dir``, and remove those whose processes have ended.

        Raises:
            Failure: there is no writing there.
        """
        try:
            self._directory, self._lock = _take_directory(data_dir / "rocksdb")
        except OSError as problem:
            raise Failure(
                f"{ENV_PREFIX}DATA_DIR={str(data_dir)!r}: {problem.filename}: {problem.strerror}; "
                "name a directory that this user may write"
            ) from None
        self._options = _options()
        self._made = 0
        self._slices: WeakSet[RocksSlices] = WeakSet()

    def new_slices(self) -> RocksSlices:
        """See ``SliceStore``."""
        self._made += 1
        slices = RocksSlices(self._directory / str(self._made), self._options)
        self._slices.add(slices)
        return slices

    def close(self) -> None:
        """See ``SliceStore``; nothing is left on the disk. Once more does nothing."""
        for slices in list(self._slices):
            slices.close()
        if not self._lock.closed:
            _remove(self._directory)
            self._lock.close()


def _place(key: str) -> bytes:
    encoded = key.encode()
    return bytes((slice_of(encoded),)) + encoded


def _beginning_with(prefix: bytes, snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    reading = ReadOptions()
    reading.set_iterate_upper_bound(prefix[:-1] + bytes((prefix[-1] + 1,)))
    found = cast(Iterator[tuple[bytes, bytes]], snapshot.items(from_key=prefix, read_opt=reading))
    for place, value in found:
        yield place[1:].decode(), value


def _options() -> Options:
    cache = Cache(_MEMORY_BYTES)
    tables = BlockBasedOptions()
    tables.set_block_cache(cache)
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_bloom_filter(_FILTER_BITS_A_KEY, False)  # most keys that are asked for are new, and not there
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(tables)
    options.set_write_buffer_size(_UNWRITTEN_BYTES_A_SHELF)
    options.set_write_buffer_manager(
        WriteBufferManager.new_write_buffer_manager_with_cache(_UNWRITTEN_BYTES, False, cache)
    )
    return options


def _take_directory(base: Path) -> tuple[Path, BinaryIO]:
    """A new directory with the lock that this process holds on it for as long as it lives.

    One process at a time is in here, so that none takes another's new directory for one left behind.
    """
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for directory in base.glob("worker-*"):
            _remove_if_left_behind(directory)
        own = Path(mkdtemp(prefix=f"worker-{os.getpid()}-", dir=base))
        lock = (own / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return own, lock


def _remove_if_left_behind(directory: Path) -> None:
    """The system lets go of a process's locks when it ends, however it ends."""
    try:
        opened = (directory / "lock").open("ab")
    except FileNotFoundError:
        return  # its process has ended meanwhile, and taken it along
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # in use
        logger.info("removing %s, which a worker left behind", directory)
        _remove(directory)


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        logger.info("%s: somebody else removes it as well", directory)
    except OSError as problem:
        logger.warning("%s: %s; it stays until a worker starts here", problem.filename, problem.strerror)
