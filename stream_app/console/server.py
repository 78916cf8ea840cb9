"""The console's HTTP server: the page, its data, and the stream of changes. Stands at the edge.

Everything but the log-in form and ``/live`` asks for what ``access.py`` demands. The content-security policy lets the
page run our own files and nothing else, so that what an event carries can never run, whatever a mistake of ours put
into the page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from stream_app.clock import now_ms
from stream_app.console.access import COOKIE, SESSION_MS, Access
from stream_app.console.assets import Asset, load_assets
from stream_app.console.hub import Hub
from stream_app.console.numbers import catalogue
from stream_app.failure import Failure
from stream_app.metrics.catalogue import Dimension
from stream_app.prometheus.exposition import Sample, metrics_reply, process_samples
from stream_app.prometheus.families import CONSOLE_VIEWERS
from stream_app.settings import Settings
from stream_app.sinks.http_server import LARGEST_REQUEST, Site

logger = logging.getLogger(__name__)

_WRONG_TOKEN_SECONDS = 0.5
_WRONG_MARK = b"<!-- wrong -->"
_WRONG_WORDS = b'<p class="wrong" role="alert">That is not the token.</p>'
_RETRY_MS = 1_000  # how soon a browser whose stream broke comes back
_OPEN_PATHS = frozenset({"/live", "/login", "/static/app.css", "/static/icon.svg", "/static/theme.js"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConsoleServer(Site):
    """Serves the hub from ``async with`` to its end; ``port`` takes the place of the setting's."""

    def __init__(self, settings: Settings, access: Access, hub: Hub, port: int | None = None) -> None:
        self._access = access
        self._hub = hub
        self._assets = load_assets()
        self._about_us = orjson.dumps({"metrics": catalogue(), "login": access.token is not None})
        self._streams: set[asyncio.Task[None]] = set()
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[self._guarded])
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/live", self._live),
                web.get("/login", self._login_form),
                web.post("/login", self._log_in),
                web.post("/logout", self._log_out),
                web.get("/static/{name}", self._static),
                web.get("/api/world", self._world),
                web.get("/api/key", self._key),
                web.get("/api/at-risk", self._at_risk),
                web.get("/api/segments", self._campaign_segments),
                web.get("/api/about", self._about),
                web.get("/events", self._events),
                web.get("/metrics", self._metrics),
            ]
        )
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._end_streams)
        host, usual_port = settings.console_address
        super().__init__(application, "console_http", (host, usual_port if port is None else port))

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in whoever may look; a mistake of ours is a line in the log and a plain answer."""
        if not self._access.accepts_host(request.host):
            return web.Response(status=421, text="this console answers to localhost only\n")
        if request.path not in _OPEN_PATHS and not self._may_look(request):
            if request.path == "/":
                return web.Response(status=303, headers={"Location": "/login"})
            return web.Response(status=401, text="log in first\n", headers={"WWW-Authenticate": "Bearer"})
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Failure as problem:
            return web.json_response({"problem": str(problem)}, status=503)
        except ConnectionError:
            raise  # the viewer has gone
        except Exception:
            logger.exception("could not answer %s", request.path)
            return web.Response(status=500, text="a mistake in stream-app; its log has a line\n")

    def _may_look(self, request: web.Request) -> bool:
        authorization = request.headers.get("Authorization", "")
        return self._access.accepts(authorization, request.cookies.get(COOKIE, ""), now_ms())

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def _page(self, request: web.Request) -> web.Response:
        return _file(request, self._assets["index.html"])

    async def _static(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return _file(request, asset)

    async def _login_form(self, request: web.Request) -> web.Response:
        if self._may_look(request):
            return web.Response(status=303, headers={"Location": "/"})
        return _file(request, self._assets["login.html"])

    async def _log_in(self, request: web.Request) -> web.Response:
        """Exchange the token for a cookie. Another site's page cannot post here."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden
        token = (await request.post()).get("token")
        if not isinstance(token, str) or not self._access.is_token(token):
            await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            logger.warning("a wrong token was given, from %s", request.remote)
            page = self._assets["login.html"]
            body = page.content.replace(_WRONG_MARK, _WRONG_WORDS)
            return web.Response(status=401, body=body, headers={"Content-Type": page.content_type})
        response = web.Response(status=303, headers={"Location": "/"})
        is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        session = self._access.new_session(now_ms())
        response.set_cookie(
            COOKIE, session, max_age=SESSION_MS // 1000, httponly=True, samesite="Strict", secure=is_secure
        )
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE)
        return response

    async def _world(self, request: web.Request) -> web.Response:
        return _json(await self._hub.whole(), {"Content-Encoding": "gzip"})

    async def _about(self, request: web.Request) -> web.Response:
        return _json(self._about_us)

    async def _metrics(self, request: web.Request) -> web.Response:
        """For Prometheus, which gives the token in its Authorization header; ready is a console that reads Redis."""
        viewers = (CONSOLE_VIEWERS, [Sample(self._hub.viewers)])
        reply = metrics_reply([*process_samples(not self._hub.problem), viewers])
        return web.Response(body=reply.body, headers={"Content-Type": reply.content_type})

    async def _key(self, request: web.Request) -> web.Response:
        dimension, key = request.query.get("dimension", ""), request.query.get("key", "")
        if dimension not in set(Dimension):
            raise web.HTTPNotFound
        found = await self._hub.key(f"{dimension}:{key}")
        if found is None:
            raise web.HTTPNotFound
        return _json(orjson.dumps(found))

    async def _at_risk(self, request: web.Request) -> web.Response:
        return _json(orjson.dumps(await self._hub.worst_of(request.query.get("segment", ""))))

    async def _campaign_segments(self, request: web.Request) -> web.Response:
        return _json(orjson.dumps(await self._hub.campaign_segments(request.query.get("campaign", ""))))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The stream of changes (server-sent events), from where the viewer was."""
        last_id = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        await response.write(f"retry: {_RETRY_MS}\n\n".encode())
        stream = asyncio.create_task(self._send_changes(response, last_id))
        self._streams.add(stream)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await stream
        finally:
            stream.cancel()
            self._streams.discard(stream)
        return response

    async def _send_changes(self, response: web.StreamResponse, last_id: str) -> None:
        with self._hub.viewer(last_id) as queue:
            while (message := await queue.get()) is not None:
                await response.write(message)

    async def _end_streams(self, application: web.Application) -> None:
        for stream in self._streams:
            stream.cancel()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)


def _file(request: web.Request, asset: Asset) -> web.Response:
    headers = {"Content-Type": asset.content_type, "ETag": asset.tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == asset.tag:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.compressed, headers=headers | {"Content-Encoding": "gzip"})
    return web.Response(body=asset.content, headers=headers)


def _json(body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    plain = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=body, headers=plain | (headers or {}))
