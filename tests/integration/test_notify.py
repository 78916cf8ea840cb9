"""``stream-app notify`` as users run it: from the alert topics to real web servers, also when either of them fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from kafka import KafkaProducer

from stream_app.settings import Settings
from tests.integration.conftest import CommandLine
from tests.support.alerts import alert_record, publish
from tests.support.brokers import BrokerMaker
from tests.support.notify import Start, notify_programs
from tests.support.programs import installation, wait_until
from tests.support.web_server import Answer, Received, WebServer

pytestmark = pytest.mark.integration

SECRET = base64.b64encode(bytes(range(32))).decode()
DOWN = Answer(503, body=b"")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def start(settings: Settings, environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    with notify_programs(settings, environment | {"SECRET": SECRET}, tmp_path) as start:
        yield start


def webhook(server: WebServer, name: str = "hook", more: str = "") -> str:
    return f'[[target]]\nname = "{name}"\ntype = "webhook"\nurl = "{server.url}/in"\nsecret = "env:SECRET"\n{more}\n'


def alertmanager(server: WebServer) -> str:
    return f'[[target]]\nname = "am"\ntype = "alertmanager"\nurl = "{server.url}"\nresend = "1s"\n'


def ids(received: list[Received]) -> list[str]:
    return [request.json["id"] for request in received]


def firing(number: int, **changed: Any) -> dict[str, Any]:
    """A change of an alert of its own, whose id is short."""
    state = changed.get("state", "firing")
    return {"fingerprint": f"{number:016x}", "ce_id": f"{number}-{state}", **changed}


def assert_signed(request: Received) -> None:
    """What a receiver does, by the specification's own words."""
    signed = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    )
    expected = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_an_alert_arrives_signed_once_and_is_not_told_again_after_a_restart(
    settings: Settings, start: Start, server: WebServer
) -> None:
    program = start(webhook(server))
    publish(settings, firing(1), firing(1, state="pending", ce_id="pending"), firing(1, state="resolved"))
    first, second = server.wait_for(2)
    assert_signed(first)
    value, _ = alert_record(**firing(1))
    assert first.json["data"] == json.loads(value)
    assert (first.json["specversion"], first.json["subject"]) == ("1.0", "campaign:spring-sale")
    assert (first.json["type"], second.json["type"]) == (
        "engagement.alert.optout.firing",
        "engagement.alert.optout.resolved",
    )
    program.signal(signal.SIGTERM)
    assert program.wait_for_end() == 0
    publish(settings, firing(2))
    start()
    assert ids(server.wait_for(3)) == ["1-firing", "1-resolved", "2-firing"]
    publish(settings, firing(3))
    assert ids(server.wait_for(4))[3:] == ["3-firing"]


def test_a_new_target_is_told_what_fires_now_not_what_is_over_and_what_is_no_alert_is_passed_over(
    settings: Settings, start: Start, server: WebServer
) -> None:
    with KafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False) as producer:
        for value in (b"{nonsense", b"[]", b"{}", b"\xff", None):
            producer.send(settings.topic("alerts.optout"), value, b"k", alert_record()[1]).get(10)
    ended = [firing(number, state="resolved") for number in range(19)]
    publish(settings, *(firing(number) for number in range(20)), *ended)
    program = start(webhook(server))
    assert ids(server.wait_for(1)) == ["19-firing"]
    publish(settings, firing(19, state="resolved"))
    assert ids(server.wait_for(2)) == ["19-firing", "19-resolved"]
    assert program.said("is no change of an alert, and is passed over") == 5
    assert program.ask("/ready")[1]["targets"][0]["unreadable"] == 5


