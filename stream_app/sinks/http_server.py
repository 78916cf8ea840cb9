"""How this project listens for HTTP, and the small server of a worker, on a port of its own. Stands at the edge.

``Site`` serves any application at an address of the settings; the console has one of its own. ``HttpServer`` serves whoever
looks after the worker, not its users. A route is a path and a function that returns a ``Reply``; it answers GET and HEAD.
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

LARGEST_REQUEST = 4_096
_STOP_SECONDS = 1.0


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


class Site:
    """Serves an application from ``async with`` to its end, at the address that ``setting`` names."""

    def __init__(self, application: web.Application, setting: str, address: tuple[str, int]) -> None:
        self._setting = setting
        self._address = address
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=_STOP_SECONDS
        )
        self.url = ""
        """Where it listens, without a slash at the end."""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            Failure: the address cannot be used.
        """
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as problem:
            await self._runner.cleanup()
            wrong = f"{ENV_PREFIX}{self._setting.upper()}='{shown}:{port}'"
            raise Failure(f"{wrong}: {_mend(problem, port)}") from None
        self.url = f"http://{shown}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self._runner.cleanup()


class HttpServer(Site):
    """Serves the routes at the worker's address."""

    def __init__(self, settings: Settings, routes: Mapping[str, Route]) -> None:
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[_in_json])
        for path, route in routes.items():
            application.router.add_get(path, _handler(route))
        super().__init__(application, "http", settings.http_address)


def _mend(problem: OSError, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return "another program listens there: end it, or choose another port; port 0 is any free one"
    if problem.errno == errno.EACCES:
        return "this user may not listen there: choose a port from 1024 up; port 0 is any free one"
    words = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else problem.strerror
    return f"cannot listen there ({words}): name an address of this machine, such as 127.0.0.1:{port}"


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
