"""Alerts for Slack and what takes the same incoming webhooks (Mattermost, Rocket.Chat). Pure.

Names in an alert are foreign: a campaign may be called ``<!channel>``. In blocks they stand in plain text, which is never
read as markup; in ``text``, which others show, everything that could mention or link is made harmless. Source:
Slack's "Formatting text" (escape ``&``, ``<``, ``>``) and the limits of its block reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from stream_app.notifiers.message import Request, harmless, json_request, link_to, one_line
from stream_app.notifiers.notice import Notice

_LONGEST_HEADER = 150
_LONGEST_TITLE = 350  # a rule's name and a key are shorter
_LONGEST_TEXT = 2000
_MARKS = {"resolved": "✅", "warning": "⚠️", "critical": "🔴"}
_OTHER_MARK = "🔔"
_LEFT_AS_THEY_ARE: Final = ":/?#[]@!$&'()*+,;=%~-._"


@dataclass(frozen=True, slots=True)
class Slack:
    """One channel, by the secret address of its incoming webhook."""

    url: str = field(repr=False)
    link: str | None = None

    def request(self, notice: Notice, now_ms: int) -> Request:
        """A message of one change."""
        summary = one_line(notice.alert.summary, _LONGEST_TEXT)
        title = one_line(f"{_mark(notice)} {notice.alert.rule}: {notice.alert.about}", _LONGEST_TITLE)
        content = {
            "text": escape(f"{title}\n{summary}"),
            "blocks": [
                {"type": "header", "text": _plain(title, _LONGEST_HEADER)},
                {"type": "section", "text": _plain(summary or notice.alert.rule, _LONGEST_TEXT)},
                {"type": "context", "elements": self._context(notice)},
            ],
        }
        return json_request(self.url, content, self.url, urlsplit(self.url).path)

    def _context(self, notice: Notice) -> list[dict[str, Any]]:
        """The reasons, when it began, and where to read on."""
        said = [*notice.alert.reasons, f"since {notice.alert.started_at:%Y-%m-%d %H:%M:%S %Z}"]
        elements = [_plain(" · ".join(said), _LONGEST_TEXT)]
        addresses = {"Runbook": notice.alert.runbook, "Details": link_to(self.link, notice)}
        links = [_link(address, words) for words, address in addresses.items() if address]
        if links:
            elements.append({"type": "mrkdwn", "text": "  ".join(links)})
        return elements


def escape(text: str) -> str:
    """Text as Slack asks for it, without anything that it or its likes would take for a mention or a link."""
    for letter, stands_for in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, stands_for)
    return harmless(text)


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": one_line(text, longest), "emoji": False}


def _link(address: str, words: str) -> str:
    """A link; what would end its address early is percent-encoded."""
    return f"<{quote(address, safe=_LEFT_AS_THEY_ARE).replace('&', '&amp;')}|{words}>"


def _mark(notice: Notice) -> str:
    alert = notice.alert
    return _MARKS.get(alert.state if alert.is_resolved else alert.severity, _OTHER_MARK)
