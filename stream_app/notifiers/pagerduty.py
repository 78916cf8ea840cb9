"""Alerts for PagerDuty: its Events API v2. Pure.

The deduplication key names what an alert is about, not when it began: should the end of one ever not arrive, the next
alert about the same thing joins the incident that is still open and ends it, where a key with the time would leave it
open for good. Source: PagerDuty's "Events API v2 Overview" and "PD-CEF".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from stream_app.clock import to_rfc3339
from stream_app.notifiers.message import Request, json_request, link_to, one_line
from stream_app.notifiers.notice import Notice

ADDRESS: Final = "https://events.pagerduty.com/v2/enqueue"

_LONGEST_SUMMARY = 1024
_SEVERITIES = {"warning": "warning", "critical": "critical"}
_OTHER_SEVERITY = "error"


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """One service of PagerDuty; ``url`` is that of the EU region where the account is there."""

    routing_key: str = field(repr=False)
    url: str = ADDRESS
    link: str | None = None

    def request(self, notice: Notice, now_ms: int) -> Request:
        """Open, change or resolve the incident of an alert."""
        event: dict[str, Any] = {
            "routing_key": self.routing_key,
            "event_action": "trigger" if notice.alert.is_firing else "resolve",
            "dedup_key": dedup_key(notice),
            "payload": _payload(notice),
            "client": "stream-app",
        }
        link = link_to(self.link, notice)
        if link is not None:
            event["client_url"] = link
        if notice.alert.runbook:
            event["links"] = [{"href": notice.alert.runbook, "text": "Runbook"}]
        return json_request(self.url, event, self.routing_key)


def dedup_key(notice: Notice) -> str:
    """What PagerDuty knows an alert by; two installations have incidents of their own, as their prefixes differ."""
    return f"{notice.source}:{notice.alert.fingerprint}"[-255:]


def _payload(notice: Notice) -> dict[str, Any]:
    alert = notice.alert
    return {
        "summary": one_line(alert.summary, _LONGEST_SUMMARY) or alert.rule,
        "source": alert.about,
        "severity": _SEVERITIES.get(alert.severity, _OTHER_SEVERITY),
        "timestamp": to_rfc3339(alert.started_ms),
        "component": alert.key,
        "group": alert.dimension,
        "class": alert.rule,
        "custom_details": notice.details | {"reasons": list(alert.reasons)},
    }
