"""Programs that tests start, ended by their own pid, and what they leave on the topics."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from kafka import KafkaConsumer, TopicPartition

from stream_app.settings import Settings, load_settings
from tests.oracle.windows import Result
from tests.support.comparison import agree, differences

ROOT = Path(__file__).parents[2]

Json = dict[str, Any]

EMPTY_FETCH_MS = 250
"""How long a broker keeps a fetch for which there is nothing. New records end the wait; asking more often only takes
time from what is tested, as every reader asks all the time."""


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


@dataclass(frozen=True)
class Installation:
    """Settings with a prefix of their own, and the environment in which a program finds them."""

    settings: Settings
    environment: dict[str, str]

    @property
    def address(self) -> str:
        """Where the broker listens."""
        return self.settings.kafka

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return self.settings.topic(name)


def installation(kafka: str, redis: str, data_dir: Path, **options: str) -> Installation:
    """An installation on these servers; options are settings as their variables would have them."""
    given: dict[str, Any] = {
        "kafka": kafka,
        "redis": redis,
        "prefix": f"test-{uuid4().hex[:12]}.",
        "data_dir": str(data_dir),
        "idle_timeout": "1s",
        "session_timeout": "6s",
        "store": os.environ.get("TEST_STORE") or "memory",
        **options,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
    variables = {f"STREAM_APP_{name.upper()}": value for name, value in given.items()}
    return Installation(load_settings(**given), clean | variables)


def run_program(
    place: Installation, *arguments: str, seconds: float = 60.0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stream_app", *arguments],
        capture_output=True, text=True, timeout=seconds, cwd=ROOT, env=place.environment | variables, check=False,
    )  # fmt: skip


class Worker:
    """A worker as a process of its own, ended by its own pid; its log goes to a file."""

    def __init__(
        self, environment: dict[str, str], log: Path, program: Sequence[str] = ("stream_app", "worker")
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=environment,
            )

    def said(self, text: str) -> int:
        """How often something is in the log."""
        return self.log.read_text("utf-8", "replace").count(text)

    def wait_for(self, text: str, seconds: float = 30.0, times: int = 1) -> Worker:
        """Wait until the log has a text so many times; returns itself."""

        def there() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the worker ended with {self.process.returncode}:\n{self.log.read_text()}"
                )
            return self.said(text) >= times

        wait_until(there, seconds, f"the worker says {text!r}", every=0.05)
        return self

    def wait_for_end(self, seconds: float = 20.0) -> int:
        """Wait until it has ended; returns its exit code."""
        return self.process.wait(seconds)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """The memory it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        return int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024

    @property
    def http_address(self) -> str:
        """Where it serves /live and /ready, as host:port."""
        self.wait_for("liveness and readiness on ", 60)
        return str(re.findall(r"readiness on http://(\S+)/live, /ready", self.log.read_text("utf-8"))[0])

    def ask(self, path: str) -> tuple[int, Json]:
        """The status and the JSON of an answer over HTTP."""
        connection = http.client.HTTPConnection(self.http_address, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without any chance to clean up; a stopped one as well."""
        self.process.kill()
        self.process.wait(10)


class Crew:
    """Workers of one installation; all that are left end with the test."""

    def __init__(self, place: Installation, logs: Path) -> None:
        self._place = place
        self._logs = logs
        self.workers: list[Worker] = []

    def start(self) -> Worker:
        """Start one more worker and wait until it serves partitions."""
        return self.begin().wait_for("serving shards")

    def begin(self) -> Worker:
        """Start one more worker without waiting for it."""
        worker = Worker(self._place.environment, self._logs / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    @property
    def alive(self) -> list[Worker]:
        """The workers that still run, oldest first."""
        return [worker for worker in self.workers if worker.alive]

    def wait_until_one_serves(self, seconds: float = 60.0) -> None:
        """Wait until any worker that runs has served partitions at least once."""
        wait_until(
            lambda: any(worker.said("serving shards") for worker in self.alive), seconds, "a worker serves"
        )

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *problem: object) -> None:
        for worker in self.workers:
            worker.kill()


class Supervisor(threading.Thread):
    """Starts a worker anew that another one has shut out, as whoever runs workers does: one that the broker has given
    up for a while, and that has not heard of it yet, ends when it writes. Ends with its ``with``."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._crew = crew
        self._end = threading.Event()
        self.restarts = 0

    def run(self) -> None:
        """Look again and again until told to end."""
        seen: set[int] = set()
        while not self._end.wait(0.2):
            for worker in list(self._crew.workers):
                number = worker.process.pid
                if (
                    not worker.alive
                    and number not in seen
                    and worker.said("another worker has written to it")
                ):
                    seen.add(number)
                    self.restarts += 1
                    self._crew.begin()

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._end.set()
        self.join(10)


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

    def __init__(self, address: str, topic: str, partitions: int = 4, max_bytes: int = 1_048_576) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=address,
            enable_auto_commit=False,
            fetch_max_wait_ms=EMPTY_FETCH_MS,
            max_partition_fetch_bytes=max_bytes,
        )
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._consumer.assign(self._places)
        self._consumer.seek_to_beginning(*self._places)
        self.records: list[Any] = []
        self._next_offsets: dict[TopicPartition, int] = {}
        self._looked_twice: set[tuple[TopicPartition, int]] = set()

    def read(self, milliseconds: int = 300) -> list[Any]:
        """The records that came since the last call. One that the client hands out again is left out, and where it passes
        over offsets, they are asked for once more: on a busy machine it has left out records that were there."""
        new = []
        for place, batch in self._consumer.poll(milliseconds).items():
            expected = self._next_offsets.get(place, 0)
            for record in batch:
                if record.offset > expected and (place, expected) not in self._looked_twice:
                    self._looked_twice.add((place, expected))
                    self._consumer.seek(place, expected)
                    break
                if record.offset >= expected:
                    new.append(record)
                    expected = record.offset + 1
            self._next_offsets[place] = expected
        self.records += new
        return new

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to where it ended at the last fetch."""
        ends = {place: self._consumer.highwater(place) for place in self._places}
        return all(end is not None and self._consumer.position(p) >= end for p, end in ends.items())

    def read_to_end(self, seconds: float = 30.0) -> list[Any]:
        """All records, once every partition has been read to its end: a fetch that brings none may just be slow."""

        def ended() -> bool:
            self.read()
            return self.is_at_end

        wait_until(ended, seconds, "the topic is read to its end")
        return self.records

    def close(self) -> None:
        self._consumer.close()


class LastSnapshots(TopicReader):
    """The last snapshot of every key, by ``dimension:key``."""

    def __init__(self, address: str, prefix: str, partitions: int = 4) -> None:
        super().__init__(address, f"{prefix}metrics", partitions)
        self.by_key: dict[str, Json] = {}

    def update(self) -> dict[str, Json]:
        """Read what is new; returns the last of each key."""
        for record in self.read():
            self.by_key[record.key.decode()] = orjson.loads(record.value)
        return self.by_key

    def total(self, key: str, count: str) -> Any:
        """A count of a key's total, or None if the key has no snapshot; reads what is new."""
        self.update()
        return self.held(key, count)

    def held(self, key: str, count: str) -> Any:
        """A count of a key's total as it was last read, or None if the key has no snapshot."""
        snapshot = self.by_key.get(key)
        return None if snapshot is None else snapshot["windows"]["total"]["counts"][count]

    def wait_until_exact(self, expected: Result, seconds: float) -> None:
        """Wait until every window of every key is that of the oracle; fails with what differs."""
        deadline = time.monotonic() + seconds
        while not agree(self.update(), expected):
            if time.monotonic() >= deadline:
                wrong = differences(self.by_key, expected)
                shown = "\n".join(wrong[:20])
                raise AssertionError(f"{len(wrong)} differences after {seconds} s:\n{shown}")


def headers_of(record: Any) -> dict[str, str]:
    """A record's headers as text."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