def test_what_could_not_be_delivered_before_a_kill_is_delivered_after_it_under_the_same_id(
    settings: Settings, start: Start, server: WebServer
) -> None:
    server.by_default = DOWN
    program = start(webhook(server))
    publish(settings, firing(1))
    server.wait_for(2)
    status, body = program.ask("/ready")
    assert status == 503
    assert "hook: takes nothing since " in body["reasons"][0]
    assert "1 waiting: it answers 503 Service Unavailable" in body["reasons"][0]
    with urlopen(f"http://{program.http_address}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    assert 'stream_app_notify_waiting{target="hook"} 1.0\n' in metrics
    assert "stream_app_ready 0.0\n" in metrics
    program.kill()
    server.by_default = Answer()
    told = len(server.received)
    start()
    assert ids(server.wait_for(told + 1))[told:] == ["1-firing"]
    assert len({request.headers["webhook-id"] for request in server.received}) == 1
    publish(settings, firing(2))
    assert ids(server.wait_for(told + 2))[told:] == ["1-firing", "2-firing"]


def test_a_target_that_hangs_holds_up_no_other(settings: Settings, start: Start, server: WebServer) -> None:
    with WebServer(Answer(silent_seconds=120)) as hanging:
        start(webhook(hanging, "hanging", 'timeout = "100s"') + webhook(server))
        publish(settings, firing(1), firing(2))
        assert set(ids(server.wait_for(2))) == {"1-firing", "2-firing"}
        assert len(hanging.wait_for(1)) == 1, "one at a time"


def test_a_target_gets_what_it_wants_and_an_alert_that_it_was_told_of_to_its_end(
    settings: Settings, start: Start, server: WebServer
) -> None:
    choice = 'kinds = ["optout"]\nminimum_severity = "critical"\nkeys = ["spring-*"]'
    start(webhook(server, more=choice))
    mild_end = firing(1, state="resolved", severity="warning")
    publish(
        settings,
        firing(1, severity="warning", ce_id="too mild"),
        firing(2, severity="critical", kind="ctr", ce_id="another kind"),
        firing(3, severity="critical", key="autumn", ce_id="another key"),
        firing(1, severity="critical", ce_id="critical now"),
        firing(1, severity="warning", ce_id="milder again"),
        mild_end,
        firing(4, severity="critical"),
    )
    # Fingerprints share no order between partitions, so only those of one are compared.
    told = ids(server.wait_for(4))
    assert [name for name in told if name != "4-firing"] == ["critical now", "milder again", "1-resolved"]
    assert len(told) == 4


def test_alertmanager_is_told_again_of_what_fires_and_of_ends_also_after_a_restart(
    settings: Settings, start: Start, server: WebServer
) -> None:
    program = start(alertmanager(server))
    publish(settings, firing(1), firing(2), firing(2, state="resolved"))
    server.wait_for(6)
    program.kill()
    told = len(server.received)
    start()

    def again() -> dict[str, Any]:
        return {alert["labels"]["fingerprint"]: alert for one in server.received[told:] for alert in one.json}

    wait_until(lambda: len(again()) == 2, 20, "both are told again")
    fires, ended = (again()[f"{number:016x}"] for number in (1, 2))
    assert fires["endsAt"] > fires["startsAt"]
    assert ended["endsAt"] == "2026-11-22T11:00:00.000Z"
    assert all(request.path == "/api/v2/alerts" for request in server.received)


@pytest.mark.slow
def test_of_two_programs_one_takes_over_what_the_other_had(
    settings: Settings, start: Start, server: WebServer
) -> None:
    first = start(webhook(server))
    publish(settings, *(firing(number) for number in range(10)))
    server.wait_for(10)
    second = start()
    publish(settings, *(firing(number) for number in range(10, 20)))
    server.wait_for(20)
    first.kill()
    publish(settings, *(firing(number) for number in range(20, 30)))
    told = ids(server.wait_for(30, 60))
    assert sorted(told) == sorted(f"{number}-firing" for number in range(30)), "each once"
    assert second.alive


@pytest.mark.slow
def test_a_kafka_that_is_away_is_said_and_stops_neither_the_telling_nor_the_end(
    new_broker: BrokerMaker, tmp_path: Path, server: WebServer
) -> None:
    server.by_default = DOWN
    with new_broker() as broker:
        place = installation(broker.address, "redis://127.0.0.1:1/0", tmp_path)
        with notify_programs(place.settings, place.environment | {"SECRET": SECRET}, tmp_path) as start:
            program = start(webhook(server))
            publish(place.settings, firing(1))
            server.wait_for(1)
            broker.pause()
            program.wait_for("hook: cannot reach Kafka since ", 40)
            assert any("cannot reach Kafka since" in reason for reason in program.ask("/ready")[1]["reasons"])
            server.by_default = Answer()
            program.wait_for("told of firing warning optout-spike campaign:spring-sale (1-firing)", 40)
            broker.resume()
            publish(place.settings, firing(2))
            program.wait_for("told of firing warning optout-spike campaign:spring-sale (2-firing)")
            broker.stop()
            program.signal(signal.SIGTERM)
            assert program.wait_for_end() == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_lose_no_change_and_repeat_at_most_the_one_that_was_being_sent(
    settings: Settings, start: Start, server: WebServer
) -> None:
    """Killed while the target now and then refuses: all arrive, those of one alert in order, and a kill repeats one."""
    kills, each = 6, 40
    chance = random.Random(1)
    server.by_default = lambda request: DOWN if chance.random() < 0.05 else Answer()
    program = start(webhook(server))
    expected: list[str] = []
    for turn in range(kills):
        changes = [
            firing(number % 7, severity="critical", ce_id=f"{number}")
            for number in range(turn * each, (turn + 1) * each)
        ]
        expected += [change["ce_id"] for change in changes]
        publish(settings, *changes)
        server.wait_for(len(server.received) + chance.randrange(1, each // 2), 60)
        program.kill()
        program = start(wait=False)
    wait_until(lambda: set(ids(server.received)) >= set(expected), 120, "all have arrived")
    told = [
        name
        for name, answer in zip(ids(server.received), server.answered, strict=True)
        if answer.status == 200
    ]
    first = list(dict.fromkeys(told))
    assert sorted(first, key=int) == expected
    for alert in range(7):
        numbers = [int(name) for name in first if int(name) % 7 == alert]
        assert numbers == sorted(numbers)
    assert len(told) - len(first) <= kills


def test_a_test_tells_every_target_and_says_which_cannot_be_told(
    stream_app: CommandLine, server: WebServer, tmp_path: Path
) -> None:
    file = tmp_path / "notifiers.toml"
    good, bad = webhook(server, "good"), webhook(server, "bad").replace("/in", "/nowhere")
    file.write_text(good)
    server.by_default = lambda request: Answer(404 if request.path == "/nowhere" else 200)
    answer = stream_app("notify", "--test", STREAM_APP_NOTIFIERS=str(file), SECRET=SECRET)
    assert (answer.returncode, answer.stdout) == (0, "ok     good: delivered\n")
    assert [request.json["data"]["state"] for request in server.received] == ["firing", "resolved"]
    file.write_text(good + bad)
    answer = stream_app("notify", "--test", STREAM_APP_NOTIFIERS=str(file), SECRET=SECRET)
    assert answer.returncode == 1
    assert (
        "WRONG  bad: it answers 404 Not Found (ok); check the address in the notifiers file" in answer.stdout
    )
    assert "1 of 2 targets cannot be told" in answer.stderr


def test_wrong_settings_end_it_with_2_and_the_mend(stream_app: CommandLine, tmp_path: Path) -> None:
    unset = stream_app("notify")
    assert unset.returncode == 2
    assert "STREAM_APP_NOTIFIERS is not set" in unset.stderr
    missing = stream_app("notify", STREAM_APP_NOTIFIERS="/nowhere.toml")
    assert missing.returncode == 2
    assert "STREAM_APP_NOTIFIERS='/nowhere.toml': there is no such file" in missing.stderr
    file = tmp_path / "notifiers.toml"
    file.write_text('[[target]]\nname = "x"\ntype = "slak"\n')
    wrong = stream_app("notify", STREAM_APP_NOTIFIERS=str(file))
    assert wrong.returncode == 2
    mistake = f'{file}:3: target "x": type = "slak" is unknown; did you mean "slack"'
    assert mistake in wrong.stderr
    doctor = stream_app("doctor", STREAM_APP_NOTIFIERS=str(file))
    assert f"WRONG  notifiers {mistake}" in doctor.stdout
