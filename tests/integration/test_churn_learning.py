"""Learning from outcomes in a worker: what it has learned is its successor's too, and a wrong retention is named."""

from __future__ import annotations

import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from stream_app.churn.model import model_text, shipped_model
from stream_app.clock import DAY_MS, HOUR_MS, now_ms, to_rfc3339
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker
from tests.support.programs import Crew, Installation, installation, run_program, wait_until
from tests.support.traffic import Sender, delivered, event

pytestmark = pytest.mark.integration

START = now_ms() - 20 * DAY_MS
DAYS = 6
SOON = 60.0
RULES = """
[churn]
name = "churn-risk"
bands = { watch = 0.5, at_risk = 0.7 }
alert_from = "at_risk"
resolve = 0.45
severity = { at_risk = "warning" }
model = "model.toml"
learn_from_outcomes = true
"""


@pytest.fixture
def place(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path) -> Installation:
    """One shard, and a model that foretells a day."""
    model = model_text(shipped_model(), "of a test").replace('horizon = "90d"', 'horizon = "1d"')
    (tmp_path / "model.toml").write_text(model, "utf-8")
    (tmp_path / "rules.toml").write_text(RULES, "utf-8")
    rules = str(tmp_path / "rules.toml")
    return installation(broker.address, redis_server.url, tmp_path, partitions="1", rules=rules)


def test_what_a_worker_has_learned_is_its_successors_too(place: Installation, tmp_path: Path) -> None:
    with (
        Crew(place, tmp_path) as crew,
        Sender(place.settings) as sender,
        redis.Redis.from_url(place.settings.redis.get_secret_value(), decode_responses=True) as client,
    ):
        worker = crew.start()
        assert worker.said("readers: 0 silent and 0 engaged") == 1
        sender.send(event("email.opened", "leaver", START, campaign_id="first"))
        sender.send(*(delivered("leaver", START + n * HOUR_MS, f"unread-{n}") for n in range(1, 4)))
        for day in range(1, DAYS + 1):
            sender.send(delivered("clock", START + day * DAY_MS))
            sender.flush()
            past = to_rfc3339(START + day * DAY_MS - HOUR_MS)
            wait_until(partial(_has_passed, client, place, past), SOON, "time has moved on")
        worker.signal(signal.SIGTERM)
        assert worker.wait_for_end(30) == 0
        successor = crew.start()
        learned = re.findall(r"readers: (\d+) silent and (\d+) engaged", successor.log.read_text("utf-8"))
        assert len(learned) == 1 and int(learned[0][0]) > 0 and learned[0][1] == "0"


def test_a_worker_does_not_start_where_it_would_learn_from_the_rest_only(place: Installation) -> None:
    answer = run_program(place, "worker", STREAM_APP_RETENTION="2d")
    assert answer.returncode == 2
    assert "STREAM_APP_RETENTION='2d': learn_from_outcomes in the rules needs 3d" in answer.stderr


def _has_passed(client: Any, place: Installation, time: str) -> bool:
    """Whether the worker reports that its event time is past a time."""
    workers = f"{place.settings.redis_prefix}workers"
    reported = [client.hget(f"{workers}:{name}", "watermark") for name in client.zrange(workers, 0, -1)]
    return any(told and told > time for told in reported)
