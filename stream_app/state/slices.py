"""Where a shelf's bytes at rest lie: in slices, which the journal writes out in turn.

Stands under the shelf. They lie in memory, or in RocksDB (``rocks.py``) where the ``store`` setting says so.
Neither has to outlive the process: the journal is read anew at every take-over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol
from zlib import crc32

from stream_app.settings import ENV_PREFIX, Settings, SettingsError

SLICES = 64


def slice_of(key: bytes) -> int:
    """Which slice a key belongs to."""
    return crc32(key) % SLICES


class Slices(Protocol):
    """Bytes by key, in ``SLICES`` slices."""

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, None if there are none."""

    def write(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """Set the bytes of keys, or remove them where they are None; of a repeated key the last counts."""

    def replace(self, index: int, entries: Iterable[tuple[str, bytes]]) -> None:
        """Set a whole slice."""

    def entries(self, index: int) -> list[tuple[str, bytes]]:
        """A whole slice, in any order."""

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """The keys that begin with a kind (its letter and colon), and their bytes. Others may write meanwhile."""

    def count(self) -> int:
        """How many keys there are, or about how many."""

    def close(self) -> None:
        """Let go of all."""


class MemorySlices:
    """A dictionary for each slice."""

    def __init__(self) -> None:
        self._slices: list[dict[str, bytes]] = [{} for _ in range(SLICES)]

    def get(self, key: str) -> bytes | None:
        """See ``Slices``."""
        return self._slices[slice_of(key.encode())].get(key)

    def write(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """See ``Slices``."""
        slices = self._slices
        for key, value in changes:
            place = slices[crc32(key.encode()) % SLICES]  # as ``slice_of``, for every object of every flush
            if value is None:
                place.pop(key, None)
            else:
                place[key] = value

    def replace(self, index: int, entries: Iterable[tuple[str, bytes]]) -> None:
        """See ``Slices``."""
        self._slices[index] = dict(entries)

    def entries(self, index: int) -> list[tuple[str, bytes]]:
        """See ``Slices``."""
        return list(self._slices[index].items())

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """See ``Slices``."""
        for index in range(SLICES):
            yield from [entry for entry in self._slices[index].items() if entry[0].startswith(kind)]

    def count(self) -> int:
        """See ``Slices``."""
        return sum(map(len, self._slices))

    def close(self) -> None:
        """See ``Slices``; what still reads them may read on."""


class SliceStore(Protocol):
    """Makes the slices of one process's shelves."""

    def new_slices(self) -> Slices:
        """Empty slices for one shelf."""

    def close(self) -> None:
        """Let go of all slices that are left."""


class MemoryStore:
    """Keeps everything in memory."""

    def new_slices(self) -> MemorySlices:
        """See ``SliceStore``."""
        return MemorySlices()

    def close(self) -> None:
        """See ``SliceStore``; memory needs no care."""


def check_store(settings: Settings) -> None:
    """Look whether what the ``store`` setting needs is installed.

    Raises:
        SettingsError: it is not.
    """
    if settings.store == "rocksdb":
        try:
            import rocksdict  # noqa: F401 - only whether it can be
        except ImportError as problem:
            raise SettingsError(
                f"{ENV_PREFIX}STORE='rocksdb': {problem}; install it: pip install 'stream-app[rocksdb]'"
            ) from None


def open_store(settings: Settings) -> SliceStore:
    """The store that the settings ask for.

    Raises:
        SettingsError: a package is missing.
        Failure: its directory cannot be used.
    """
    check_store(settings)
    if settings.store == "memory":
        return MemoryStore()
    from stream_app.state.rocks import RocksStore

    return RocksStore(settings.data_dir)
