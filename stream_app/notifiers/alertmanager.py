"""Alerts for Alertmanager: its v2 API, and which alerts it has to be told again. Pure.

Alertmanager knows an alert by its labels, and takes one that is not told again for ended. So labels are what never
changes in an alert's life; the severity, which can rise and fall, is an annotation like every number. Source: the
OpenAPI document of Alertmanager (``postableAlerts``), and how Prometheus sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from stream_app.clock import MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.notifiers.message import Request, authorized, json_request, link_to
from stream_app.notifiers.notice import Notice, written

PATH: Final = "/api/v2/alerts"
IDENTITY: Final = ("alertname", "kind", "dimension", "key", "fingerprint", "source")
"""The labels of every alert."""

AT_ONCE: Final = 200
"""Alerts of one request."""

RESOLVED_SECONDS: Final = 5 * 60.0
"""For how long an ended alert is told again."""

_INTERVALS_UNTIL_ENDED = 4  # as Prometheus does: so many may be missed before the alert is taken for ended


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One Alertmanager. ``labels`` are added to every alert; ``resend_ms`` is the pause before an alert is told again."""

    url: str
    resend_ms: int = MINUTE_MS
    labels: tuple[tuple[str, str], ...] = ()
    link: str | None = None
    authorization: str | None = field(default=None, repr=False)

    @property
    def resend_seconds(self) -> float:
        """The pause before an alert is told again."""
        return self.resend_ms / SECOND_MS

    def request(self, notice: Notice, now_ms: int) -> Request:
        """Tell one alert."""
        return self.request_of([notice], now_ms)

    def request_of(self, notices: Iterable[Notice], now_ms: int) -> Request:
        """Tell several alerts, as they are."""
        alerts = [self._alert(notice, now_ms) for notice in notices]
        return authorized(
            json_request(self.url.rstrip("/").removesuffix(PATH) + PATH, alerts), self.authorization
        )

    def _alert(self, notice: Notice, now_ms: int) -> dict[str, Any]:
        """An alert in Alertmanager's words. Event time may be ahead of its clock, which would not count the alert as
        begun or ended yet; an end before the beginning would be refused."""
        started_ms = min(notice.alert.started_ms, now_ms)
        ended_ms = notice.alert.ended_ms
        if notice.alert.is_firing or ended_ms is None:
            ends_ms = now_ms + _INTERVALS_UNTIL_ENDED * self.resend_ms
        else:
            ends_ms = max(min(ended_ms, now_ms), started_ms)
        alert: dict[str, Any] = {
            "labels": dict(self.labels) | _labels(notice),
            "annotations": _annotations(notice),
            "startsAt": to_rfc3339(started_ms),
            "endsAt": to_rfc3339(ends_ms),
        }
        link = link_to(self.link, notice)
        return alert if link is None else alert | {"generatorURL": link}


def _labels(notice: Notice) -> dict[str, str]:
    alert = notice.alert
    values = (alert.rule, alert.kind, alert.dimension, alert.key, alert.fingerprint, notice.source)
    return dict(zip(IDENTITY, values, strict=True))


def _annotations(notice: Notice) -> dict[str, str]:
    alert = notice.alert
    said = {"summary": alert.summary, "severity": alert.severity, "reasons": "; ".join(alert.reasons)}
    if alert.runbook:
        said["runbook_url"] = alert.runbook
    numbers = {_label_name(name): written(detail) for name, detail in notice.details.items()}
    return {name: text for name, text in (numbers | said).items() if text}


def _label_name(name: str) -> str:
    """A name that Alertmanager takes."""
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


class _Told(NamedTuple):
    """An alert as it was last told, and until when it is told again (a time in seconds; None while it fires)."""

    notice: Notice
    until: float | None


@dataclass
class Register:
    """What one Alertmanager was told and has to be told again. Times are seconds of a clock that never steps back."""

    resend_seconds: float
    next_time: float = 0.0
    _told: dict[str, _Told] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._told)

    def note(self, notice: Notice, told_at: float) -> None:
        """Remember an alert as it was told. A later firing takes the place of an earlier one's end, as both have the
        same labels."""
        until = None if notice.alert.is_firing else told_at + RESOLVED_SECONDS
        self._told[notice.alert.fingerprint] = _Told(notice, until)

    def forget(self) -> None:
        """Forget all, as when the partitions go to others."""
        self._told.clear()

    def take_due(self, now: float) -> list[list[Notice]]:
        """What is to be told again now, once in ``resend_seconds``; as much at once as goes into a request. What ended
        long enough ago is forgotten."""
        if now < self.next_time:
            return []
        self.next_time = now + self.resend_seconds
        self._told = {
            name: told for name, told in self._told.items() if told.until is None or told.until > now
        }
        notices = [told.notice for told in self._told.values()]
        return [notices[start : start + AT_ONCE] for start in range(0, len(notices), AT_ONCE)]

    def tell_soon(self) -> None:
        """Tell all again at the next occasion, as after a restart, or where it failed."""
        self.next_time = 0.0
