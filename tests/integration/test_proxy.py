"""The proxy that chaos tests put before a broker: what it does to real connections, and to a real client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from kafka import KafkaAdminClient

from stream_app.dev.servers import HOST, find_free_port
from tests.support.brokers import BrokerMaker
from tests.support.programs import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that says everything again."""
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=_answer_all, args=(listener,), daemon=True).start()
        yield f"{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _answer_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the test is over
        threading.Thread(target=_say_again, args=(connection,), daemon=True).start()


def _say_again(connection: socket.socket) -> None:
    with connection:
        while piece := connection.recv(65_536):
            connection.sendall(piece)


@pytest.fixture
def proxy(echo: str) -> Iterator[Proxy]:
    with Proxy(echo) as running:
        yield running


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=10)


def exchange(connection: socket.socket, text: bytes) -> float:
    """Send something and wait until it is all back; returns the seconds it took."""
    begun, back = time.monotonic(), b""
    connection.sendall(text)
    while len(back) < len(text):
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionResetError("ended early")
        back += piece
    assert back == text
    return time.monotonic() - begun


def test_forwards_unchanged_and_ends_when_either_side_ends(proxy: Proxy) -> None:
    with closing(connect(proxy)) as connection:
        assert exchange(connection, bytes(range(256)) * 4000) < 5
        assert proxy.bytes_forwarded == 2 * 256 * 4000
        assert proxy.open_connections == 1
    wait_until(lambda: proxy.open_connections == 0, 5, "the connection is gone")


def test_limit_holds_for_both_ways_and_is_lifted_at_once(proxy: Proxy) -> None:
    with closing(connect(proxy)) as connection:
        proxy.limit(20_000)
        assert 0.9 < exchange(connection, bytes(10_000)) < 3
        threading.Timer(0.2, proxy.limit, [None]).start()
        proxy.limit(1_000)
        assert exchange(connection, bytes(20_000)) < 3


def test_delay_holds_every_piece_back(proxy: Proxy) -> None:
    with closing(connect(proxy)) as connection:
        proxy.delay(0.2)
        assert 0.4 <= exchange(connection, b"there and back") < 2


def test_cut_breaks_what_is_open_and_takes_new_connections(proxy: Proxy) -> None:
    with closing(connect(proxy)) as connection:
        exchange(connection, b"works")
        proxy.cut()
        assert proxy.open_connections == 0
        with pytest.raises(ConnectionError):
            exchange(connection, b"no more")
    with closing(connect(proxy)) as connection:
        exchange(connection, b"works again")


def test_a_connection_that_is_cut_as_it_is_made_is_not_left_hanging(proxy: Proxy) -> None:
    """Its client would wait for an answer until its own patience ends. The second cut takes what the first came too
    early for."""
    for number in range(400):
        with closing(connect(proxy)) as connection:
            time.sleep(number % 40 * 2e-5)
            proxy.cut()
            time.sleep(0.002)
            proxy.cut()
            with suppress(ConnectionError):
                assert connection.recv(1) == b""


def test_refuse_breaks_new_connections_and_leaves_open_ones(proxy: Proxy) -> None:
    with closing(connect(proxy)) as earlier:
        exchange(earlier, b"works")
        proxy.refuse()
        with pytest.raises(ConnectionError), closing(connect(proxy)) as connection:
            exchange(connection, b"not taken")
        exchange(earlier, b"still works")
        proxy.accept()
        with closing(connect(proxy)) as connection:
            exchange(connection, b"works again")


def test_a_target_that_is_not_there_breaks_the_connection(proxy: Proxy) -> None:
    proxy.target = f"{HOST}:{find_free_port()}"
    with pytest.raises(ConnectionError), closing(connect(proxy)) as connection:
        exchange(connection, b"nobody there")


def test_it_ends_with_connections_open(echo: str) -> None:
    with Proxy(echo) as proxy:
        connection = connect(proxy)
        exchange(connection, b"works")
    with closing(connection), pytest.raises(ConnectionError):
        exchange(connection, b"no more")
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


def test_a_client_stays_behind_the_proxy_of_a_broker(new_broker: BrokerMaker) -> None:
    with Proxy() as proxy, new_broker(advertised=proxy.address) as broker:
        proxy.target = broker.address
        with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
            assert [node["port"] for node in admin.describe_cluster()["brokers"]] == [proxy.port]
        assert proxy.bytes_forwarded > 0
