"""Programs that tests start, ended by their own pid, and what they leave on the topics."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

ROOT = Path(__file__).parents[2]

Json = dict[str, Any]


@contextmanager
def running_worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own; its log goes to a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_app", "worker"],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=environment,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.1) -> Any:
    """Wait for something to become true; returns it, or fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


class TopicReader:
    """Reads a topic from its start; ``read`` returns what is new."""

    def __init__(self, address: str, topic: str, partitions: int = 4) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=address, enable_auto_commit=False, fetch_max_wait_ms=50
        )
        places = [TopicPartition(topic, number) for number in range(partitions)]
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)
        self.records: list[Any] = []

    def read(self, milliseconds: int = 300) -> list[Any]:
        """The records that came since the last call."""
        new = [record for batch in self._consumer.poll(milliseconds).values() for record in batch]
        self.records += new
        return new

    def close(self) -> None:
        self._consumer.close()


class LastSnapshots(TopicReader):
    """The last snapshot of every key, by ``dimension:key``."""

    def __init__(self, address: str, prefix: str) -> None:
        super().__init__(address, f"{prefix}metrics")
        self.by_key: dict[str, Json] = {}

    def update(self) -> dict[str, Json]:
        """Read what is new; returns the last of each key."""
        for record in self.read():
            self.by_key[record.key.decode()] = json.loads(record.value)
        return self.by_key

    def total(self, key: str, count: str) -> Any:
        """A count of a key's total, or None if the key has no snapshot."""
        snapshot = self.update().get(key)
        return None if snapshot is None else snapshot["windows"]["total"]["counts"][count]
