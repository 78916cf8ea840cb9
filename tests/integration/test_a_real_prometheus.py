"""Prometheus itself, with our configuration: it scrapes a worker, its rules run, and no chart asks in vain."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.dev.servers import find_free_port
from stream_app.schemas.grafana import dashboards
from tests.support.brokers import Broker
from tests.support.programs import ROOT, Worker, installation, wait_until
from tests.support.traffic import Sender, delivered, one_in_each

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

SECONDS = 25
WITHOUT_DATA = ("stream_app_notify_", "stream_app_alerts_firing", "stream_app_engagement_")
"""No `notify` runs, nothing fires, and of most rates nothing is known after so short a time."""


def configuration(worker: str, own: str) -> str:
    """Ours, with this worker in place of the compose file's, and faster."""
    document = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document["rule_files"] = [
        str(ROOT / "deploy" / "prometheus" / pattern) for pattern in document["rule_files"]
    ]
    workers, itself = document["scrape_configs"]
    del workers["dns_sd_configs"]
    workers["static_configs"] = [{"targets": [worker]}]
    itself["static_configs"] = [{"targets": [own]}]
    return str(yaml.safe_dump(document))


class Prometheus:
    """One that runs."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str) -> Any:
        """The data of an answer of its API."""
        with urlopen(f"http://{self.address}/api/v1/{path}", timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def values(self, query: str) -> list[float]:
        """What a query yields now."""
        found = self.ask(f"query?query={quote(query)}")["result"]
        return [float(one["value"][1]) for one in found]


@pytest.fixture(scope="module")
def prometheus(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has watched a worker that counted for a while."""
    place: Path = tmp_path_factory.mktemp("prometheus")
    app = installation(broker.address, redis_server.url, place / "worker")
    worker = Worker(app.environment, place / "worker.log")
    own = f"127.0.0.1:{find_free_port()}"
    try:
        worker.wait_for("serving shards", 60)
        (place / "prometheus.yml").write_text(configuration(worker.http_address, own), "utf-8")
        with (place / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={place / 'prometheus.yml'}",
                    f"--storage.tsdb.path={place / 'data'}", f"--web.listen-address={own}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            with Sender(app.settings) as sender:
                for _ in range(SECONDS):
                    sender.send(*(delivered(customer, now_ms(), "spring") for customer in one_in_each(4)))
                    sender.flush()
                    time.sleep(1)
            yield Prometheus(own)
        finally:
            process.kill()
            process.wait(10)
    finally:
        worker.kill()


def test_it_sees_what_the_worker_counts(prometheus: Prometheus) -> None:
    assert prometheus.values('up{job="stream-app"}') == [1]
    wait_until(
        lambda: prometheus.values('stream_app_engagement_deliveries{key="all",window="total"}') == [4 * SECONDS],
        20, "Prometheus has every delivery",
    )  # fmt: skip
    assert prometheus.values("sum(rate(stream_app_events_total[15s]))") == [pytest.approx(4, abs=3)]


def test_all_rules_run_and_none_fires(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 5
    assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule["state"] == "firing"] == []


def test_every_chart_of_the_pipeline_has_data(prometheus: Prometheus) -> None:
    variables = {"$dimension": "all", "$key": ".*", "$window": "5m", "$__rate_interval": "15s"}
    empty = []
    for dashboard in dashboards().values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"]
                for name, value in variables.items():
                    query = query.replace(name, value)
                if not prometheus.values(query):
                    empty.append(query)
    assert [query for query in empty if not any(name in query for name in WITHOUT_DATA)] == []
