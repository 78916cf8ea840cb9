"""Alertmanager itself, where it is installed (on Debian: ``apt-get install prometheus-alertmanager``): it understands what
it is sent as it is meant."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import MINUTE_MS, SECOND_MS, now_ms, to_rfc3339
from stream_app.dev.servers import find_free_port
from stream_app.notifiers.alertmanager import Alertmanager
from stream_app.notifiers.message import Outcome, Verdict
from stream_app.notifiers.notice import Notice
from stream_app.notifiers.post import http_client, post
from stream_app.settings import Settings
from tests.support.alerts import notice, publish
from tests.support.notify import notify_programs
from tests.support.programs import wait_until
from tests.support.web_server import WebServer

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="Alertmanager is not installed"),
]

Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told() -> Iterator[WebServer]:
    """Whom Alertmanager tells."""
    with WebServer() as server:
        yield server


@pytest.fixture
def url(told: WebServer, tmp_path: Path) -> Iterator[str]:
    """An Alertmanager of this test's own, which tells at once."""
    config = tmp_path / "alertmanager.yml"
    config.write_text(
        "route: {receiver: test, group_by: ['...'], group_wait: 100ms, group_interval: 300ms, repeat_interval: 1h}\n"
        f"receivers: [{{name: test, webhook_configs: [{{url: '{told.url}', send_resolved: true}}]}}]\n"
    )
    address = f"127.0.0.1:{find_free_port()}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAM), f"--config.file={config}", f"--storage.path={tmp_path}", f"--web.listen-address={address}",
             "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(lambda: answers(f"http://{address}/-/ready"), 20, "Alertmanager is ready")
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def alerts_at(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())
    return found


async def send(service: Alertmanager, *notices: Notice) -> Outcome:
    async with http_client() as client:
        return await post(client, service.request_of(notices, now_ms()), 5)


def since(seconds: int) -> str:
    """A time so long ago."""
    return to_rfc3339(now_ms() - seconds * SECOND_MS)


async def test_an_alert_stays_one_through_changes_of_severity_and_ends(url: str, told: WebServer) -> None:
    service = Alertmanager(url, labels=(("team", "crm"),), link="https://example.org/{dimension}/{key}")
    start, hostile = since(60), 'größe "<!here>" {x}\\'
    about = {"started_at": start, "key": hostile, "runbook": "https://example.org/runbook"}
    assert (await send(service, notice(**about))).verdict is Verdict.DELIVERED
    first = told.wait_for(1, 10)[0].json["alerts"][0]
    assert (first["status"], first["labels"]["key"], first["labels"]["team"]) == ("firing", hostile, "crm")
    assert first["generatorURL"].startswith("https://example.org/campaign/gr")
    assert await send(service, notice(**about, severity="critical", value=0.03)) == Outcome(Verdict.DELIVERED)
    (alert,) = alerts_at(url)
    assert alert["annotations"]["severity"] == "critical"
    assert alert["annotations"]["value"] == "0.03"
    assert alert["annotations"]["runbook_url"] == "https://example.org/runbook"
    assert alert["startsAt"] == start
    ended = notice(**about, state="resolved", ended_at=since(1))
    assert (await send(service, ended, ended)).verdict is Verdict.DELIVERED
    wait_until(lambda: told.received[-1].json["status"] == "resolved", 10, "Alertmanager tells of the end")
    assert alerts_at(url) == []


def test_from_the_topic_to_alertmanager_an_alert_is_one_also_when_notify_is_killed(
    settings: Settings, environment: dict[str, str], tmp_path: Path, url: str, told: WebServer
) -> None:
    target = f'[[target]]\nname = "am"\ntype = "alertmanager"\nurl = "{url}"\nresend = "10s"\n'
    start_time = since(60)
    with notify_programs(settings, environment, tmp_path) as start:
        program = start(target)
        publish(settings, {"started_at": start_time})
        wait_until(lambda: alerts_at(url), 20, "Alertmanager has the alert")
        publish(settings, {"started_at": start_time, "severity": "critical"})
        wait_until(lambda: alerts_at(url)[0]["annotations"]["severity"] == "critical", 20, "it is critical")
        program.kill()
        start()
        told_before = alerts_at(url)[0]["updatedAt"]
        wait_until(lambda: alerts_at(url)[0]["updatedAt"] > told_before, 20, "it is told again")
        assert len(alerts_at(url)) == 1
        publish(settings, {"started_at": start_time, "state": "resolved", "ended_at": since(0)})
        wait_until(lambda: not alerts_at(url), 20, "it has ended")
        wait_until(
            lambda: told.received[-1].json["status"] == "resolved", 20, "Alertmanager tells of the end"
        )
    statuses = [one.json["status"] for one in told.received]
    assert statuses == ["firing", "resolved"], "a person was told once of each"


async def test_an_alert_that_is_not_told_again_ends_by_itself_and_one_that_is_does_not(url: str) -> None:
    service = Alertmanager(url, resend_ms=SECOND_MS // 2)
    kept, left = notice(fingerprint="a" * 16), notice(fingerprint="b" * 16)
    await send(service, kept, left)
    assert len(alerts_at(url)) == 2

    firing: list[str] = []
    for _ in range(100):
        await send(service, kept)
        firing = [alert["labels"]["fingerprint"] for alert in alerts_at(url)]
        if "b" * 16 not in firing:
            break
        await asyncio.sleep(0.05)
    assert firing == ["a" * 16]


async def test_event_time_ahead_of_the_clock_begins_and_ends_at_once(url: str) -> None:
    service = Alertmanager(url)
    ahead = to_rfc3339(now_ms() + 4 * MINUTE_MS)
    assert (await send(service, notice(started_at=ahead))).verdict is Verdict.DELIVERED
    assert len(alerts_at(url)) == 1
    assert (await send(service, notice(started_at=ahead, state="resolved", ended_at=ahead))).verdict is (
        Verdict.DELIVERED
    )
    wait_until(lambda: not alerts_at(url), 5, "it has ended")
