"""The stores that laws are tried on: memory, and now and then RocksDB, which is slower."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import finalize

from hypothesis import strategies as st

from stream_app.state.journal import Journal
from stream_app.state.rocks import RocksStore
from stream_app.state.shelf import Shelf
from stream_app.state.slices import MemoryStore, SliceStore

ONE_IN = 6


@cache
def rocks_store() -> RocksStore:
    """One for the whole run; it goes from the disk when the run ends."""
    directory = TemporaryDirectory(prefix="stream-app-test-")
    store = RocksStore(Path(directory.name))
    finalize(store, directory.cleanup)
    return store


def _store(number: int) -> SliceStore:
    return rocks_store() if number == ONE_IN - 1 else MemoryStore()


stores = st.integers(0, ONE_IN - 1).map(_store)


def new_journal(store: SliceStore) -> Journal:
    """A journal over an empty shelf, whose bytes go with it."""
    slices = store.new_slices()
    journal = Journal(Shelf(slices))
    finalize(journal, slices.close)
    return journal
