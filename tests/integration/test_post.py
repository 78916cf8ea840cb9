"""One try at a real web server: every way in which it can go wrong is told apart, and nothing secret is said."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stream_app.clock import SECOND_MS
from stream_app.dev.servers import find_free_port
from stream_app.notifiers.apprise import Apprise
from stream_app.notifiers.courier import deliver
from stream_app.notifiers.follow import Choice
from stream_app.notifiers.message import Outcome, Verdict
from stream_app.notifiers.post import http_client
from stream_app.notifiers.slack import Slack
from stream_app.notifiers.targets import KINDS, AnyService, Target
from stream_app.notifiers.webhook import Webhook
from tests.support.alerts import notice
from tests.support.web_server import Answer, WebServer

pytestmark = pytest.mark.integration

FAILED, REFUSED, DELIVERED = Verdict.FAILED, Verdict.REFUSED, Verdict.DELIVERED
PAGE = Answer(200, body=b"\n<!doctype html><title>Log in</title>")


async def told(service: AnyService, timeout_seconds: float = 0.6) -> Outcome:
    target = Target("x", service, Choice(KINDS), int(timeout_seconds * SECOND_MS), 60 * SECOND_MS)
    async with http_client() as client:
        return await deliver(client, target, notice())


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (Answer(200), DELIVERED, ""),
        (Answer(202, body=b'{"status": "success"}'), DELIVERED, ""),
        (Answer(204, body=b""), DELIVERED, ""),
        (PAGE, FAILED, "a web page answers instead of the service (a proxy, a log-in?); check the address"),
        (Answer(400, body=b"invalid\x1b[2J blocks"), REFUSED, "it answers 400 Bad Request (invalid [2J blocks)"),
        (Answer(413, body=b""), REFUSED, "it answers 413 Request Entity Too Large"),
        (Answer(403, body=b"x"), FAILED, "403 Forbidden (x); check the key, the password or the address"),
        (Answer(410, body=b""), FAILED, "410 Gone; the address is no longer in use: make a new one"),
        (Answer(500, body=b"<html>oops"), FAILED, "it answers 500 Internal Server Error"),
        (Answer(599, body=b""), FAILED, "it answers 599"),
        (Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), FAILED, "it answers, but not as a web server does"),
        (Answer(raw=b"\x00" * 10_000), FAILED, "it answers, but not as a web server does"),
        (Answer(raw=b""), FAILED, "it closed the connection without an answer"),
        (Answer(silent_seconds=30), FAILED, "no answer within 0.6 s"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)  # fmt: skip
async def test_an_answer_is_judged_and_put_into_words(answer: Answer, verdict: Verdict, words: str) -> None:
    with WebServer(answer) as server:
        outcome = await told(Webhook(server.url, b"s" * 24))
    assert outcome.verdict is verdict
    assert words in outcome.problem


async def test_a_server_that_is_not_there_and_a_name_that_is_unknown_are_told_apart() -> None:
    refused = await told(Webhook(f"http://127.0.0.1:{find_free_port()}", b"s" * 24))
    assert refused == Outcome(FAILED, "no connection (Connection refused)")
    unknown = await told(Webhook("http://no-such-host.invalid/", b"s" * 24), 5)
    assert unknown.verdict is FAILED
    assert "name is unknown" in unknown.problem or "no answer within" in unknown.problem


async def test_a_redirect_is_not_followed() -> None:
    with WebServer() as elsewhere, WebServer(Answer(307, {"Location": elsewhere.url}, b"")) as server:
        outcome = await told(Webhook(server.url, b"s" * 24))
        assert elsewhere.received == []
    assert outcome.verdict is FAILED
    assert "redirects are not followed: write the address that it leads to" in outcome.problem


async def test_who_asks_to_be_left_alone_is_heard() -> None:
    with WebServer(Answer(429, {"Retry-After": "17"}, b"")) as server:
        outcome = await told(Webhook(server.url, b"s" * 24))
    assert outcome == Outcome(FAILED, "it answers 429 Too Many Requests", 17.0)


async def test_what_is_secret_is_hidden_also_where_an_answer_repeats_it() -> None:
    def echo(request: object) -> Answer:
        return Answer(404, body=f"no team at {request}".encode())

    with WebServer(echo) as server:
        secret = Slack(f"{server.url}/services/T000/B000/XXXX")
        outcome = await told(secret)
        assert urlsplit(secret.url).path == server.received[0].path
        assert "XXXX" not in outcome.problem
        assert "XXXX" not in str(secret)
        signed = Webhook(server.url, b"s" * 24, "Bearer abcdef")
        outcome = await told(signed)
        assert server.received[1].headers["authorization"] == "Bearer abcdef"
        assert "abcdef" not in outcome.problem


async def test_apprise_delivers_to_what_it_knows_and_says_when_it_could_not(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="the extra stream-app[apprise] is not installed")
    with WebServer() as server:
        address = f"json://127.0.0.1:{server.port}/"
        assert (await told(Apprise(address, "https://example.org/{key}"), 10)).verdict is DELIVERED
        content = json.loads(server.received[0].body)
        assert content["type"] == "warning"
        assert "opt-out rate of campaign spring-sale" in content["message"]
        assert content["message"].endswith("https://example.org/spring-sale")
        server.by_default = Answer(500)
        outcome = await told(Apprise(address), 10)
        assert outcome.verdict is FAILED
        server.by_default = Answer(silent_seconds=5)
        assert (await told(Apprise(address), 0.3)) == Outcome(FAILED, "no answer within 0.3 s")
