"""What a fresh machine is given: the locks, the make targets, the image and the Compose file, checked without network."""

import json
import os
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from packaging.requirements import Requirement

from stream_app.console.access import access_of
from stream_app.settings import Settings

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
ENGINE = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}
COMPOSE_SCHEMA = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
TARGETS = {"setup", "demo", "test", "check", "format", "bench", "clean", "help"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))
COMPOSE: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def locked(name: str) -> dict[str, str]:
    """The lock's packages and versions."""
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", read(name)))


def requirements(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for at run time, extras included, and in the dependency groups."""
    project = PROJECT["project"]
    asked = [
        *project["dependencies"],
        *(one for extra in project.get("optional-dependencies", {}).values() for one in extra),
    ]
    for group in groups:
        asked += [line for line in PROJECT["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in asked]


# --- The project and its locks ------------------------------------------------------------------------------


def test_command_is_the_cli() -> None:
    assert PROJECT["project"]["scripts"] == {"stream-app": "stream_app.cli:main"}


def test_engine_is_pinned_to_the_versions_the_design_was_tried_on() -> None:
    pinned = {asked.name: str(asked.specifier) for asked in requirements()}
    assert {name: pinned[name] for name in ENGINE} == {
        name: f"=={version}" for name, version in ENGINE.items()
    }


@pytest.mark.parametrize(
    ("lock", "groups"), [(LOCKS[0], ["build"]), (LOCKS[1], ["build", "test", "lint"])], ids=LOCKS
)
def test_lock_satisfies_the_project(lock: str, groups: list[str]) -> None:
    versions = locked(lock)
    unmet = [
        str(asked)
        for asked in requirements(*groups)
        if asked.name not in versions or not asked.specifier.contains(versions[asked.name], prereleases=True)
    ]
    assert not unmet, f"run `make lock`: {lock} lacks {unmet}"


def test_what_is_tested_is_what_is_shipped() -> None:
    shipped, tested = (locked(lock) for lock in LOCKS)
    assert shipped.items() <= tested.items(), "run `make lock`: the two locks disagree"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9-]+==)", read(lock))[1:]
    assert len(entries) == len(locked(lock)) > 40
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_registry(lock: str) -> None:
    assert not re.findall(r"(?i)https?://|file:|--\S*index-url|--find-links|--trusted-host", read(lock))


# --- make and CI --------------------------------------------------------------------------------------------


def test_every_make_target_says_what_it_does() -> None:
    makefile = read("Makefile")
    phony = set(re.findall(r"(?m)^\.PHONY: (?!\$)(.*)$", makefile)[0].split())
    described = set(re.findall(r"(?m)^([a-z-]+):.*## \S", makefile))
    assert phony >= TARGETS
    assert described == phony


def test_ci_runs_what_a_person_runs() -> None:
    script = read(".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    for target in ("setup", "check", "test"):
        assert f"make {target}" in script


# --- The image ----------------------------------------------------------------------------------------------


def is_pinned(image: str) -> bool:
    """A digest, or a tag with all three numbers of a version."""
    return re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+\.\d+(-[\w.]+)*$", image) is not None


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("redis", False),
        ("redis:latest", False),
        ("redis:8", False),
        ("redis:8.2-alpine", False),
        ("redis:8.2.2-alpine", True),
        ("registry:5000/redis", False),
        (f"redis@sha256:{'0' * 64}", True),
    ],
)
def test_what_counts_as_pinned(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned


def test_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    dockerfile = read("deploy/Dockerfile")
    bases = re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", dockerfile)
    assert len(bases) == 1
    assert is_pinned(bases[0])
    assert set(re.findall(r"(?m)^FROM (\S+)", dockerfile)) == {"${PYTHON_IMAGE}"}
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    users = re.findall(r"(?m)^USER (\S+)$", last_stage)
    assert users, "the image runs as root"
    assert users[-1] not in ("root", "0")
    assert "--require-hashes --requirement requirements.lock" in dockerfile


def test_image_is_built_from_files_that_are_sent_to_the_builder() -> None:
    sent = {line[1:] for line in read("deploy/Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    copied = re.findall(r"(?m)^COPY (?!--from)(\S+) ", read("deploy/Dockerfile"))
    assert set(copied) == sent
    assert all((ROOT / name).exists() for name in sent)


# --- Compose ------------------------------------------------------------------------------------------------


def compose_problems(document: Any) -> list[str]:
    """Where a document breaks the official Compose schema, which check-jsonschema ships."""
    vendored = distribution("check-jsonschema").locate_file(COMPOSE_SCHEMA)
    schema = json.loads(Path(str(vendored)).read_text(encoding="utf-8"))
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema).iter_errors(document)]


def published(service: dict[str, Any]) -> list[str]:
    """A service's published ports in short form."""
    return [port if isinstance(port, str) else json.dumps(port) for port in service.get("ports", [])]


def test_compose_file_is_valid() -> None:
    assert compose_problems(COMPOSE) == []


def test_compose_schema_bites() -> None:
    broken = {"services": {**SERVICES, "worker": {**SERVICES["worker"], "restarts": "always"}}}
    assert any("restarts" in problem for problem in compose_problems(broken))


def test_compose_has_the_whole_flow() -> None:
    assert set(SERVICES) == {"kafka", "redis", "topics", "worker", "console", "prometheus", "grafana"}
    assert SERVICES["topics"]["command"] == ["topics", "create"]
    assert SERVICES["worker"]["command"] == ["worker"]
    assert SERVICES["console"]["command"][0] == "console"
    assert "profiles" not in SERVICES["console"]


def test_compose_images_are_pinned() -> None:
    assert [name for name, service in SERVICES.items() if not is_pinned(service["image"])] == []


def test_compose_builds_this_version() -> None:
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    assert built == {f"stream-app:{PROJECT['project']['version']}"}
    dockerfiles = [
        ROOT / service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service
    ]
    assert all(path.is_file() for path in dockerfiles)


def test_compose_ports_are_this_machines_only() -> None:
    ports = [port for service in SERVICES.values() for port in published(service)]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_and_image_use_settings_that_exist() -> None:
    used = set(re.findall(r"\bSTREAM_APP_[A-Z_]+", read("docker-compose.yml") + read("deploy/Dockerfile")))
    known = {f"STREAM_APP_{name.upper()}" for name in Settings.model_fields}
    assert {"STREAM_APP_KAFKA", "STREAM_APP_REDIS"} <= used
    assert used - known == set()


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a service's environment gives its program."""
    for name in [name for name in os.environ if name.startswith("STREAM_APP_")]:
        monkeypatch.delenv(name)
    for name, value in SERVICES[service]["environment"].items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("service", ["topics", "worker"])
def test_compose_settings_are_valid(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(service, monkeypatch).kafka == "kafka:19092"


def test_compose_addresses_are_those_of_its_services() -> None:
    kafka = SERVICES["kafka"]["environment"]
    settings = SERVICES["worker"]["environment"]
    advertised = dict(
        listener.split("://") for listener in str(kafka["KAFKA_ADVERTISED_LISTENERS"]).split(",")
    )
    assert advertised["CONTAINERS"] == settings["STREAM_APP_KAFKA"]
    assert f"{advertised['MACHINE']}:9092" in published(SERVICES["kafka"])
    assert settings["STREAM_APP_REDIS"].startswith("redis://redis:6379")


def test_compose_starts_the_worker_when_its_topics_are_there() -> None:
    waits = SERVICES["worker"]["depends_on"]
    assert waits["topics"]["condition"] == "service_completed_successfully"
    assert SERVICES["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    assert SERVICES["topics"]["restart"] == "no"
    assert SERVICES["worker"]["restart"] == "unless-stopped"
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]


def test_compose_asks_the_worker_where_it_serves_its_health() -> None:
    worker = SERVICES["worker"]
    host, _, port = worker["environment"]["STREAM_APP_HTTP"].rpartition(":")
    assert host == "0.0.0.0"
    assert f"http://127.0.0.1:{port}/ready" in worker["healthcheck"]["test"][-1]
    assert published(worker) == []


def test_compose_publishes_the_console_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    console, settings = SERVICES["console"], settings_of("console", monkeypatch)
    _, port = settings.console_address
    assert published(console) == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/live" in console["healthcheck"]["test"][-1]
    assert console["environment"]["STREAM_APP_REDIS"] == SERVICES["worker"]["environment"]["STREAM_APP_REDIS"]
    access = access_of(settings, is_local="--local-only" in console["command"])
    assert access.accepts_host(f"127.0.0.1:{port}") and access.accepts_host(f"localhost:{port}")
    assert not access.accepts_host(f"evil.example:{port}")


def test_compose_keeps_kafkas_data_in_a_volume() -> None:
    kafka = SERVICES["kafka"]
    assert f"kafka:{kafka['environment']['KAFKA_LOG_DIRS']}" in kafka["volumes"]
    assert "kafka" in COMPOSE["volumes"]
