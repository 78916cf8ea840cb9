"""The console as a program: how it starts and ends, whom it lets in, and how a stream goes on."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from stream_app.alerts.rules import load_rules
from stream_app.clock import now_ms
from stream_app.console.hub import CHANGES_KEPT, Hub, Queue
from stream_app.console.reading import Reader
from stream_app.dev import EmbeddedRedis
from stream_app.metrics.catalogue import campaign_segment
from tests.integration.conftest import CommandLine
from tests.support.console_stage import ConsoleProcess, Shown, free_port, settings_of
from tests.support.programs import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded]

TOKEN = "a-token-of-enough-length"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(url: str, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
    """One request; a header's name is written with underscores."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def shown(redis_server: EmbeddedRedis) -> Iterator[Shown]:
    held = Shown(redis_server)
    yield held
    held.client.close()


@pytest.fixture(scope="module")
def guarded(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A console that asks for a token."""
    log = tmp_path_factory.mktemp("console") / "console.log"
    with ConsoleProcess(settings_of(shown) | {"CONSOLE_TOKEN": TOKEN}, log) as process:
        yield process


@pytest.mark.parametrize(
    "path",
    [
        *("/api/world", "/api/about", "/api/key?dimension=all&key=all", "/api/segments?campaign=a"),
        *("/events", "/static/app.js"),
    ],
)
def test_nothing_is_told_without_the_token(guarded: ConsoleProcess, path: str) -> None:
    assert ask(guarded.url, path).status == 401
    assert ask(guarded.url, path, Authorization="Bearer wrong").status == 401
    assert ask(guarded.url, path, Cookie="stream_app_console=9999999999999.0").status == 401


def test_a_program_bears_the_token(guarded: ConsoleProcess) -> None:
    assert ask(guarded.url, "/api/about", Authorization=f"Bearer {TOKEN}").status == 200
    assert ask(guarded.url, "/").headers["Location"] == "/login"
    assert ask(guarded.url, "/live").status == 200


def test_another_site_cannot_log_in(guarded: ConsoleProcess) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = ask(guarded.url, "/login", "POST", f"token={TOKEN}", Origin="https://evil.example", **form)
    assert answer.status == 403 and "Set-Cookie" not in answer.headers


def test_every_answer_forbids_what_the_page_does_not_need(guarded: ConsoleProcess) -> None:
    for path in ("/login", "/api/world", "/nothing", "/static/app.css"):
        headers = ask(guarded.url, path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and headers["X-Content-Type-Options"] == "nosniff"


def test_it_answers_to_its_own_names_only_and_ends_cleanly(shown: Shown, tmp_path: Path) -> None:
    with ConsoleProcess(settings_of(shown), tmp_path / "log") as console:
        assert ask(console.url, "/").status == 200
        assert ask(console.url, "/api/world", Host="evil.example:8585").status == 421
        assert ask(console.url, "/api/key?dimension=campaign&key=nobody").status == 404
        assert ask(console.url, "/api/key?dimension=wrong&key=x").status == 404
        assert ask(console.url, "/static/..%2f__init__.py").status == 404
        stream = http.client.HTTPConnection(urlsplit(console.url).netloc, timeout=5)
        stream.request("GET", "/events")
        assert stream.getresponse().readline().startswith(b"retry:")
        assert console.end() == 0
        stream.close()
    assert "Traceback" not in console.log.read_text()


def test_a_campaign_is_told_by_segment_once_it_is_counted_so(guarded: ConsoleProcess, shown: Shown) -> None:
    def told(campaign: str) -> dict[str, Any]:
        path = f"/api/segments?campaign={quote(campaign, safe='')}"
        held: dict[str, Any] = json.loads(ask(guarded.url, path, Authorization=f"Bearer {TOKEN}").body)
        return held

    shown.key("segment:new", {"deliveries": 9})
    assert told("a/b") == {"is_counted": False, "segments": {}, "left_out": 0}
    for campaign, segment, deliveries in (("a/b", "new", 4), ("a", "b/new", 5), ("a/b", "é", 1)):
        shown.key(f"segment:{segment}", {"deliveries": deliveries})
        counts = {"deliveries": deliveries, "unique_opens": 1, "unique_engaged": 1}
        shown.key(f"campaign_segment:{campaign_segment(campaign, segment)}", counts)
    answer = told("a/b")
    assert answer["is_counted"] and answer["left_out"] == 0
    assert set(answer["segments"]) == {"new", "é"}
    view = answer["segments"]["new"]["total"]
    assert view["deliveries"] == 4 and view["open_rate"][0] == 0.25 and view["ctor"][0] == 0
    assert view["open_rate"][1] < 0.25 < view["open_rate"][2]
    assert set(told("a")["segments"]) == {"b/new"}
    assert told("nobody")["segments"] == {}


def test_a_foreign_value_in_place_of_the_segments_names_none(guarded: ConsoleProcess, shown: Shown) -> None:
    shown.clear()
    shown.key("campaign_segment:a/new", {"deliveries": 1})
    shown.client.set(f"{shown.prefix}index:segment", "somebody else's")
    answer = ask(guarded.url, "/api/segments?campaign=a", Authorization=f"Bearer {TOKEN}")
    shown.clear()
    assert json.loads(answer.body) == {"is_counted": True, "segments": {}, "left_out": 0}


def test_a_port_published_on_loopback_alone_needs_no_token(shown: Shown, tmp_path: Path) -> None:
    everywhere = {"CONSOLE_HTTP": f"0.0.0.0:{free_port()}"}
    with ConsoleProcess(settings_of(shown) | everywhere, tmp_path / "log", "--local-only") as console:
        assert ask(console.url, "/api/about", Host="127.0.0.1:8585").status == 200
        assert ask(console.url, "/api/about", Host="evil.example:8585").status == 421


def test_a_port_that_is_taken_is_named(stream_app: CommandLine, guarded: ConsoleProcess) -> None:
    ended = stream_app("console", STREAM_APP_CONSOLE_HTTP=urlsplit(guarded.url).netloc)
    assert ended.returncode == 1 and "another program listens there" in ended.stderr


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"STREAM_APP_CONSOLE_HTTP": "0.0.0.0:0"}, 2, "STREAM_APP_CONSOLE_TOKEN"),
        ({"STREAM_APP_CONSOLE_HTTP": "0.0.0.0:0", "STREAM_APP_CONSOLE_TOKEN": "secret"}, 2, "at least 16"),
        ({"STREAM_APP_CONSOLE_HTTP": "nonsense"}, 2, "write host:port"),
    ],
)
def test_a_wrong_start_names_the_mend(
    stream_app: CommandLine, variables: dict[str, str], code: int, words: str
) -> None:
    ended = stream_app("console", **variables)
    assert ended.returncode == code and words in ended.stderr
    assert "secret" not in ended.stderr and "Traceback" not in ended.stderr


async def test_a_viewer_goes_on_where_it_was_or_begins_anew(shown: Shown) -> None:
    hub = Hub(shown.settings, load_rules(None))
    looking = asyncio.create_task(hub.run())
    try:
        async with asyncio.timeout(10):
            with hub.viewer("") as queue:
                assert b"event: anew" in (await queue.get() or b"")
                first = number_of(await queue.get())
                shown.campaign("between")
                after = await queue.get() or b""
            with hub.viewer(first) as queue:
                assert await queue.get() == after
            for lost in ("other-1", f"{first}9999", "nonsense"):
                with hub.viewer(lost) as queue:
                    assert b"event: anew" in (await queue.get() or b"")
            assert hub.viewers == 0
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_a_console_that_has_just_begun_looks_before_it_answers(shown: Shown) -> None:
    shown.clear()
    shown.campaign("spring-sale")
    shown.alert("early-1")
    hub = Hub(shown.settings, load_rules(None))
    asked = asyncio.create_task(hub.whole())
    await asyncio.sleep(0)
    looking = asyncio.create_task(hub.run())
    try:
        world = json.loads(gzip.decompress(await asked))
        assert world["campaigns"].keys() == {"spring-sale"}
        assert [alert["fingerprint"] for alert in world["alerts"]] == ["early-1"]
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_an_alert_does_not_wait_for_the_numbers(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.console.hub.LOOK_SECONDS", 3600.0)
    shown.clear()
    hub = Hub(shown.settings, load_rules(None))
    looking = asyncio.create_task(hub.run())

    async def next_with(words: bytes, queue: Queue) -> bytes:
        while words not in (message := await queue.get() or b""):
            pass
        return message

    try:
        async with asyncio.timeout(10):
            with hub.viewer("") as queue:
                for state in ("firing", "resolved", "firing"):
                    shown.alert("told-1", state)
                    message = await next_with(b"told-1", queue)
                    assert (b'"alerts":[]' in message) is (state == "resolved")
                    assert b'"pipeline"' not in message
                shown.clear()  # of which nobody tells
                await next_with(b'"alerts":[]', queue)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_the_customers_of_a_segment_and_how_many_each_band_has(shown: Shown) -> None:
    shown.clear()
    shown.key("segment:premium", {"deliveries": 1})
    for number, (score, band) in enumerate(((0.95, "high"), (0.85, "high"), (0.5, "medium"))):
        shown.customer(f"c{number}", score, band, segment="premium")
    shown.customer("elsewhere", 0.99, "high", segment="other")
    rules = load_rules(None)
    async with Reader(shown.settings, rules) as reader:
        seen = await reader.look(now_ms())
        worst = await reader.worst_of("premium")
        assert await reader.worst_of("nobody") == []
    assert [one["customer"] for one in worst] == ["c0", "c1", "c2"]
    assert [one["segment"] for one in seen.worst] == ["other", "premium", "premium", "premium"]
    assert seen.segment_bands.keys() == {"premium"}
    assert sum(seen.segment_bands["premium"].values()) == 3 and sum(seen.bands.values()) == 4


async def test_a_viewer_that_does_not_keep_up_is_let_go(shown: Shown) -> None:
    hub = Hub(shown.settings, load_rules(None))
    with hub.viewer("") as queue:
        for _ in range(3 * CHANGES_KEPT):
            hub._tell({})
        assert hub.viewers == 0
        held = [queue.get_nowait() for _ in range(queue.qsize())]
        assert held[-1] is None and len(held) < 2 * CHANGES_KEPT


def test_it_says_that_redis_is_away_and_goes_on(tmp_path: Path) -> None:
    with EmbeddedRedis() as server:
        shown = Shown(server)
        shown.campaign("spring-sale")
        with ConsoleProcess(settings_of(shown), tmp_path / "log") as console:

            def world() -> dict[str, Any]:
                held: dict[str, Any] = json.loads(gzip.decompress(ask(console.url, "/api/world").body))
                return held

            wait_until(lambda: "spring-sale" in world()["campaigns"], 10, "the campaign is there")
            server.pause()
            try:
                wait_until(lambda: "cannot be read" in world()["problem"], 15, "it says so")
                assert "spring-sale" in world()["campaigns"]
            finally:
                server.resume()
            wait_until(lambda: world()["problem"] == "", 15, "it goes on")
        shown.client.close()


def number_of(message: bytes | None) -> str:
    return (message or b"").splitlines()[0].removeprefix(b"id: ").decode()
