"""Alerts for everything else: mail, Teams, Matrix, Telegram and over a hundred more, by the library apprise.

Stands at the edge beside ``post``. It is an extra, ``pip install 'stream-app[apprise]'``, and imported only where a target
asks for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from stream_app.notifiers.message import Outcome, Verdict, harmless, link_to, one_line
from stream_app.notifiers.notice import Notice

_LONGEST_TITLE = 200
_LONGEST_TEXT = 2000
_TYPES = {"resolved": "success", "warning": "warning"}
_OTHER_TYPE = "failure"


@dataclass(frozen=True, slots=True)
class Apprise:
    """One address of apprise, such as ``mailto://…``; it usually holds a secret."""

    url: str = field(repr=False)
    link: str | None = None

    async def send(self, notice: Notice, timeout_seconds: float) -> Outcome:
        """Tell a change. apprise only says whether it was delivered; it logs why not."""
        try:
            delivered = await asyncio.wait_for(asyncio.to_thread(self._notify, notice), timeout_seconds)
        except TimeoutError:
            return Outcome(Verdict.FAILED, f"no answer within {timeout_seconds:g} s")
        if delivered:
            return Outcome(Verdict.DELIVERED)
        return Outcome(
            Verdict.FAILED, "apprise could not deliver it; the line of its own before this one says why"
        )

    def _notify(self, notice: Notice) -> bool:
        from apprise import Apprise as Library

        alert = notice.alert
        library = Library()
        library.add(self.url)
        kind = _TYPES.get(alert.state if alert.is_resolved else alert.severity, _OTHER_TYPE)
        title = one_line(f"{alert.rule}: {alert.about}", _LONGEST_TITLE)
        return bool(
            library.notify(
                body=self._body(notice), title=harmless(title), notify_type=kind, body_format="text"
            )
        )

    def _body(self, notice: Notice) -> str:
        said = [
            harmless(one_line(text, _LONGEST_TEXT)) for text in (notice.alert.summary, *notice.alert.reasons)
        ]
        links = [address for address in (notice.alert.runbook, link_to(self.link, notice)) if address]
        return "\n".join([*said, *links])


def apprise_problem(url: str) -> str | None:
    """What is wrong with an address, in words that end a sentence about it; None where apprise knows it."""
    try:
        from apprise import Apprise as Library
    except ImportError:
        return "needs a package that is not installed: pip install 'stream-app[apprise]'"
    if not Library().add(url):
        return "is no address that apprise knows; its documentation lists those of each service"
    return None
