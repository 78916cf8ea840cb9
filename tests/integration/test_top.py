"""``stream-app top`` on a real Redis: the frame, the JSON, the live screen and a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from textual.widgets import DataTable, Input, Static

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.settings import Settings, load_settings
from stream_app.sinks.redis_commands import CustomerRisk, FiringAlert
from stream_app.top.reading import Reader
from stream_app.top.screen import TopScreen
from stream_app.top.table import View
from tests.integration.conftest import ROOT, CommandLine
from tests.support.shown import campaign, firing, report, show, snapshot

pytestmark = pytest.mark.integration

HOSTILE = "[bold]\x1b]0;owned\x07\u202eevil"


@pytest.fixture
def shop(settings: Settings) -> Settings:
    """Three campaigns, one alert, one customer at risk and one worker in Redis."""
    show(
        settings,
        snapshot("all:all", {"deliveries": 1610, "carts_started": 12, "chats_started": 5}),
        snapshot("campaign:spring", campaign(1000, clicks=20, optouts=3)),
        snapshot("campaign:autumn", campaign(600, clicks=60)),
        snapshot(f"campaign:{HOSTILE}", campaign(10, clicks=1)),
        firing("f-1", "Opt-outs of spring are high", "spring"),
        CustomerRisk("c-17", 0.91, "high", ("2 tickets are unresolved",), now_ms(), segment="premium"),
        report("host-1", churn_held_back=4),
    )
    return settings


def names(screen: TopScreen) -> list[str]:
    table = screen.query_one(DataTable)
    return [str(table.get_row_at(number)[0]) for number in range(table.row_count)]


def colours(screen: TopScreen) -> list[str]:
    """The style of each campaign's name."""
    table = screen.query_one(DataTable)
    return [str(table.get_row_at(number)[0].style) for number in range(table.row_count)]


def words(screen: TopScreen, part: str) -> str:
    """What a part of the screen says."""
    return "\n".join(
        line.text.rstrip()
        for line in map(screen.query_one(part, Static).render_line, range(12))
        if line.text.strip()
    )


def test_without_a_terminal_it_prints_one_frame(shop: Settings, stream_app: CommandLine) -> None:
    answer = stream_app("top")
    assert (answer.returncode, answer.stderr) == (0, "")
    for expected in (
        "Opt-outs of spring are high",
        "spring",
        "1,000",
        "2.00%",
        "12 started",
        "c-17  premium",
        "1 customer; 4 alerts held back",
        "late 3",
    ):
        assert expected in answer.stdout
    assert "1 with 2 shards; 7 records wait; event time 3" in answer.stdout
    assert "\x1b" not in answer.stdout and "\x07" not in answer.stdout and "\u202e" not in answer.stdout
    assert answer.stdout.index("spring ") < answer.stdout.index("autumn")  # the most deliveries first


def test_json_is_one_object_a_second_with_the_numbers_of_redis(
    shop: Settings, stream_app: CommandLine
) -> None:
    answer = stream_app("top", "--json", "--limit", "2", "--sort", "ctr", "--window", "1h")
    assert (answer.returncode, answer.stderr) == (0, "")
    first, second = map(json.loads, answer.stdout.splitlines())
    assert [one["key"] for one in first["campaigns"]] == [HOSTILE, "autumn", "spring"]
    spring = first["campaigns"][2]
    assert spring["counts"]["deliveries"] == 1000
    assert spring["rates"]["ctr"] == {
        "value": 0.02, "numerator": 20, "denominator": 1000,
        "low": pytest.approx(0.0130, abs=1e-3), "high": pytest.approx(0.0307, abs=1e-3),
    }  # fmt: skip
    assert first["all"]["counts"]["deliveries"] == 1610
    assert first["all"]["rates"]["csat"]["value"] is None
    assert first["churn"]["customers"][0]["reasons"] == ["2 tickets are unresolved"]
    assert first["churn"]["customers"][0]["segment"] == "premium" and first["churn"]["held_back"] == 4
    assert first["pipeline"]["workers"][0]["lag"] == 7
    assert (first["pipeline"]["events_per_second"], second["pipeline"]["events_per_second"]) == (
        None,
        {"chats": 0},
    )
    assert first["alerts"][0]["summary"] == "Opt-outs of spring are high"


def test_the_filter_of_the_command_line(shop: Settings, stream_app: CommandLine) -> None:
    answer = stream_app("top", "--json", "--limit", "1", "--filter", "AUT")
    assert [one["key"] for one in json.loads(answer.stdout)["campaigns"]] == ["autumn"]


