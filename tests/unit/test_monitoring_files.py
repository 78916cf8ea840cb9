"""The files for Prometheus and Grafana: their rules, their names, and the way they find each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_app.metrics.catalogue import COUNTS, RATES
from stream_app.prometheus.families import (
    NOTIFY_FAMILIES,
    WORKER_FAMILIES,
    Kind,
    count_family,
    engagement_families,
    rate_families,
)
from stream_app.schemas.grafana import DIRECTORY, dashboards

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES_FILE = PROMETHEUS / "rules" / "stream-app.yml"
RULES = [rule for group in yaml.safe_load(RULES_FILE.read_text("utf-8"))["groups"] for rule in group["rules"]]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
NAME = re.compile(r"\bstream_app_[a-z0-9_]+")
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def served() -> set[str]:
    """Every name that a query may use."""
    names = set()
    for family in (*WORKER_FAMILIES, *NOTIFY_FAMILIES, *engagement_families()):
        parts = ("_bucket", "_sum", "_count") if family.kind is Kind.HISTOGRAM else ("",)
        names |= {family.name + part for part in parts}
    return names


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "rules/stream-app.yml"),
        ("test", "rules", "rules/stream-app_test.yaml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    answer = promtool(*arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@needs_promtool
def test_promtool_bites(tmp_path: Path) -> None:
    """A rule that fires too late is noticed by its test."""
    changed = RULES_FILE.read_text("utf-8").replace("for: 1m", "for: 30m")
    (tmp_path / "stream-app.yml").write_text(changed, "utf-8")
    shutil.copy(PROMETHEUS / "rules" / "stream-app_test.yaml", tmp_path)
    answer = promtool("test", "rules", str(tmp_path / "stream-app_test.yaml"))
    assert answer.returncode == 1
    assert "StreamAppDown" in answer.stdout + answer.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_is_about_what_is_served_and_has_a_runbook(rule: dict[str, Any]) -> None:
    assert set(NAME.findall(rule["expr"])) <= served()
    assert rule["labels"]["severity"] in ("critical", "warning")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_rule_is_tested() -> None:
    tested = (PROMETHEUS / "rules" / "stream-app_test.yaml").read_text("utf-8")
    assert [rule["alert"] for rule in RULES if f"alertname: {rule['alert']}\n" not in tested] == []


def queries(document: Any) -> list[str]:
    """Every expression in a dashboard."""
    if isinstance(document, dict):
        here = [document["expr"]] if "expr" in document else []
        return here + [found for value in document.values() for found in queries(value)]
    return [found for value in document for found in queries(value)] if isinstance(document, list) else []


@pytest.mark.parametrize("path", dashboards(), ids=str)
def test_a_dashboard_asks_for_what_is_served(path: Path) -> None:
    asked = queries(json.loads((ROOT / path).read_text("utf-8")))
    assert asked
    assert {name for query in asked for name in NAME.findall(query)} <= served()


def test_every_count_and_every_rate_has_its_chart() -> None:
    asked = queries(dashboards()[DIRECTORY / "engagement.json"])
    names = {name for query in asked for name in NAME.findall(query)}
    wanted = {count_family(count).name for count in COUNTS}
    wanted |= {family.name for rate in RATES for family in rate_families(rate)}
    assert names == wanted


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=lambda one: str(one["uid"]))
def test_charts_do_not_overlap_and_have_their_own_numbers(dashboard: dict[str, Any]) -> None:
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_prometheus_scrapes_the_port_that_the_workers_serve() -> None:
    (job,) = [
        one
        for one in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
        if one["job_name"] == "stream-app"
    ]
    (workers,) = job["dns_sd_configs"]
    assert workers["names"] == ["worker"]
    assert COMPOSE["worker"]["environment"]["STREAM_APP_HTTP"] == f"0.0.0.0:{workers['port']}"


def test_what_compose_mounts_is_there_and_starts_only_when_asked_for() -> None:
    for name in ("prometheus", "grafana"):
        assert COMPOSE[name]["profiles"] == ["monitoring"]
        sources = [volume.split(":")[0] for volume in COMPOSE[name]["volumes"]]
        assert [one for one in sources if one.startswith("./") and not (ROOT / one).is_dir()] == []


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((provisioning / "dashboards" / "stream-app.yml").read_text("utf-8"))
    place = provider["providers"][0]["options"]["path"]
    assert f"./{DIRECTORY}:{place}:ro" in COMPOSE["grafana"]["volumes"]
    home = COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{place}/pipeline.json"
