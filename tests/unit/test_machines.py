"""Who opens and clicks, as far as the event itself tells: the sender's flag and the table of user agents."""

from __future__ import annotations

import time

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from stream_app.ingest.agents import is_machine_agent
from stream_app.ingest.events import EmailClicked, EmailOpened
from stream_app.ingest.machines import AGENT, FLAG, PERSON, told_by

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
PEOPLE = [
    "",
    "   ",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.3.1",
    f"{IPHONE}Mobile/15E148",
    f"{IPHONE}GSA/270.0.5 Mobile/15E148 Safari/604.1",
    f"{IPHONE}Mobile/15E148 [FBAN/FBIOS;FBAV/430.0]",
    f"{IPHONE}Mobile/15E148 Instagram 300",
    f"{IPHONE}Mobile/15E148 [Pinterest/iOS]",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "FastmailUA/1.0",
    "Microsoft Outlook 16.0",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)",
    "Outlook-iOS/709.2189947.prod.iphone (3.24.0)",
    "Mozilla/5.0 (Linux; Android 14; Javanese Keyboard) Chrome/126.0",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/74.0 Mobile",
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
    "Mozilla/5.0 (compatible; Barracuda Sentinel (EE))",
    "Mozilla/5.0 (Windows NT 10.0) Proofpoint",
    "CiscoSecureEmail",
    "Slackbot 1.0 (+https://api.slack.com/robots)",
    "okhttp/4.12.0",
    "WhatsApp/2.23",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
]
FETCH_FOR_A_READER = {"GoogleImageProxy", "YahooMailProxy", "FastmailUA", "Shortwave Image Fetcher"}


def opened(agent: str | None, machine: bool | None = None) -> EmailOpened:
    place = {"event_id": "e", "event_time": 1, "customer_id": "c", "campaign_id": "m"}
    return EmailOpened(**place, user_agent=agent, machine=machine)  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", [None, *PEOPLE])
def test_people_are_people(agent: str | None) -> None:
    assert told_by(opened(agent)) == 0


@pytest.mark.parametrize("agent", MACHINES)
def test_machines_are_machines(agent: str) -> None:
    assert told_by(opened(agent)) == AGENT


def test_every_agent_that_the_list_shows_is_a_machine_but_those_that_fetch_for_a_reader() -> None:
    shown = [(entry["pattern"], agent) for entry in CRAWLER_USER_AGENTS_DATA for agent in entry["instances"]]
    assert len(shown) > 2_000
    assert {pattern for pattern, agent in shown if not is_machine_agent(agent)} == FETCH_FOR_A_READER


@pytest.mark.parametrize("agent", [None, "curl/8", "Microsoft Outlook 16.0"])
def test_what_the_sender_says_decides(agent: str | None) -> None:
    assert told_by(opened(agent, machine=True)) == FLAG
    assert told_by(opened(agent, machine=False)) == PERSON


def test_clicks_are_told_apart_as_opens_are() -> None:
    click = EmailClicked(event_id="e", event_time=1, customer_id="c", campaign_id="m", user_agent="curl/8")
    assert told_by(click) == AGENT


def test_an_agent_of_any_length_is_read_in_no_time() -> None:
    before = time.process_time()
    assert not is_machine_agent("Mozilla/5.0 (compatible; " * 10_000)
    assert is_machine_agent("curl/8 " + "x" * 200_000)
    assert time.process_time() - before < 0.1
