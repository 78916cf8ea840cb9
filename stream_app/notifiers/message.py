"""What a service makes of a notice, and what became of it: the words between the services and ``post``. Pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import orjson

from stream_app.notifiers.notice import Notice

LINK_FIELDS: Final = ("fingerprint", "rule", "kind", "dimension", "key")
"""What a link to an alert may name in braces."""

_NO_WIDTH = "\u200b"


class Request(NamedTuple):
    """One POST. Nothing of it is ever logged; ``secrets`` are hidden also where an answer repeats them."""

    url: str
    body: bytes
    headers: dict[str, str]
    secrets: tuple[str, ...] = ()


class Verdict(Enum):
    """What became of a try.

    ``REFUSED``: the service understood and will never take this one. ``FAILED``: it may take it later.
    """

    DELIVERED = auto()
    REFUSED = auto()
    FAILED = auto()


class Outcome(NamedTuple):
    """A verdict, what went wrong in words for a person, and how long the service asks to be left alone."""

    verdict: Verdict
    problem: str = ""
    retry_after_seconds: float | None = None


class Service(Protocol):
    """A way to word notices for one kind of service."""

    def request(self, notice: Notice, now_ms: int) -> Request:
        """The request that tells a change; ``now_ms`` is the clock's time."""


def json_request(url: str, content: Any, *secrets: str) -> Request:
    """A request with a JSON body."""
    return Request(url, orjson.dumps(content), {"Content-Type": "application/json"}, secrets)


def authorized(request: Request, authorization: str | None) -> Request:
    """A request with an Authorization header, where there is something to say in it."""
    if authorization is None:
        return request
    headers = request.headers | {"Authorization": authorization}
    return request._replace(headers=headers, secrets=(*request.secrets, authorization))


def link_to(template: str | None, notice: Notice) -> str | None:
    """The address of a page about an alert: the fields in braces filled in, so that no name can leave its place."""
    if template is None:
        return None
    fields = {name: quote(str(getattr(notice.alert, name)), safe="") for name in LINK_FIELDS}
    return template.format(**fields)


def harmless(text: str) -> str:
    """Text without a mention, a link or a picture, for what reads Markdown; it looks the same."""
    return re.sub(r"(@|\]|:/)", rf"\1{_NO_WIDTH}", text)


def one_line(text: str, longest: int) -> str:
    """Text that foreign names are part of, on one line, cut where it is too long."""
    clean = re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in text)).strip()
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
