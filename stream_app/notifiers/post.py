"""Sends a request over HTTP and says what became of it. Stands at the edge, behind the services.

Everything but an answer that says otherwise may be tried again. An address with secrets is never part of what is said.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from stream_app import __version__
from stream_app.clock import SECOND_MS, from_datetime, now_ms
from stream_app.notifiers.message import Outcome, Request, Verdict, one_line

LARGEST_ANSWER: Final = 4_096
"""So much of an answer is read; no service has more to say that we want to know."""

_NEVER: Final[frozenset[int]] = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_SHOWN = 200
_MENDS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "; check the key or the password in the notifiers file",
    HTTPStatus.FORBIDDEN: "; check the key, the password or the address in the notifiers file",
    HTTPStatus.NOT_FOUND: "; check the address in the notifiers file",
    HTTPStatus.METHOD_NOT_ALLOWED: "; check the address in the notifiers file",
    HTTPStatus.GONE: "; the address is no longer in use: make a new one and put it into the notifiers file",
}


@asynccontextmanager
async def http_client() -> AsyncIterator[aiohttp.ClientSession]:
    """The client of all targets. Proxies are those that the usual variables name; no cookie is kept."""
    headers = {"User-Agent": f"stream-app/{__version__}", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(
        headers=headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True, auto_decompress=False
    ) as client:
        yield client


async def post(client: aiohttp.ClientSession, request: Request, timeout_seconds: float) -> Outcome:
    """Send a request and wait for the answer. A redirect is not followed: an alert, signed and perhaps with a secret,
    goes nowhere but where somebody wrote that it should."""
    limit = aiohttp.ClientTimeout(total=timeout_seconds)
    try:
        async with client.post(
            request.url, data=request.body, headers=request.headers, timeout=limit, allow_redirects=False
        ) as answer:
            start = await answer.content.read(LARGEST_ANSWER)
            outcome = judge(answer.status, answer.headers.get("Retry-After"), start, now_ms())
            return outcome._replace(problem=_without(request.secrets, outcome.problem))
    except (aiohttp.ClientError, OSError, ValueError) as problem:  # a TimeoutError is an OSError
        return Outcome(Verdict.FAILED, _explain(problem, timeout_seconds))


def judge(status: int, retry_after: str | None, body: bytes, now: int) -> Outcome:
    """What an answer means; ``now`` is the clock's time in milliseconds."""
    if 200 <= status < 300:
        if body.lstrip()[:1] == b"<":
            problem = "a web page answers instead of the service (a proxy, a log-in?); check the address"
            return Outcome(Verdict.FAILED, problem)
        return Outcome(Verdict.DELIVERED)
    said = one_line(body.decode("utf-8", "replace"), _SHOWN) if body.lstrip()[:1] != b"<" else ""
    problem = f"it answers {status} {_phrase(status)}".rstrip() + (f" ({said})" if said else "")
    if 300 <= status < 400:
        problem += "; redirects are not followed: write the address that it leads to"
    problem += _MENDS.get(status, "")
    verdict = Verdict.REFUSED if status in _NEVER else Verdict.FAILED
    return Outcome(verdict, problem, wanted_pause(retry_after, now))


def wanted_pause(retry_after: str | None, now: int) -> float | None:
    """The seconds that a Retry-After header asks for, which is a number or a date (RFC 9110, section 10.2.3); None where
    it says nothing that can be understood."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (from_datetime(_in_utc(moment)) - now) / SECOND_MS)


def _without(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        if len(secret) > 1:  # the path "/" is none
            text = text.replace(secret, "(hidden)")
    return text


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _explain(problem: Exception, timeout_seconds: float) -> str:
    """What kept us from an answer, without the address."""
    if isinstance(problem, TimeoutError):
        return f"no answer within {timeout_seconds:g} s"
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({problem.certificate_error}); set SSL_CERT_FILE to its authority's"
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return "its name is unknown; check the address in the notifiers file"
    if isinstance(problem, aiohttp.ClientConnectorError):
        number = problem.os_error.errno
        return f"no connection ({os.strerror(number) if number else problem.os_error})"
    if isinstance(problem, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientOSError):
        return "it closed the connection without an answer"
    if isinstance(problem, aiohttp.InvalidURL | ValueError):
        return "the address is no URL; mend it in the notifiers file"
    return f"it answers, but not as a web server does ({type(problem).__name__})"
