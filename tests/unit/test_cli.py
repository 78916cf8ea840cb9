"""What the command line says and how it exits, where no server is needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import stream_app.cli
from stream_app import __version__
from stream_app.failure import Failure
from stream_app.ingest.topic_specs import CHANGELOG_CONFIGS, topic_specs
from stream_app.ingest.topics import INPUT_TOPICS, OUTPUT_TOPICS, PARTIALS
from stream_app.settings import ENV_PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo",
    "dev",
    "worker",
    "topics",
    "send",
    "backtest",
    "churn",
    "rules",
    "notify",
    "watch",
    "top",
    "deadletters",
    "doctor",
)
NOWHERE = {"STREAM_APP_KAFKA": "127.0.0.1:9", "STREAM_APP_REDIS": "redis://127.0.0.1:9/0"}


def command(*arguments: str, given: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return subprocess.run(
        [sys.executable, "-m", "stream_app", *arguments],
        input=given, capture_output=True, text=True, timeout=30, cwd=ROOT, env=environment | variables, check=False,
    )  # fmt: skip


def imported_by(*arguments: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "stream_app", *arguments],
        capture_output=True, text=True, timeout=30, cwd=ROOT, check=False,
    )  # fmt: skip
    return {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}


def test_help_names_every_command_and_every_setting() -> None:
    answer = command("--help")
    assert answer.returncode == 0
    assert all(f"\n  {name} " in answer.stdout for name in COMMANDS)
    assert all(f"{ENV_PREFIX}{name.upper()}" in answer.stdout for name in Settings.model_fields)
    assert "..." not in answer.stdout.split("Commands:")[1].split("Settings")[0]  # no summary is cut


def test_help_is_quick_because_it_imports_no_client() -> None:
    heavy = {"kafka", "aiokafka", "faust", "redis", "pydantic", "rich", "msgspec", "asyncio"}
    assert imported_by("--help") & heavy == set()


def test_help_takes_less_than_a_third_of_a_second() -> None:
    """Of a processor: the machine may have other things to do."""
    durations = []
    for _ in range(5):
        before = os.times()
        command("--help")
        after = os.times()
        durations.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert min(durations) < 0.3


@pytest.mark.parametrize("arguments", [(name, "--help") for name in COMMANDS], ids=lambda given: given[0])
def test_each_command_has_help(arguments: tuple[str, ...]) -> None:
    answer = command(*arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Usage: stream-app ")


def test_version() -> None:
    answer = command("--version")
    assert (answer.returncode, answer.stdout) == (0, f"stream-app {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("send",), "Missing argument 'FILE'"),
        (("send", "missing.ndjson"), "missing.ndjson: there is no such file"),
        (("send", "-", "--rate", "0"), "--rate"),
        (("send", "--sped", "-"), "No such option: --sped"),
        (("watch", "nothing"), "'alerts', 'metrics'"),
        (("--config", "missing.toml", "doctor"), "missing.toml"),
    ],
)  # fmt: skip
def test_wrong_use_is_explained_with_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    answer = command(*arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"STREAM_APP_KAFKA": "nonsense"}, "STREAM_APP_KAFKA='nonsense': write host:port"),
        ({"STREAM_APP_KAFAK": "h:1"}, "STREAM_APP_KAFAK: there is no such setting; did you mean STREAM_APP_KAFKA?"),
        ({"STREAM_APP_CART_TIMEOUT": "soon"}, "STREAM_APP_CART_TIMEOUT='soon': write a number and a unit"),
        ({"STREAM_APP_REDIS": "http://secret@h"}, "STREAM_APP_REDIS=(hidden): write a URL such as redis://"),
        ({"STREAM_APP_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "STREAM_APP_KAFKA_SASL_PLAIN_USERNAME is not set"),
        (
            {"STREAM_APP_KAFKA_SECURITY_PROTOCOL": "SSL", "STREAM_APP_KAFKA_SSL_CAFILE": "/missing.pem"},
            "STREAM_APP_KAFKA_SSL_CAFILE='/missing.pem': there is no such file",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_mend_and_exit_code_2(variables: dict[str, str], line: str) -> None:
    answer = command("topics", "check", **variables)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"stream-app: {line}")
    assert len(answer.stderr.splitlines()) == 1
    assert "secret" not in answer.stderr


def test_settings_come_from_a_toml_file_and_a_variable_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('kafka = "127.0.0.1:7"\nprefix = "toml."\n')
    answer = command("--config", str(file), "topics", "check")
    assert "Kafka at 127.0.0.1:7: nothing listens there" in answer.stderr
    answer = command("--config", str(file), "topics", "check", **NOWHERE)
    assert "Kafka at 127.0.0.1:9: nothing listens there" in answer.stderr
    file.write_text("kafka = \n")
    answer = command("--config", str(file), "topics", "check")
    assert answer.returncode == 2
    assert "not valid TOML" in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("topics", "create"),
        ("topics", "check"),
        ("send", "-"),
        ("watch", "alerts"),
        ("watch", "metrics", "--json"),
        ("deadletters", "list"),
        ("deadletters", "replay"),
    ],
    ids=" ".join,
)
def test_without_a_broker_there_is_one_sentence_that_names_the_mend(arguments: tuple[str, ...]) -> None:
    answer = command(*arguments, given="", **NOWHERE)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert "nothing listens there: start it, or set STREAM_APP_KAFKA" in line
    assert answer.stdout == ""


def test_an_unknown_name_and_a_closed_port_are_told_apart() -> None:
    answer = command("topics", "check", STREAM_APP_KAFKA="127.0.0.1:9,nowhere.invalid:9092")
    assert "127.0.0.1:9: nothing listens there" in answer.stderr
    assert "nowhere.invalid:9092: the name is unknown" in answer.stderr


def test_the_last_resort_is_a_sentence_and_the_traceback_is_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The one thing that is arranged here: a mistake in the program, which there is none of to use."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(stream_app.cli, "app", broken)
    assert stream_app.cli.run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "unexpected ZeroDivisionError: by nothing" in line
    assert "please report it" in line
    (file,) = tmp_path.glob("stream-app-error-*.txt")
    assert "Traceback" in file.read_text()
    assert str(file) in line


@pytest.mark.parametrize(("problem", "code"), [(Failure("mend it"), 1), (KeyboardInterrupt(), 130)])
def test_failures_and_interrupts_have_their_exit_codes(
    monkeypatch: pytest.MonkeyPatch, problem: BaseException, code: int
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(stream_app.cli, "app", ends)
    assert stream_app.cli.run() == code


def test_ctrl_c_is_quiet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        silent_server.settimeout(30)
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_app", "topics", "check"], stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"STREAM_APP_KAFKA": f"127.0.0.1:{silent_server.getsockname()[1]}"},
        )  # fmt: skip
        with silent_server.accept()[0]:  # so it is at work, and waits
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode == 130


def test_every_topic_has_its_specification() -> None:
    settings = load_settings(prefix="p.", partitions=7)
    specs = {spec.name: spec for spec in topic_specs(settings)}
    assert {f"p.{name}" for name in (*INPUT_TOPICS, *OUTPUT_TOPICS, PARTIALS)} <= set(specs)
    changelogs = ("worker-shards-changelog", "worker-merge-changelog")
    shards = [specs[f"p.{name}"] for name in (*INPUT_TOPICS, PARTIALS, "deadletters", *changelogs)]
    assert all(spec.exact and spec.partitions == 7 for spec in shards)
    assert specs["p.metrics"].configs["cleanup.policy"] == "compact"
    assert specs["p.alerts.churn"].configs == {"retention.ms": str(settings.retention)}
    assert all(specs[f"p.{name}"].configs == CHANGELOG_CONFIGS for name in changelogs)
    assert specs["p.deadletters"].configs["max.message.bytes"] == str(16 * 1024 * 1024)
