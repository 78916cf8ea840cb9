"""A worker's /metrics, against what was sent to it."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.prometheus.families import WORKER_FAMILIES, engagement_families
from tests.support.brokers import Broker
from tests.support.programs import Installation, Worker, installation, wait_until
from tests.support.traffic import Sender, delivered, event, one_in_each

pytestmark = pytest.mark.integration

SENT = 40
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(worker: Worker) -> str:
    """What Prometheus would get."""
    connection = http.client.HTTPConnection(worker.http_address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        return answer.read().decode()
    finally:
        connection.close()


def values_of(text: str) -> Values:
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for f in families for one in f.samples}


def value(values: Values, name: str, **labels: str) -> float | None:
    return values.get((f"stream_app_{name}", frozenset(labels.items())))


@pytest.fixture(scope="module")
def place(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    return installation(broker.address, redis_server.url, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def served(place: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a worker serves once it has counted forty deliveries, an opt-out and a record that is no event."""
    worker = Worker(place.environment, tmp_path_factory.mktemp("log") / "log")
    try:
        worker.wait_for("serving shards", 60)
        everywhere = one_in_each(4)
        with Sender(place.settings) as sender:
            sender.send(*(delivered(everywhere[n % 4], now_ms(), "spring") for n in range(SENT)))
            sender.send(
                event("email.opted_out", everywhere[0], now_ms(), campaign_id="spring", segment="new")
            )
            sender.send(
                {"event_type": "email.delivered", "event_id": "no time", "customer_id": everywhere[1]}
            )
            sender.flush()
        labels = {"dimension": "all", "key": "all", "window": "total"}

        def counted() -> str | None:
            text = scrape(worker)
            values = values_of(text)
            is_counted = value(values, "engagement_deliveries", **labels) == SENT
            is_told = value(values, "dead_letters_total", reason="invalid_event") == 1
            is_committed = value(values, "commit_seconds_count")
            is_seen = value(values, "engagement_optouts", **labels) == 1 and value(values, "ready") == 1
            has_time = all(
                value(values, "watermark_delay_seconds", shard=str(n)) is not None for n in range(4)
            )
            is_read = value(values, "lag_records") == 0
            done = is_counted and is_told and is_committed and is_seen and has_time and is_read
            return text if done else None

        yield wait_until(counted, 60, "everything is counted, told and committed")
    finally:
        worker.kill()


def test_the_pipeline_is_told_as_it_is(served: str, place: Installation) -> None:
    values = values_of(served)
    assert value(values, "events_total", topic="email.deliveries") == SENT + 1
    assert value(values, "events_total", topic="email.optouts") == 1
    assert value(values, "events_total", topic="chats") == 0
    assert value(values, "dead_letters_total", reason="late") == 0
    assert value(values, "batch_records_sum") == SENT + 2
    assert value(values, "redis_up") == 1
    assert value(values, "redis_errors_total") == 0
    assert value(values, "churn_alerts_held_back") == 0
    assert value(values, "partitions", of="shards") == 4
    assert value(values, "lag_records") == 0
    for of in ("shards", "mergers"):
        assert (value(values, "flush_seconds_count", of=of) or 0) > 0
        assert (value(values, "state_objects", of=of) or 0) > 0
    lateness_seconds = place.settings.allowed_lateness / 1000
    for shard in map(str, range(4)):
        delay = value(values, "watermark_delay_seconds", shard=shard)
        time = value(values, "watermark_timestamp_seconds", shard=shard)
        assert delay is not None and -5 < delay < 60
        assert time == pytest.approx(now_ms() / 1000 - lateness_seconds - delay, abs=60)


def test_all_and_segments_are_served_and_campaigns_only_if_asked_for(served: str) -> None:
    keys = {
        (labels["dimension"], labels["key"])
        for name, held in values_of(served)
        if name == "stream_app_engagement_optouts" and (labels := dict(held))
    }
    assert keys == {("all", "all"), ("segment", "new")}


def test_every_family_is_there_and_has_its_meaning(served: str) -> None:
    for family in (*WORKER_FAMILIES, *engagement_families()):
        assert f"# HELP {family.name} {family.meaning}\n" in served
        assert f"# TYPE {family.name} {family.kind}\n" in served


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault(served: str) -> None:
    # What the client library tells of the process is not ours to name.
    ours = "".join(line for line in served.splitlines(keepends=True) if "process_" not in line)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ours.encode(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")