def test_an_empty_redis_says_what_is_missing(stream_app: CommandLine) -> None:
    answer = stream_app("top")
    assert answer.returncode == 0
    assert "no alert is firing" in answer.stdout
    assert "no event has been counted yet" in answer.stdout
    assert "start one with `stream-app worker`" in answer.stdout


def test_what_no_worker_wrote_is_an_error_in_words(settings: Settings, stream_app: CommandLine) -> None:
    import redis

    with redis.Redis.from_url(settings.redis.get_secret_value()) as client:
        client.hset(
            f"{settings.redis_prefix}metrics:all:all", mapping={"as_of": "x", "24h.carts_started": "many"}
        )
    answer = stream_app("top")
    assert answer.returncode == 1
    assert answer.stderr.startswith("stream-app: Redis holds what no worker wrote")


def test_without_redis_it_ends_with_the_mend(stream_app: CommandLine) -> None:
    answer = stream_app("top", STREAM_APP_REDIS="redis://127.0.0.1:9/0")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "STREAM_APP_REDIS" in answer.stderr and "Traceback" not in answer.stderr


async def test_keys_sort_reverse_change_the_window_and_filter(shop: Settings) -> None:
    async with Reader(shop) as reader:
        screen = TopScreen(reader, View(), await reader.look("24h"))
        async with screen.run_test(size=(120, 40)) as pilot:
            assert names(screen)[:2] == ["spring", "autumn"]
            await pilot.press("r")
            assert names(screen)[1:] == ["autumn", "spring"]
            await pilot.press("r", "s", "s")
            assert screen.view.sort == "ctr"
            assert names(screen)[1:] == ["autumn", "spring"]
            await pilot.press("w")
            assert screen.view.window == "total"
            await pilot.press("slash", *"pri")
            assert names(screen) == ["spring"]
            await pilot.press("escape")
            assert len(names(screen)) == 3
            assert screen.query_one(Input).display is False
            await pilot.press("q")
        assert screen.return_code == 0


async def test_the_screen_follows_redis(shop: Settings) -> None:
    async with Reader(shop) as reader:
        screen = TopScreen(reader, View(), await reader.look("24h"))
        async with screen.run_test(size=(120, 40)) as pilot:
            assert "Opt-outs of spring are high" in words(screen, "#alerts")
            assert "7 records wait" in words(screen, "#pipeline")
            assert colours(screen) == ["bold red", "", ""]
            show(shop, snapshot("campaign:winter", campaign(5000)), FiringAlert("f-1", None))
            deadline = time.monotonic() + 10
            while "winter" not in names(screen) and time.monotonic() < deadline:
                await pilot.pause(0.1)
            assert names(screen)[0] == "winter"
            assert "no alert is firing" in words(screen, "#alerts")
            assert colours(screen) == ["", "", "", ""]


async def test_while_redis_is_away_the_last_numbers_stay_and_their_age_is_told() -> None:
    with EmbeddedRedis() as server:
        settings = load_settings(redis=server.url)
        show(settings, snapshot("campaign:spring", campaign(1000)))
        async with Reader(settings) as reader:
            screen = TopScreen(reader, View(), await reader.look("24h"))
            async with screen.run_test(size=(120, 40)) as pilot:
                server.stop()
                deadline = time.monotonic() + 20
                while "s old" not in words(screen, "#header") and time.monotonic() < deadline:
                    await pilot.pause(0.2)
                assert "Redis cannot be reached" in words(screen, "#header")
                assert "s old" in words(screen, "#header")
                assert names(screen) == ["spring"]


@contextmanager
def terminal(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``stream-app top`` in a pseudo-terminal, ended by its own pid."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "top"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def read_until(terminal: int, text: bytes, seconds: float = 30.0) -> bytes:
    """What the terminal was sent, up to a text, or to its end."""
    seen, deadline = b"", time.monotonic() + seconds
    while text not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                chunk = os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
            seen += chunk
    assert text in seen, f"not within {seconds} s: {text!r} in {seen[-500:]!r}"
    return seen


@pytest.mark.parametrize("how", ["q", "signal"])
def test_in_a_terminal_it_is_drawn_and_the_terminal_is_given_back(
    shop: Settings, environment: dict[str, str], how: str
) -> None:
    with terminal(environment) as (process, ours):
        drawn = read_until(ours, b"spring")
        assert b"\x1b[?1049h" in drawn  # the alternate screen
        assert not re.search(rb"\x1b\]0;owned|\xe2\x80\xae", drawn)
        if how == "q":
            os.write(ours, b"q")
        else:
            process.send_signal(signal.SIGTERM)
        read_until(ours, b"\x1b[?1049l")
        assert process.wait(10) == 0
