"""The peers of the bench: how each is made ready, and started.

Each is a program of its own beside this module, with the packages of its own requirement file (or `pom.xml`), which are
not the project's. README.md says which versions and settings, and why.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.environment import CannotPrepare, python_with
from benchmarks.places import CACHE

PEERS_HERE = Path(__file__).parent
JARS = CACHE / "kafka_streams"
_BUILD_SECONDS = 600


@dataclass(frozen=True)
class Peer:
    """An engine with the job written for it. ``prepare`` raises ``CannotPrepare`` where it cannot run."""

    name: str
    prepare: Callable[[], object]
    command: Callable[[], Sequence[str]]


def _python_peer(name: str) -> Peer:
    place = PEERS_HERE / name
    environment = partial(python_with, place / "requirements.txt", name)
    return Peer(name, environment, lambda: (str(environment()), str(place / "program.py")))


def _kafka_streams(threads: int) -> Peer:
    name = "kafka-streams" if threads == 1 else f"kafka-streams-{threads}"
    java = ("java", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/*")
    return Peer(name, _build_kafka_streams, lambda: (*java, "bench.CampaignPanes", str(threads)))


def _build_kafka_streams() -> None:
    """Build the jar, unless it is newer than all it is built from."""
    for tool in ("mvn", "java"):
        if shutil.which(tool) is None:
            raise CannotPrepare(f"{tool} is not here: install Maven, and Java 17 or newer")
    source = PEERS_HERE / "kafka_streams"
    changed = max(path.stat().st_mtime for path in source.rglob("*") if path.is_file())
    built = list(JARS.glob("bench-kafka-streams-*.jar"))
    if built and min(jar.stat().st_mtime for jar in built) > changed:
        return
    shutil.rmtree(JARS, ignore_errors=True)
    command = ("mvn", "-q", "-B", "-f", str(source / "pom.xml"), f"-Dbench.directory={JARS}", "package")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotPrepare(f"Maven did not build {source} within {_BUILD_SECONDS} s") from None
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise CannotPrepare(f"Maven cannot build {source}: {errors[0] if errors else done.stderr.strip()}")


PEERS: tuple[Peer, ...] = (
    _python_peer("quix"),
    _python_peer("bytewax"),
    _python_peer("pathway"),
    _kafka_streams(threads=1),
    _kafka_streams(threads=2),
)
