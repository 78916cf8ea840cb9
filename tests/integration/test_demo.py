"""The demo as a user starts it: numbers soon, a clean end, nothing left behind, clear words when it fails."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import redis
import redis.asyncio
from rich.console import Console

from stream_app.dev import EmbeddedRedis
from stream_app.dev.demo_lines import Moment, status_line, summary_lines
from stream_app.dev.demo_reading import Seen, read_numbers
from stream_app.dev.screen import draw
from tests.integration.conftest import ROOT
from tests.support.programs import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded]

SERVERS_AND_WORKER = 3


# --- The whole program -------------------------------------------------------------------------------------


class Demo:
    """A demo as a process of its own, and what runs below it."""

    def __init__(self, directory: Path, process: subprocess.Popen[str]) -> None:
        self.directory = directory
        self.process = process

    def guarded(self) -> dict[str, int]:
        """The processes that the demo's guards have started, by the end of their command."""
        lines = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in lines.splitlines()[1:]]
        guards = {row[0] for row in rows if f"guard.py {self.process.pid} {self.directory}" in row[2]}
        return {row[2]: int(row[0]) for row in rows if row[1] in guards}

    def guards(self) -> list[str]:
        """The guards, which are the last to end."""
        lines = subprocess.run(
            ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
        ).stdout
        return [
            line for line in lines.splitlines() if f"guard.py {self.process.pid} {self.directory}" in line
        ]

    def wait_for_all(self) -> dict[str, int]:
        """Wait until the two servers and the worker run."""

        def all_there() -> dict[str, int] | None:
            below = self.guarded()
            worker = any(args.endswith("stream_app worker") and "/usr/bin/env" not in args for args in below)
            return below if len(below) == SERVERS_AND_WORKER and worker else None

        below: dict[str, int] = wait_until(all_there, 15, "broker, Redis and worker run")
        return below

    def wait_for_line(self, text: str) -> None:
        """Read what it prints up to a line with a text."""
        assert self.process.stdout is not None
        assert any(text in line for line in self.process.stdout), f"it never printed {text!r}"

    def left_nothing(self) -> bool:
        """Whether no process of the demo lives and no file of it is there."""
        return not self.guards() and not [path for path in self.directory.iterdir() if path.is_dir()]


