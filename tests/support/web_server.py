"""A web server in the hands of a test: it notes what it is sent and answers as told, badly too.

Real sockets on loopback, a thread for each connection, ended with the ``with`` block.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.support.programs import wait_until


class Received(NamedTuple):
    """One request as it came in; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """How to answer: ``raw`` bytes instead of HTTP, or nothing at all for so many ``silent_seconds``."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    raw: bytes | None = None
    silent_seconds: float = 0.0


OK = Answer()


class WebServer:
    """Answers with what is put into ``answers``, then as ``by_default`` says (an answer, or a function of the request);
    what it was sent and how it answered stand in ``received`` and ``answered``."""

    def __init__(self, by_default: Answer | Callable[[Received], Answer] = OK, port: int = 0) -> None:
        self.by_default = by_default
        self.answers: deque[Answer] = deque()
        self.received: list[Received] = []
        self.answered: list[Answer] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Received]:
        """Wait until so many requests came; returns all."""
        wait_until(
            lambda: len(self.received) >= count, seconds, f"{count} requests (so far {self.received})", 0.02
        )
        return list(self.received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answer_to(self, request: Received) -> Answer:
        with self._lock:
            if self.answers:
                answer = self.answers.popleft()
            else:
                answer = self.by_default(request) if callable(self.by_default) else self.by_default
            self.answered.append(answer)
            self.received.append(request)
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = server._answer_to(Received(self.command, self.path, headers, body))
                if answer.silent_seconds:
                    server._ended.wait(answer.silent_seconds)
                    self.close_connection = True
                elif answer.raw is not None:
                    self.wfile.write(answer.raw)
                    self.close_connection = True
                else:
                    self.send_response(answer.status)
                    for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for

            def log_message(self, *arguments: Any) -> None:
                """Nothing: a test that fails shows what was received."""

        return Handler
