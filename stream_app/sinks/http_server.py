"""The HTTP server of a worker: one small answer per path, on a port of its own. Stands at the edge.

It serves whoever looks after the worker, not its users. A route is a path and a function that returns a ``Reply``; it
answers GET and HEAD.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Self

import orjson
from aiohttp import web

from stream_app.failure import Failure
from stream_app.settings import ENV_PREFIX, Settings

logger = logging.getLogger(__name__)

_STOP_SECONDS = 1.0
_LARGEST_REQUEST = 4_096


class Reply(NamedTuple):
    """What a route answers."""

    status: int
    body: bytes
    content_type: str = "application/json"


Route = Callable[[], Reply | Awaitable[Reply]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_reply(status: int, content: Mapping[str, Any]) -> Reply:
    """A reply in JSON, with a line's end for those who look at it in a terminal."""
    return Reply(status, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))


class HttpServer:
    """Serves the routes from ``async with`` to its end."""

    def __init__(self, settings: Settings, routes: Mapping[str, Route]) -> None:
        self._settings = settings
        self._application = web.Application(client_max_size=_LARGEST_REQUEST, middlewares=[_in_json])
        for path, route in routes.items():
            self._application.router.add_get(path, _handler(route))
        self._runner = web.AppRunner(
            self._application, access_log=None, handle_signals=False, shutdown_timeout=_STOP_SECONDS
        )
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            Failure: the address cannot be used.
        """
        host, port = self._settings.http_address
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as problem:
            await self._runner.cleanup()
            raise Failure(f"{ENV_PREFIX}HTTP={self._settings.http!r}: {_mend(problem)}") from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self._runner.cleanup()


def _mend(problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return "another program listens there: end it, or choose another port; port 0 is any free one"
    if problem.errno == errno.EACCES:
        return "this user may not listen there: choose a port from 1024 up; port 0 is any free one"
    words = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else problem.strerror
    return f"cannot listen there ({words}): name an address of this machine, such as 127.0.0.1:8080"


def _handler(route: Route) -> _Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = route()
        return _response(reply if isinstance(reply, Reply) else await reply)

    return answer


@web.middleware
async def _in_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Everything is answered in our form, a mistake of ours as well."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        response = _response(json_reply(refusal.status, {"status": refusal.reason}))
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
        return response
    except Exception:
        logger.exception("could not answer %s", request.path)
        return _response(json_reply(500, {"status": "Internal Server Error"}))


def _response(reply: Reply) -> web.Response:
    headers = {"Cache-Control": "no-store", "Content-Type": reply.content_type}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
