"""Both ways to keep bytes at rest behave the same, and RocksDB leaves nothing behind on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings as how_long
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stream_app.failure import Failure
from stream_app.settings import SettingsError, load_settings
from stream_app.state.rocks import RocksStore
from stream_app.state.slices import SLICES, MemorySlices, Slices, check_store, open_store, slice_of
from tests.support.programs import ROOT
from tests.support.stores import rocks_store

KINDS = ("u:", "p:", "u")
NAMES = [f"{kind}{name}" for kind in KINDS for name in ("", "1", "ü", "\0", "😀", "u:1", "\x7f", "a" * 40)]
SOME_SLICES = sorted({slice_of(name.encode()) for name in NAMES})

values = st.binary(max_size=9)
changes = st.lists(st.tuples(st.sampled_from(NAMES), values | st.none()), max_size=8)


def test_both_tell_how_many_keys_there_are() -> None:
    for slices in (MemorySlices(), rocks_store().new_slices()):
        slices.write([(name, b"1") for name in NAMES])
        assert slices.count() == len(NAMES)


def everything(slices: Slices) -> list[list[tuple[str, bytes]]]:
    return [sorted(slices.entries(index)) for index in range(SLICES)]


class BothBehaveTheSame(RuleBasedStateMachine):
    """Whatever is done to both, what is read of them is equal."""

    @initialize()
    def begin(self) -> None:
        self.memory, self.rocks = MemorySlices(), rocks_store().new_slices()

    @rule(changed=changes)
    def write(self, changed: list[tuple[str, bytes | None]]) -> None:
        for slices in (self.memory, self.rocks):
            slices.write(changed)

    @rule(index=st.sampled_from(SOME_SLICES), value=values, names=st.sets(st.sampled_from(NAMES)))
    def replace(self, index: int, value: bytes, names: set[str]) -> None:
        inside = [(name, value) for name in names if slice_of(name.encode()) == index]
        for slices in (self.memory, self.rocks):
            slices.replace(index, inside)

    @rule(kind=st.sampled_from(KINDS), changed=changes)
    def write_while_reading(self, kind: str, changed: list[tuple[str, bytes | None]]) -> None:
        """A reader comes to the end, whatever is written meanwhile; what is not touched it reads."""
        found = []
        for slices in (self.memory, self.rocks):
            before = dict(slices.items(kind))
            reader = slices.items(kind)
            read = [next(reader, None)]
            slices.write(changed)
            read += reader
            touched = {key for key, _ in changed}
            found.append({key for key, _ in filter(None, read) if key not in touched})
            assert found[-1] == before.keys() - touched
        assert found[0] == found[1]

    @invariant()
    def all_that_is_read_is_equal(self) -> None:
        assert everything(self.memory) == everything(self.rocks)
        for kind in KINDS:
            assert sorted(self.memory.items(kind)) == sorted(self.rocks.items(kind))
        for name in NAMES:
            assert self.memory.get(name) == self.rocks.get(name)

    def teardown(self) -> None:
        if hasattr(self, "rocks"):
            self.rocks.close()


TestBothBehaveTheSame = BothBehaveTheSame.TestCase
TestBothBehaveTheSame.settings = how_long(max_examples=25, stateful_step_count=15, deadline=None)


def scratch(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "rocksdb").glob("worker-*"))


def test_a_shelfs_database_goes_when_the_shelf_does(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    slices, other = store.new_slices(), store.new_slices()
    for each in (slices, other):
        each.write([("u:1", b"x")])
    (own,) = scratch(tmp_path)
    reader = slices.items("u:")
    reader_of_none = slices.items("p:")
    assert next(reader_of_none, None) is None
    assert len([path for path in own.iterdir() if path.is_dir()]) == 2
    first = next(reader)
    slices.close()
    slices.close()
    assert [first, *reader] == [("u:1", b"x")]
    assert len([path for path in own.iterdir() if path.is_dir()]) == 1
    assert other.get("u:1") == b"x"
    store.close()
    assert scratch(tmp_path) == []


def test_a_reader_that_outlives_its_shelf_reads_what_there_was(tmp_path: Path) -> None:
    """A view that is being filled again reads on while the partition goes elsewhere."""
    store = RocksStore(tmp_path)
    slices = store.new_slices()
    held = {f"u:{number}": b"x" * 2_000 for number in range(4_000)}
    slices.write(list(held.items()))
    reader = slices.items("u:")
    read = [next(reader)]
    slices.close()
    read += reader
    assert dict(read) == held
    store.close()


def test_many_shelves_and_values_stay_on_the_disk(tmp_path: Path) -> None:
    """More than fits into what may lie unwritten in memory is on the disk, and read from there."""
    store = RocksStore(tmp_path)
    shelves = [store.new_slices() for _ in range(3)]
    for number in range(60):
        for slices in shelves:
            slices.write([(f"u:{number}-{part}", os.urandom(1_000)) for part in range(500)])
    size = sum(path.stat().st_size for path in scratch(tmp_path)[0].rglob("*.sst"))
    assert size > 40_000_000
    for slices in shelves:
        assert sum(1 for _ in slices.items("u:")) == 30_000
        assert len(slices.get("u:0-0") or b"") == 1_000
    store.close()


HOLDER = """
import sys, time
from pathlib import Path
from stream_app.state.rocks import RocksStore
store = RocksStore(Path(sys.argv[1]))
slices = store.new_slices()
slices.write([("u:1", b"x" * 100_000)])
print("ready", flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_left_goes_at_the_next_start_and_what_a_living_one_has_stays(
    tmp_path: Path,
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        (held,) = scratch(tmp_path)
        first = RocksStore(tmp_path)
        assert len(scratch(tmp_path)) == 2
        assert (held / "1").is_dir()
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        assert held.is_dir()
        second = RocksStore(tmp_path)
        assert not held.exists()
        assert len(scratch(tmp_path)) == 2
        first.close()
        second.close()
        assert scratch(tmp_path) == []
    finally:
        holder.kill()
        holder.wait(10)


def test_a_directory_that_goes_while_another_process_looks_at_it_is_gone(tmp_path: Path) -> None:
    """Listed, but there no more when it is opened: as a link to nowhere is."""
    base = tmp_path / "rocksdb"
    base.mkdir()
    (base / "worker-1-gone").symlink_to(tmp_path / "nowhere")
    store = RocksStore(tmp_path)
    store.new_slices().write([("u:1", b"x")])
    store.close()
    assert [path.name for path in scratch(tmp_path)] == ["worker-1-gone"]


def test_a_data_dir_that_cannot_be_written_is_named_with_the_mend(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("no directory")
    with pytest.raises(Failure, match=r"STREAM_APP_DATA_DIR='.*/file'.*name a directory") as caught:
        open_store(load_settings(store="rocksdb", data_dir=occupied))
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(
        SettingsError, match=r"STREAM_APP_STORE='rocksdb'.*pip install 'stream-app\[rocksdb\]'"
    ):
        check_store(load_settings(store="rocksdb"))
    check_store(load_settings(store="memory"))


def test_a_worker_without_the_package_ends_with_2_and_one_line(tmp_path: Path) -> None:
    """Before it looks for Kafka: none is running here."""
    program = "import sys; sys.modules['rocksdict'] = None; from stream_app.cli import main; main()"
    variables = {"STREAM_APP_STORE": "rocksdb", "STREAM_APP_DATA_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", program, "worker"],
        env={name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")} | variables,
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("stream-app: ")]
    assert "STREAM_APP_STORE='rocksdb'" in line and "pip install 'stream-app[rocksdb]'" in line
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
