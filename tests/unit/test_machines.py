"""Who opens and clicks: the table of user agents."""

from __future__ import annotations

import pytest

from stream_app.ingest.events import EmailClicked, EmailOpened
from stream_app.ingest.machines import is_machine

PEOPLE = [
    None,
    "",
    "   ",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Microsoft Outlook 16.0",
    "Mozilla/5.0 (Linux; Android 14; Javanese Keyboard) Chrome/126.0",
    "Curling Club App 2.0",
]
MACHINES = [
    "Mozilla/5.0",
    " Mozilla/5.0 ",
    "curl/8.5.0",
    "Wget/1.21",
    "python-requests/2.31.0",
    "Go-http-client/2.0",
    "Java/17.0.2",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (X11) HeadlessChrome/120.0 Safari/537.36",
    "Mozilla/5.0 (compatible; bingbot/2.0)",
    "BarracudaCentral barracuda/1.0",
    "Slackbot 1.0 (+https://api.slack.com/robots)",
    "okhttp/4.12.0",
]


def opened(agent: str | None, machine: bool | None = None) -> EmailOpened:
    place = {"event_id": "e", "event_time": 1, "customer_id": "c", "campaign_id": "m"}
    return EmailOpened(**place, user_agent=agent, machine=machine)  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_are_people(agent: str | None) -> None:
    assert not is_machine(opened(agent))


@pytest.mark.parametrize("agent", MACHINES)
def test_machines_are_machines(agent: str) -> None:
    assert is_machine(opened(agent))


@pytest.mark.parametrize("agent", [None, "curl/8", "Microsoft Outlook 16.0"])
def test_what_the_sender_says_decides(agent: str | None) -> None:
    assert is_machine(opened(agent, machine=True))
    assert not is_machine(opened(agent, machine=False))


def test_clicks_are_told_apart_as_opens_are() -> None:
    click = EmailClicked(event_id="e", event_time=1, customer_id="c", campaign_id="m", user_agent="curl/8")
    assert is_machine(click)
