"""A worker's /live and /ready at every stage of its life, and the one port that it listens on."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker, BrokerMaker
from tests.support.programs import (
    Installation,
    Json,
    LastSnapshots,
    Worker,
    installation,
    run_program,
    wait_until,
)
from tests.support.traffic import Life, Load, Sender, delivered, one_in_each

pytestmark = pytest.mark.integration

LISTENING = "0A"
START = 60


@contextmanager
def _worker(place: Installation, log: Path) -> Iterator[Worker]:
    worker = Worker(place.environment, log)
    try:
        yield worker
    finally:
        worker.kill()


def _wait_for_ready(worker: Worker, seconds: float = START) -> Json:
    wait_until(lambda: worker.ask("/ready")[0] == 200, seconds, "the worker is ready")
    return worker.ask("/ready")[1]


def _listening(pid: int) -> list[tuple[str, int]]:
    """The addresses on which a process listens, as the kernel tells them."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            inodes.update(re.findall(r"socket:\[(\d+)\]", str(entry.readlink())))
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENING and rest[5] in inodes:
                host, port = local.split(":")
                addresses.append((host, int(port, 16)))
    return addresses


def test_a_worker_becomes_ready_and_says_what_keeps_it_until_then(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    with _worker(place, tmp_path / "log") as worker:
        assert worker.http_address
        seen: list[tuple[int, str]] = []

        def ready() -> bool:
            status, body = worker.ask("/ready")
            assert (status == 200) == (body["status"] == "ready") == (body["reasons"] == [])
            assert worker.ask("/live") == (200, {"status": "live"})
            seen.extend((status, reason) for reason in body["reasons"])
            return status == 200

        wait_until(ready, START, "the worker is ready", every=0.01)
        reasons = list(dict.fromkeys(seen))
        assert (503, "waiting for its share of the partitions") in reasons
        assert {reason for _, reason in reasons} <= {
            "connecting to Kafka",
            "waiting for its share of the partitions",
            "recovering partitions",
        }
        body = worker.ask("/ready")[1]
        assert 0 < body.pop("longest_block_busy_ms") <= body.pop("longest_block_ms") < START * 1000
        assert body == {
            "status": "ready",
            "reasons": [],
            "shards": [0, 1, 2, 3],
            "mergers": [0, 1, 2, 3],
        }


def test_the_first_worker_of_an_installation_creates_the_journals_before_it_is_given_partitions(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    with _worker(place, tmp_path / "log") as worker:
        _wait_for_ready(worker)
        created = next(x for x in worker.log.read_text("utf-8").splitlines() if "created the topics" in x)
        admin = KafkaAdminClient(bootstrap_servers=place.address)
        try:
            there = {
                t["name"] for t in admin.describe_topics() if t["name"].startswith(place.settings.prefix)
            }
        finally:
            admin.close()
        assert there == set(created.partition("created the topics ")[2].split(", "))
        assert len([name for name in there if name.endswith("-changelog")]) == 2
        assert not worker.said("serving shards []")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks the kernel of Linux")
def test_a_worker_listens_on_one_port_of_the_loopback_and_on_no_other(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    with _worker(place, tmp_path / "log") as worker:
        _wait_for_ready(worker)
        port = int(worker.http_address.rpartition(":")[2])
        loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
        assert _listening(worker.process.pid) == [(loopback, port)]


def test_a_worker_for_which_there_is_no_partition_is_ready_too(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path, partitions="1")
    with _worker(place, tmp_path / "one") as one, _worker(place, tmp_path / "other") as other:
        for worker in (one, other):
            _wait_for_ready(worker)
        wait_until(
            lambda: sorted(_wait_for_ready(w)["shards"] for w in (one, other)) == [[], [0]],
            START,
            "one has the partition, and both are ready",
        )


@pytest.mark.slow
def test_a_worker_that_kafka_does_not_answer_is_live_but_not_ready_and_also_while_it_stops(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with new_broker() as own:
        place = installation(own.address, redis_server.url, tmp_path)
        with _worker(place, tmp_path / "log") as worker, Sender(place.settings) as sender:
            _wait_for_ready(worker)
            own.pause()
            wait_until(lambda: worker.ask("/ready")[0] == 503, 15, "it is not ready")
            reasons = worker.ask("/ready")[1]["reasons"]
            assert any(re.fullmatch(r"cannot reach Kafka since 20\S+Z", reason) for reason in reasons)
            assert worker.ask("/live")[0] == 200
            own.resume()
            _wait_for_ready(worker)
            with Load(sender, Life(4, now_ms() - 3_600_000, 3_600_000).events(4_000), 1_000):
                time.sleep(2)
                own.pause()  # with changes that are not in the journal yet: it stops for eight seconds
                try:
                    worker.signal(signal.SIGTERM)
                    wait_until(lambda: "stopping" in worker.ask("/ready")[1]["reasons"], 5, "it stops")
                    assert worker.ask("/live")[0] == 200
                    assert worker.wait_for_end() == 0
                finally:
                    own.resume()


@pytest.mark.slow
async def test_a_log_that_ends_in_the_marker_of_a_transaction_is_not_taken_for_unread(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    if broker.name == "embedded":
        pytest.skip("the embedded broker writes no markers")
    place = installation(broker.address, redis_server.url, tmp_path, stuck_after="10s")
    with _worker(place, tmp_path / "log") as worker:
        _wait_for_ready(worker)
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=place.settings.prefix)
        await producer.start()
        async with producer.transaction():
            for customer in one_in_each(4):
                value = json.dumps(delivered(customer, now_ms())).encode()
                await producer.send_and_wait(place.topic("email.deliveries"), value, key=customer.encode())
        await producer.stop()
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        wait_until(lambda: snapshots.total("all:all", "deliveries") == 4, 20, "they are counted")
        snapshots.close()
        time.sleep(16)  # noqa: ASYNC251 - nothing else runs here
        assert worker.alive
        assert not worker.said("is stuck")


def test_a_port_in_use_ends_a_worker_with_one_sentence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = run_program(place, "worker", STREAM_APP_HTTP=address)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(
        f"stream-app: STREAM_APP_HTTP='{address}': another program listens there: end it, or "
    )
    assert "Traceback" not in ended.stderr and "never awaited" not in ended.stderr


@pytest.mark.parametrize(
    "value", ["8080", "localhost:", ":8080", "127.0.0.1:65536", "127.0.0.1:http", "a:-1"]
)
def test_a_wrong_address_is_refused_with_the_mend(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path, value: str
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    ended = run_program(place, "worker", STREAM_APP_HTTP=value)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"stream-app: STREAM_APP_HTTP='{value}': write host:port, such as ")
    assert "Traceback" not in ended.stderr
