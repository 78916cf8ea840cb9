"""The peers of the bench: that each can be had as it was measured, and is given the same job."""

import re
from pathlib import Path

import pytest

from benchmarks.peers.catalogue import PEERS, PEERS_HERE
from stream_app.ingest.topics import INPUT_TOPICS
from tests.support.brokers import KAFKA_VERSION

REQUIREMENTS = sorted(PEERS_HERE.glob("*/requirements.txt"))
PROGRAMS = sorted([*PEERS_HERE.glob("*/program.py"), *PEERS_HERE.rglob("CampaignPanes.java")])


def test_every_peer_is_listed_once() -> None:
    names = [peer.name for peer in PEERS]
    assert len(names) == len(set(names))
    assert {path.parent.name for path in REQUIREMENTS} < set(names)


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.parent.name)
def test_requirements_are_exact(path: Path) -> None:
    option, *packages = path.read_text("utf-8").splitlines()
    assert option == "--only-binary :all:"  # without a wheel: a clear error, and no compiler at work
    assert packages and all(re.fullmatch(r"[a-z-]+==[\d.]+", package) for package in packages)


def test_kafka_streams_has_the_version_of_the_broker() -> None:
    pom = (PEERS_HERE / "kafka_streams" / "pom.xml").read_text("utf-8")
    assert re.findall(r"<artifactId>kafka-streams</artifactId>\s*<version>(.+)</version>", pom) == [
        KAFKA_VERSION
    ]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.parent.name)
def test_every_program_reads_all_topics(path: Path) -> None:
    (listed,) = re.findall(r"TOPICS = [({](.+?)[)}]", path.read_text("utf-8"), re.DOTALL)
    assert set(re.findall(r'"(.+?)"', listed)) == set(INPUT_TOPICS)
