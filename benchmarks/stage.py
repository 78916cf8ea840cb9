"""The stage: one broker, one Redis, and the inputs on topics; every contestant finds it as the one before did.

Inputs are filled once, under a prefix each. After a run whatever it left goes: its topics, all of Redis.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from benchmarks.environment import bench_python
from benchmarks.input import Recipe, prepare
from benchmarks.places import PROGRAMS
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import ApacheKafka, Embedded

BrokerName = Literal["kafka", "embedded"]
_FILL_SECONDS = 900
_TIDY_SECONDS = 60


@dataclass(frozen=True)
class Input:
    """Records on topics: which, and under which prefix. ``topics`` are those that are filled; the others are empty."""

    name: str
    recipe: Recipe
    topics: tuple[str, ...] = INPUT_TOPICS

    @property
    def prefix(self) -> str:
        """What the names of its topics start with."""
        return f"bench-{self.name}."


class BusyKafka(ApacheKafka):
    """Apache Kafka with a heap for work and the compiler that a server has; the tests' one is made to start quickly."""

    def command(self, port: int) -> Sequence[str]:
        """As the tests' one, but for the options of Java."""
        other = {"-Xmx512m": "-Xmx1g", "-XX:TieredStopAtLevel=1": "-server"}
        return [other.get(part, part) for part in super().command(port)]


@dataclass
class Stage:
    """The servers, and what is on them."""

    broker: ApacheKafka | Embedded
    redis: EmbeddedRedis
    inputs: dict[str, Input] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the broker listens."""
        return self.broker.address

    def client(self) -> Any:
        """A connection to Redis."""
        return redis.Redis.from_url(self.redis.url, decode_responses=True)

    def settings(self, one: Input) -> Settings:
        """Our settings for an input."""
        return Settings(kafka=self.address, prefix=one.prefix, partitions=one.recipe.partitions)

    def fill(self, one: Input) -> None:
        """Put an input on its topics, once, and note how many records that were."""
        if one.name in self.inputs:
            return
        prepare(one.recipe)
        settings = self.settings(one)
        ensure_topics(settings, input_topic_specs(settings))
        files = [
            str(one.recipe.file(topic, partition))
            for topic in one.topics
            for partition in range(one.recipe.partitions)
        ]
        done = subprocess.run(
            [str(bench_python()), str(PROGRAMS / "fill.py"), self.address, one.prefix, *files],
            capture_output=True,
            text=True,
            timeout=_FILL_SECONDS,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"benchmarks: the input cannot be sent: {done.stderr.strip()[-500:]}")
        self.inputs[one.name] = one
        self.records[one.name] = int(done.stdout)

    def tidy(self) -> None:
        """Take away what a run left: all topics but the inputs', our worker's groups, all of Redis. The groups of
        others have names of their own in every run, and their members may stay in them for a while."""
        self.client().flushall()
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            deadline = time.monotonic() + _TIDY_SECONDS
            while not self._is_tidy(admin):
                if time.monotonic() > deadline:
                    raise SystemExit(
                        "benchmarks: the broker did not delete what the last run left within a minute"
                    )
                time.sleep(0.5)
        finally:
            admin.close()

    def _is_tidy(self, admin: Any) -> bool:
        """Delete what there is to delete; whether there was nothing left."""
        ours = {one.prefix + topic for one in self.inputs.values() for topic in INPUT_TOPICS}
        there = {topic["name"] for topic in admin.describe_topics()}
        surplus = sorted(name for name in there - ours if not name.startswith("__"))
        names = {self.settings(one).group_id for one in self.inputs.values()}
        groups = [group["group_id"] for group in admin.list_groups() if group["group_id"] in names]
        try:
            if surplus:
                admin.delete_topics(surplus)
            if groups:
                admin.delete_groups(groups)
        except KafkaError:
            return False
        return not surplus and not groups


@contextmanager
def open_stage(name: BrokerName) -> Iterator[Stage]:
    """A broker and a Redis for as long as it lasts."""
    broker = BusyKafka() if name == "kafka" else Embedded()
    with broker, EmbeddedRedis() as server:
        yield Stage(broker, server)
