"""Alerts for any web server: the CloudEvent as JSON, signed as the Standard Webhooks specification says. Pure.

The receiver computes HMAC-SHA256 over ``id.timestamp.body`` with the shared secret and compares it with the header
``webhook-signature``; it refuses old timestamps, and knows a repeat by its ``webhook-id``. Sources: Standard Webhooks 1.0.0
(standardwebhooks.com), CloudEvents 1.0 JSON format and HTTP binding, structured mode.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import orjson

from stream_app.clock import SECOND_MS
from stream_app.notifiers.message import Request, authorized
from stream_app.notifiers.notice import SPECVERSION, Notice

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = range(24, 65)
"""How long a secret may be, by the specification."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One web server. ``secret`` is what both sides know, as bytes; ``authorization`` goes into the header of that name."""

    url: str
    secret: bytes = field(repr=False)
    authorization: str | None = field(default=None, repr=False)

    def request(self, notice: Notice, now_ms: int) -> Request:
        """The CloudEvent, signed for this try; a later try has the same id and a time of its own."""
        body = structured(notice)
        message_id = quote(notice.id, safe="").replace(".", "%2E")  # dots part what is signed
        timestamp = str(now_ms // SECOND_MS)
        headers = {
            "Content-Type": "application/cloudevents+json",
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self.secret, message_id, timestamp, body),
        }
        return authorized(Request(self.url, body, headers), self.authorization)


def decode_secret(text: str) -> bytes:
    """The bytes of a secret as it is written, ``whsec_`` and base64; the prefix may be left out.

    Raises:
        ValueError: it is not base64, or too short or too long.
    """
    secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    if len(secret) not in SECRET_BYTES:
        raise ValueError(f"{len(secret)} bytes")
    return secret


def signature(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The symmetric signature of Standard Webhooks, with its version."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def structured(notice: Notice) -> bytes:
    """The CloudEvent in structured mode; its data as it was published, to the byte."""
    attributes = {
        "specversion": SPECVERSION,
        "id": notice.id,
        "source": notice.source,
        "type": notice.type,
        "time": notice.time,
        "subject": notice.subject,
        "datacontenttype": "application/json",
        "data": orjson.Fragment(notice.data),
    }
    return orjson.dumps(attributes)
