"""The HTTP server by itself, spoken to over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
from asyncio import sleep, to_thread
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stream_app.failure import Failure
from stream_app.settings import Settings, load_settings
from stream_app.sinks.http_server import HttpServer, Reply, Route, json_reply

pytestmark = pytest.mark.integration


def _broken() -> Reply:
    raise ZeroDivisionError("secret detail")


async def _slow() -> Reply:
    await sleep(0.01)
    return Reply(200, b"b 2\n", "text/plain; version=0.0.4; charset=utf-8")


ROUTES: dict[str, Route] = {
    "/slow": _slow,
    "/fine": lambda: json_reply(200, {"status": "fine"}),
    "/text": lambda: Reply(200, b"a 1\n", "text/plain"),
    "/broken": _broken,
}


def _settings(monkeypatch: pytest.MonkeyPatch, address: str = "127.0.0.1:0") -> Settings:
    monkeypatch.delenv("STREAM_APP_HTTP", raising=False)
    return load_settings(http=address)


def _ask(url: str, path: str, method: str = "GET") -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@contextmanager
def _taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield other.getsockname()[1]


async def test_a_route_is_served_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        status, headers, body = await to_thread(_ask, server.url, "/fine")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (
            200,
            "application/json",
            "no-store",
        )
        assert json.loads(body) == {"status": "fine"}
        status, headers, body = await to_thread(_ask, server.url, "/text")
        assert (status, headers.get_content_type(), body) == (200, "text/plain", b"a 1\n")


async def test_head_is_answered_without_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        status, _, body = await to_thread(_ask, server.url, "/fine", "HEAD")
        assert (status, body) == (200, b"")


async def test_an_unknown_path_is_404_and_another_method_405(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        status, _, body = await to_thread(_ask, server.url, "/metrics")
        assert (status, json.loads(body)) == (404, {"status": "Not Found"})
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, body = await to_thread(_ask, server.url, "/fine", method)
            assert (status, json.loads(body)) == (405, {"status": "Method Not Allowed"})
            assert headers["Allow"] == "GET,HEAD"


async def test_a_mistake_of_ours_is_told_without_its_details(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        status, _, body = await to_thread(_ask, server.url, "/broken")
    assert (status, json.loads(body)) == (500, {"status": "Internal Server Error"})
    assert "could not answer /broken" in caplog.text


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01 nonsense\r\n\r\n", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    def send(url: str) -> bytes:
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(sent)
            return connection.recv(65_536)

    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        answer = await to_thread(send, server.url)
        assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
        assert b"Traceback" not in answer
        assert (await to_thread(_ask, server.url, "/fine"))[0] == 200


async def test_two_servers_do_not_collide_on_any_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(monkeypatch)
    async with HttpServer(settings, ROUTES) as one, HttpServer(settings, ROUTES) as other:
        assert one.url != other.url
        assert [(await to_thread(_ask, url, "/fine"))[0] for url in (one.url, other.url)] == [200, 200]


async def test_a_port_in_use_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    with _taken_port() as port, pytest.raises(Failure) as caught:
        async with HttpServer(_settings(monkeypatch, f"127.0.0.1:{port}"), ROUTES):
            pass
    assert str(caught.value).startswith(f"STREAM_APP_HTTP='127.0.0.1:{port}': another program listens there")
    assert "choose another port" in str(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_this_machines_is_named_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with pytest.raises(
        Failure, match=rf"^STREAM_APP_HTTP='{host}:8080': cannot listen there .*127\.0\.0\.1:8080"
    ):
        async with HttpServer(_settings(monkeypatch, f"{host}:8080"), ROUTES):
            pass


async def test_a_route_may_take_its_time_and_name_its_charset(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer(_settings(monkeypatch), ROUTES) as server:
        status, headers, body = await to_thread(_ask, server.url, "/slow")
        assert (status, body) == (200, b"b 2\n")
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
