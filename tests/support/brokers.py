"""The broker that tests run against: one small interface, and three that have it.

``pytest --broker embedded`` (the default), ``kafka`` or ``containers`` chooses; ``tests/conftest.py`` hands it
out, as ``broker`` (one for the whole run) and ``new_broker`` (for a test that stops its broker). Apache Kafka
itself runs as a Java process from the jars that ``make kafka`` fetches, under the same guard as the
embedded broker, or in a container where a Docker daemon answers (``containers.py``).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

from stream_app.dev import EmbeddedBroker, ServerError
from stream_app.dev.servers import HOST, find_free_port
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.programs import ROOT

BrokerName = Literal["embedded", "kafka", "containers"]
BROKER_NAMES: tuple[BrokerName, ...] = get_args(BrokerName)

JARS = ROOT / ".cache" / "kafka"
POM = Path(__file__).with_name("kafka") / "pom.xml"
KAFKA_VERSION = re.findall(r"<kafka.version>(.+)</kafka.version>", POM.read_text("utf-8"))[0]
FORMAT_SECONDS = 150.0
START_SECONDS = 150.0
"""How long a start may take: ten seconds of a processor for Java, which has to share it with the other tests."""
ROOMY_BYTES = 20_000_000
CLUSTER_ID = "c3RyZWFtLWFwcC10ZXN0cw"

# One node that is broker and controller, quick to give partitions to a new member of a group, and with the
# limits of size that a broker has when nobody has changed them.
KAFKA_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",  # how long a killed broker stays registered, and cannot come back
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "log.cleaner.backoff.ms": "1000",  # a test that asks for hard compaction does not wait for it
    "log.cleaner.dedupe.buffer.size": "16777216",
}


class Broker(Protocol):
    """A broker in the hands of a test. ``stop`` ends its process at once, ``start`` starts it again at the same
    address; ``keeps_records`` says whether it then has what it had, ``compacts`` whether it acts on a
    topic's ``cleanup.policy``, ``writes_once`` whether it knows a record that a client writes again because its
    confirmation was lost."""

    name: BrokerName
    keeps_records: bool
    compacts: bool
    writes_once: bool

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *problem: Any) -> None: ...


BrokerMaker = Callable[..., Broker]
"""Makes a broker that is not started yet; ``advertised`` is the address it sends clients to, if not its own."""


class Embedded(EmbeddedBroker):
    """The embedded broker; what it lacks is in the docstring of its module."""

    name: BrokerName = "embedded"
    keeps_records = False
    compacts = False
    writes_once = False

    def __init__(self, port: int | None = None, advertised: str | None = None) -> None:
        super().__init__(port, START_SECONDS, advertised)


class ApacheKafka(EmbeddedBroker):
    """Apache Kafka as a Java process: started, guarded and asked for an answer like the embedded broker. What it
    holds outlives a stop, and is gone when it is left."""

    title = "Apache Kafka"
    name: BrokerName = "kafka"
    keeps_records = True
    compacts = True
    writes_once = True

    def __init__(self, port: int | None = None, advertised: str | None = None) -> None:
        super().__init__(port, START_SECONDS, advertised)
        self._records: Path | None = None
        self._controller_port = 0

    @property
    def reinstall(self) -> str:
        return "make clean kafka"

    def command(self, port: int) -> Sequence[str]:
        if self._records is None:
            self._records = Path(tempfile.mkdtemp(prefix="stream-app-kafka-"))
            self._controller_port = find_free_port()
        properties = self._records / "server.properties"
        properties.write_text(self._properties(port), "utf-8")
        if not (self._records / "log" / "meta.properties").exists():
            _format(properties)
        return (
            *java(),
            *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "kafka.Kafka",
            str(properties),
        )

    def __exit__(self, *problem: Any) -> None:
        super().__exit__(*problem)
        if self._records is not None:
            shutil.rmtree(self._records, ignore_errors=True)

    def _properties(self, port: int) -> str:
        listener = f"PLAINTEXT://{HOST}:{port}"
        own = {
            "listeners": f"{listener},CONTROLLER://{HOST}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.advertised or f'{HOST}:{port}'}",
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "log.dirs": f"{self._records}/log",
        }
        return "".join(f"{key}={value}\n" for key, value in {**KAFKA_PROPERTIES, **own}.items())


def java() -> tuple[str, ...]:
    """How Java runs Kafka's programs; what is missing for that is a ``ServerError`` with the mend."""
    program = shutil.which("java")
    if program is None:
        raise ServerError("Apache Kafka cannot run without Java: install Java 17 or newer.")
    if not any(JARS.glob("kafka_*.jar")):
        raise ServerError("Apache Kafka is not here yet: fetch it with `make kafka`.")
    return (program, "-cp", f"{JARS}/*")


def _format(properties: Path) -> None:
    """Prepare the directory that ``log.dirs`` names, as Kafka wants it done once."""
    tool = (
        *java(),
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        CLUSTER_ID,
        "--config",
        str(properties),
    )
    done = subprocess.run(tool, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise ServerError(
            f"Apache Kafka cannot prepare its directory (it needs Java 17): {' | '.join(lines)}"
        )


def broker_maker(name: BrokerName) -> BrokerMaker:
    """What makes brokers of a name."""
    if name == "embedded":
        return Embedded
    if name == "kafka":
        return ApacheKafka
    from tests.support.containers import KafkaContainer  # slow to import

    return KafkaContainer


def create_roomy_topics(settings: Settings) -> None:
    """Create the input topics for records larger than a broker takes by default, as some clusters have them."""
    roomy = {"max.message.bytes": str(ROOMY_BYTES)}
    ensure_topics(settings, [replace(spec, configs=roomy) for spec in input_topic_specs(settings)])