@contextmanager
def demo(directory: Path, *arguments: str, terminal: int | None = None) -> Iterator[Demo]:
    """Start a demo whose temporary files lie in a directory of its own; kill it if the test has not ended it."""
    output = subprocess.PIPE if terminal is None else terminal
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "demo", *arguments],
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
    )  # fmt: skip
    try:
        yield Demo(directory, process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_numbers_alerts_and_a_summary(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "25") as started:
        below = started.wait_for_all()
        out, err = started.process.communicate(timeout=45)
        assert started.process.returncode == 0, err
        assert err == ""
        assert len(below) == SERVERS_AND_WORKER and started.left_nothing()
    assert re.match(r"Console http://127\.0\.0\.1:\d+/ ", out)
    assert re.search(r"^Kafka 127\.0\.0\.1:\d+   Redis redis://127\.0\.0\.1:\d+/0$", out, re.MULTILINE)
    assert re.search(r"events sent \([\d,]+/s\), [\d,]+ deliveries, open rate \d", out)
    assert re.search(r"ALERT firing   optout .*winback-last-chance", out)
    first_after = re.search(r"ran for 2\d s; first numbers after (\d+\.\d) s", out)
    assert first_after and float(first_after[1]) < 15  # 6 s on an idle machine
    assert re.search(r"alerts +optout +\d fired", out)
    assert re.search(r"dead letters +.*(invalid_json|unknown_type|key_mismatch)", out)
    assert re.search(r"e-mail +[\d,]{5,} delivered", out)


@pytest.mark.timeout(60)
def test_screen_until_control_c(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with demo(tmp_path, terminal=theirs) as started:
        os.close(theirs)
        os.set_blocking(ours, False)
        shown = wait_for_text(ours, "spring-sale", 30)
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(15) == 0
        shown += read_all(ours)
        assert started.left_nothing()
    os.close(ours)
    assert "stream-app demo" in shown and "no alert is firing" in shown and "CTOR" in shown
    assert "The demo ran for" in shown


@pytest.mark.chaos
@pytest.mark.timeout(60)
def test_killed_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as started:
        started.wait_for_all()
        started.process.kill()
        wait_until(started.left_nothing, 10, "nothing of the killed demo is left")


@pytest.mark.chaos
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("victim", "said"),
    [
        (
            "stream_app worker",
            r"the worker has ended by itself \(exit code 137\); its last lines are in (\S+)$",
        ),
        pytest.param(
            "tansu",
            r"the embedded broker has ended by itself; start `stream-app demo` again$",
            marks=pytest.mark.slow,
        ),
        ("valkey-server", r"the embedded Redis has ended by itself; start `stream-app demo` again$"),
    ],
)
def test_what_dies_is_named(tmp_path: Path, victim: str, said: str) -> None:
    with demo(tmp_path) as started:
        below = started.wait_for_all()
        if victim == "tansu":  # the hardest end: clients that send and read lose their broker
            started.wait_for_line("deliveries")
        os.kill(next(pid for args, pid in below.items() if victim in args), signal.SIGKILL)
        _, err = started.process.communicate(timeout=20)
        assert started.process.returncode == 1
        assert len(err.splitlines()) == 1, err
        found = re.search(said, err.strip())
        assert found, err
        assert all(Path(name).is_file() for name in found.groups())
        assert started.left_nothing()


def wait_for_text(descriptor: int, text: str, seconds: float) -> str:
    """What a terminal was sent until some text came."""
    shown = ""
    deadline = time.monotonic() + seconds
    while text not in shown:
        assert time.monotonic() < deadline, f"not shown within {seconds} s: {text!r} in {shown[-2000:]!r}"
        shown += read_all(descriptor)
        time.sleep(0.05)
    return shown


def read_all(descriptor: int) -> str:
    """What a terminal was sent since it was last asked."""
    received = b""
    try:
        while part := os.read(descriptor, 65_536):
            received += part
    except OSError:  # nothing more now, or nobody writes any more
        return received.decode(errors="replace")
    return received.decode(errors="replace")


# --- What is shown, against a Redis filled by hand -----------------------------------------------------------


def alert(kind: str, key: str, state: str = "firing", severity: str = "critical") -> dict[str, Any]:
    return {
        "fingerprint": f"{kind}-{key}",
        "kind": kind,
        "state": state,
        "severity": severity,
        "dimension": "campaign",
        "key": key,
        "started_at": "2026-11-22T08:16:00.000Z",
        "ended_at": "2026-11-22T10:01:00.000Z" if state == "resolved" else None,
        "as_of": "2026-11-22T08:16:10.000Z",
        "summary": f"{severity.capitalize()}: {kind} of campaign {key} is not as it should be. "
        + "More words. " * 9,
    }


async def seen_in(server: EmbeddedRedis, firing: list[dict[str, Any]]) -> Seen:
    """What is read from a Redis that holds a campaign, the totals, and these alerts."""
    prefix = f"test-{uuid4().hex}:"
    everything = {"as_of": "2026-11-22T12:34:10.000Z", "total.deliveries": "1000", "total.unique_opens": "250",
                  "1h.carts_started": "12", "1h.purchased_value": '{"EUR":99.5}', "1h.carts_abandoned": "3",
                  "1h.carts_purchased": "1"}  # fmt: skip
    campaign = {"as_of": "2026-11-22T12:34:10.000Z", "total.deliveries": "1000", "total.unique_clicks": "100",
                "total.optouts": "10", "total.lost_before": "250", "total.unique_engaged": "400"}  # fmt: skip
    with redis.Redis.from_url(server.url) as client:
        client.hset(f"{prefix}metrics:all:all", mapping=everything)
        client.hset(f"{prefix}metrics:campaign:spring-sale", mapping=campaign)
        client.zadd(f"{prefix}index:campaign", {"spring-sale": 1})
        client.zadd(f"{prefix}churn", {"customer-ada": 0.76})
        for one in firing:
            client.hset(f"{prefix}alerts:firing", one["fingerprint"], orjson.dumps(one))
    seen = Seen()
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as reader:
        await read_numbers(reader, prefix, seen)
    return seen


def drawn(seen: Seen, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=Path(os.devnull).open("w"), record=True)  # noqa: SIM115
    console.print(draw(seen, Moment(12.0, 34_567, 890.0, "a test"), "Kafka here   Redis there", console))
    return console.export_text().splitlines()


async def test_screen_shows_what_redis_holds(redis_server: EmbeddedRedis) -> None:
    firing = [alert("ctr", "spring-sale", severity="warning"), alert("optout", "winback")]
    lines = drawn(await seen_in(redis_server, firing), 120, 50)
    text = "\n".join(lines)
    assert "34,567 events, 890/s" in text and "2026-11-22 12:34" in text
    order = [
        text.index(word)
        for word in ("2 firing", "optout of campaign winback", "ctr of campaign", "delivered")
    ]
    assert order == sorted(order)  # firing alerts first, the worst on top
    row = next(line for line in lines if line.startswith("spring-sale"))
    assert row.split() == ["spring-sale", "1,000", "0.0%", "10.00%", "25.0%", "1.00%", "(0.54–1.83)", "8.00%"]
    assert "12 started, 1 bought (100 EUR), 3 abandoned (75.0 %)" in text
    assert "customer-ada 0.76" in text


@pytest.mark.parametrize(
    ("width", "height", "alerts"), [(80, 24, 0), (80, 24, 9), (120, 40, 9), (200, 60, 3)]
)
async def test_screen_fits(redis_server: EmbeddedRedis, width: int, height: int, alerts: int) -> None:
    seen = await seen_in(redis_server, [alert("ctr", f"campaign-{n}") for n in range(alerts)])
    for n in range(9):
        seen.take_change(alert("optout", f"old-{n}", state="resolved"))
        seen.campaigns[f"a-campaign-with-a-long-name-{n}"] = seen.campaigns["spring-sale"]
    lines = drawn(seen, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert f"{alerts} firing" in "\n".join(lines) or alerts == 0
    assert any(line.startswith("a-campaign-with-a-long") for line in lines)


async def test_screen_cannot_be_steered_by_names(redis_server: EmbeddedRedis) -> None:
    seen = await seen_in(redis_server, [{**alert("ctr", "x"), "summary": "\x1b[2J[bold]evil"}])
    seen.campaigns["\x1b[2J[red]"] = seen.campaigns["spring-sale"]
    text = "\n".join(drawn(seen, 120, 50))
    assert "\x1b[2J" not in text and "[bold]evil" in text and "[red]" in text


def test_before_the_first_numbers() -> None:
    seen, moment = Seen(), Moment(1.0, 5, 5.0, "a test")
    assert "waiting for the worker's first numbers" in "\n".join(drawn(seen, 80, 24))
    assert "waiting for the worker's first numbers" in status_line(seen, moment)
    assert "no numbers came" in "\n".join(summary_lines(seen, moment, None))


def test_an_alert_is_counted_once_whatever_its_severity() -> None:
    seen = Seen()
    for severity in ("warning", "critical", "warning"):
        seen.take_change(alert("optout", "winback", severity=severity))
    seen.take_change(alert("optout", "winback", state="resolved"))
    seen.take_change(alert("ctr", "spring-sale", state="pending"))
    assert seen.fired == {"optout": 1} and seen.resolved == {"optout": 1}
    assert "optout       1 fired, 1 resolved" in "\n".join(summary_lines(seen, Moment(1, 1, 1, ""), 1.0))
