"""A stuck worker ends itself and says why; one that is idle, or whose broker is away, goes on.

All workers run at the same time, each in an installation of its own; each test looks at what one of them left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker, BrokerMaker
from tests.support.programs import Installation, LastSnapshots, Worker, installation, wait_until
from tests.support.stuck_worker import HINDRANCES, MISTAKES, NO_LEADER, STUCK
from tests.support.traffic import Sender, delivered, event, one_in_each

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STUCK_AFTER = 10
SLACK = 15
PARTITIONS = 4
START = 90  # so many start at once


@dataclass
class Case:
    """A worker with a mistake, or without."""

    kind: str
    place: Installation
    worker: Worker
    stuck_at: float | None = None
    ended_at: float | None = None

    def look(self) -> bool:
        """Take note of what has happened; returns whether it is over."""
        now = time.monotonic()
        if self.stuck_at is None and self.worker.said(STUCK):
            self.stuck_at = now
        if self.ended_at is None and not self.worker.alive:
            self.ended_at = now
        return self.ended_at is not None


@pytest.fixture(scope="module")
def cases(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Case]]:
    found: dict[str, Case] = {}
    try:
        for kind in (*MISTAKES, *HINDRANCES, "none"):
            directory: Path = tmp_path_factory.mktemp(kind.replace(" ", "-"))
            place = installation(broker.address, redis_server.url, directory, stuck_after=f"{STUCK_AFTER}s")
            program = ("stream_app", "worker") if kind == "none" else ("tests.support.stuck_worker", kind)
            found[kind] = Case(kind, place, Worker(place.environment, directory / "log", program))
        for case in found.values():
            wait_until(lambda: _look_at_all(found, case), START, f"{case.kind!r} has started")  # noqa: B023 - now
            with Sender(case.place.settings) as sender:
                customers = one_in_each(PARTITIONS)
                sender.send(*(event("cart.updated", c, now_ms(), cart_id="cart", items=1) for c in customers))
                sender.flush()
        stuck = [found[kind] for kind in MISTAKES]
        wait_until(lambda: sum(case.look() for case in stuck) == len(stuck), START, "all stuck workers end")
        yield found
    finally:
        for case in found.values():
            case.worker.kill()


def _look_at_all(cases: dict[str, Case], case: Case) -> bool:
    """Whether a case has started; that others get stuck meanwhile is not missed."""
    for other in cases.values():
        other.look()
    return case.stuck_at is not None if case.kind == "recovery" else bool(case.worker.said("worker started"))


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_stuck_worker_ends_in_time_so_that_its_supervisor_starts_it_again(
    cases: dict[str, Case], kind: str
) -> None:
    case = cases[kind]
    assert case.worker.process.returncode == 1
    assert case.stuck_at is not None and case.ended_at is not None
    print(f"{kind}: ended {case.ended_at - case.stuck_at:.1f} s after it got stuck")
    assert STUCK_AFTER - 2 <= case.ended_at - case.stuck_at <= STUCK_AFTER + SLACK


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("agent", "carts, partition"),
        ("event loop", "the event loop has been blocked for 10 s"),
        ("consumer", "the consumer has been blocked for 10 s"),
        ("questions", "a question to Kafka: no progress for"),
        ("recovery", "recovery of the partitions: no progress for"),
        ("flush", "writing of what the shards have counted: no progress for"),
    ],
)
def test_it_says_what_is_stuck_in_one_line_without_a_traceback(
    cases: dict[str, Case], kind: str, said: str
) -> None:
    lines = [line for line in cases[kind].worker.log.read_text("utf-8").splitlines() if "is stuck" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert "start it again" in lines[0]
    assert not cases[kind].worker.said("Traceback")


def test_it_says_where_the_agent_stands(cases: dict[str, Case]) -> None:
    place = cases["agent"].place
    line = next(x for x in cases["agent"].worker.log.read_text("utf-8").splitlines() if "is stuck" in x)
    assert f"{place.topic('carts')}, partition " in line
    assert "it is read up to offset 0 and ends at 1" in line


def test_it_says_what_its_tasks_wait_for(cases: dict[str, Case]) -> None:
    waits = [x for x in cases["agent"].worker.log.read_text("utf-8").splitlines() if "waits at" in x]
    assert any(
        "support/stuck_worker.py:" in line and "< stream_app/topology.py:" in line for line in waits
    ), waits


@pytest.mark.parametrize("kind", ["event loop", "consumer"])
def test_it_says_where_a_blocked_loop_was(cases: dict[str, Case], kind: str) -> None:
    line = next(x for x in cases[kind].worker.log.read_text("utf-8").splitlines() if "is stuck" in x)
    assert "stuck_worker.py:" in line and "_and_block" in line


@pytest.fixture(scope="module")
def patience(cases: dict[str, Case]) -> None:
    """Wait for longer than a worker may be stuck."""
    time.sleep(1.5 * STUCK_AFTER)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("kind", HINDRANCES)
def test_a_worker_that_waits_for_kafka_goes_on(cases: dict[str, Case], kind: str) -> None:
    case = cases[kind]
    assert case.worker.said(STUCK)
    assert case.worker.alive
    assert not case.worker.said("is stuck")


@pytest.mark.usefixtures("patience")
def test_a_worker_for_which_a_partition_has_no_leader_says_so(cases: dict[str, Case]) -> None:
    status, body = cases[NO_LEADER].worker.ask("/ready")
    assert status == 503
    assert any("no leader that answers for 1 of the partitions since" in reason for reason in body["reasons"])


@pytest.mark.usefixtures("patience")
def test_a_worker_with_nothing_to_do_goes_on(cases: dict[str, Case]) -> None:
    case = cases["none"]
    assert case.worker.alive
    assert not case.worker.said("is stuck")


def test_a_worker_whose_broker_is_away_waits_and_then_goes_on(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with new_broker() as own:
        place = installation(own.address, redis_server.url, tmp_path, stuck_after=f"{STUCK_AFTER}s")
        worker = Worker(place.environment, tmp_path / "log").wait_for("worker started", START)
        try:
            with Sender(place.settings) as sender:
                for _ in range(50):
                    sender.send(*(delivered(c, now_ms()) for c in one_in_each(PARTITIONS)))
                sender.flush()
                own.pause()  # with records to read and a journal to write
                time.sleep(2 * STUCK_AFTER)
                own.resume()
                assert worker.alive
                snapshots = LastSnapshots(place.address, place.settings.prefix)
                wait_until(
                    lambda: snapshots.total("all:all", "deliveries") == 50 * PARTITIONS, 40, "all is counted"
                )
                snapshots.close()
            assert worker.alive
            assert not worker.said("is stuck")
        finally:
            worker.kill()
