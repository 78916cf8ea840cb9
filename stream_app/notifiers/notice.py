"""A notice: a change of an alert as a subscriber reads it from its topic. Stands at the start of the delivery. Pure.

It is read as any subscriber of CONTRACT, section 2, would read it: a CloudEvents 1.0 record in Kafka's binary mode. What
identifies an alert and what people are told has a name here; every other number of it is in ``details``, so that a new
one reaches people without a change of this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from stream_app.alerts.lifecycle import FIRING, PENDING, RESOLVED
from stream_app.alerts.rules import SEVERITIES
from stream_app.clock import from_datetime, to_rfc3339

SPECVERSION: Final = "1.0"

Time = Annotated[datetime, msgspec.Meta(tz=True)]
Detail = str | int | float


class Unreadable(Exception):
    """A record is no change of an alert; the text says why."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What every change of an alert says. ``started_at`` and ``ended_at`` are event time."""

    fingerprint: str
    rule: str
    kind: str
    state: Literal["pending", "firing", "resolved"]
    severity: str
    dimension: str
    key: str
    started_at: Time
    summary: str
    ended_at: Time | None = None
    reasons: tuple[str, ...] = ()
    runbook: str | None = None

    @property
    def is_firing(self) -> bool:
        """Whether it is going on; a pending one is not."""
        return self.state == FIRING

    @property
    def is_pending(self) -> bool:
        """Whether it waits, and may come to nothing."""
        return self.state == PENDING

    @property
    def is_resolved(self) -> bool:
        """Whether it is over."""
        return self.state == RESOLVED

    @property
    def about(self) -> str:
        """What it is about, as ``dimension:key``."""
        return f"{self.dimension}:{self.key}"

    @property
    def started_ms(self) -> int:
        """When it began to fire, in milliseconds of event time."""
        return from_datetime(self.started_at)

    @property
    def ended_ms(self) -> int | None:
        """When it ended, in milliseconds of event time; None while it goes on."""
        return None if self.ended_at is None else from_datetime(self.ended_at)

    @property
    def occurrence(self) -> tuple[str, int]:
        """One firing from its beginning to its end: the fingerprint is that of every firing about the same thing."""
        return self.fingerprint, self.started_ms

    @property
    def rank(self) -> int:
        """The severity's place from mild to severe. One that is not known here counts as the most severe: better told
        than kept."""
        return SEVERITIES.index(self.severity) if self.severity in SEVERITIES else len(SEVERITIES)


class Notice(NamedTuple):
    """A change of an alert, with its CloudEvents attributes. ``id`` is the same when a change is told again, ``data`` the
    bytes as they were published, ``details`` the numbers and names that ``Alert`` has no field for."""

    id: str
    source: str
    type: str
    time: str
    subject: str
    alert: Alert
    details: dict[str, Detail]
    data: bytes


def notice_of(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Notice:
    """Read a record of an alert topic.

    Raises:
        Unreadable: it is no change of an alert.
    """
    given = {name: (content or b"").decode("utf-8", "replace") for name, content in headers}
    missing = [name for name in ("ce_id", "ce_source", "ce_type") if not given.get(name)]
    if missing:
        raise Unreadable(f"it lacks the header {missing[0]}")
    try:
        fields = msgspec.json.decode(value or b"", type=dict[str, Any])
        alert = msgspec.convert(fields, Alert)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:  # a ValidationError is a DecodeError
        raise Unreadable(str(problem)) from None
    return Notice(
        id=given["ce_id"],
        source=given["ce_source"],
        type=given["ce_type"],
        time=given.get("ce_time") or to_rfc3339(alert.ended_ms or alert.started_ms),
        subject=given.get("ce_subject") or alert.about,
        alert=alert,
        details={name: part for name, part in fields.items() if _is_detail(name, part)},
        data=value or b"",
    )


def written(detail: Detail) -> str:
    """A detail as text; a number to six digits, without the noise of its last ones."""
    if isinstance(detail, float):
        return f"{detail:.6g}"
    return str(detail)


def _is_detail(name: str, part: Any) -> bool:
    known = name in Alert.__struct_fields__
    return not known and isinstance(part, str | int | float) and not isinstance(part, bool)
