"""What a worker says when its surroundings are wrong, and that it outlives a broker that stands still."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.dev.servers import find_free_port
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.settings import load_settings
from stream_app.sinks.topic_admin import ensure_topics
from tests.oracle import compute
from tests.support.brokers import Broker, BrokerMaker
from tests.support.programs import Crew, Installation, LastSnapshots, installation, run_program
from tests.support.traffic import Life, Sender, delivered, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
PAUSE_SECONDS = 8.0


@pytest.fixture
def place(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path) -> Installation:
    return installation(broker.address, redis_server.url, tmp_path)


def _says_one_clear_thing(place: Installation, exit_code: int, **variables: str) -> str:
    """Run a worker that cannot work; it ends at once, with one sentence on standard error."""
    answer = run_program(place, "worker", seconds=30, **variables)
    assert answer.returncode == exit_code, answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    return lines[0]


def test_without_kafka_it_says_where_it_looked_and_how_to_mend_it(place: Installation) -> None:
    nowhere = f"127.0.0.1:{find_free_port()}"
    line = _says_one_clear_thing(place, 1, STREAM_APP_KAFKA=nowhere)
    assert nowhere in line
    assert "STREAM_APP_KAFKA" in line


def test_a_topic_with_the_wrong_number_of_partitions_is_named_with_the_mend(place: Installation) -> None:
    settings = load_settings(kafka=place.settings.kafka, prefix=f"wrong-{uuid4().hex[:8]}.", partitions=3)
    ensure_topics(settings, input_topic_specs(settings)[:1])
    line = _says_one_clear_thing(place, 1, STREAM_APP_PREFIX=settings.prefix)
    assert f"{settings.prefix}email.deliveries: 3 partitions instead of 4" in line
    assert "STREAM_APP_PARTITIONS=3" in line


def test_a_wrong_setting_is_named_with_its_value_and_the_mend(place: Installation) -> None:
    line = _says_one_clear_thing(place, 2, STREAM_APP_IDLE_TIMEOUT="soon")
    assert "STREAM_APP_IDLE_TIMEOUT='soon'" in line
    assert "90s" in line


def test_a_wrong_rules_file_is_named_with_its_line(place: Installation, tmp_path: Path) -> None:
    rules = tmp_path / "my-rules.toml"
    rules.write_text('[[rule]]\nname = "spike"\nkind = "optouts"\n', "utf-8")
    line = _says_one_clear_thing(place, 2, STREAM_APP_RULES=str(rules))
    assert f"{rules}:3:" in line
    assert "optout" in line


def test_a_worker_goes_on_exactly_after_the_broker_stood_still(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """Longer than the session timeout; in the middle of a load, and without a restart."""
    start_ms = now_ms() // MINUTE_MS * MINUTE_MS - 2 * DAY_MS
    events = Life(7, start_ms, 6 * HOUR_MS).events(1000)
    end_ms = start_ms + 9 * HOUR_MS
    with new_broker() as own:
        place = installation(own.address, redis_server.url, tmp_path, allowed_lateness="6h")
        with Crew(place, tmp_path) as crew, Sender(place.settings) as sender:
            worker = crew.start()
            snapshots = LastSnapshots(place.address, place.settings.prefix)
            sender.send(*events[:500])
            sender.flush()
            own.pause()
            try:
                time.sleep(PAUSE_SECONDS)  # nothing but the clock tells how long it has been away
            finally:
                own.resume()
            sender.send(*events[500:])
            sender.send(*(delivered(c, end_ms + 6 * HOUR_MS) for c in one_in_each(PARTITIONS)))
            sender.flush()
            snapshots.wait_until_exact(compute(sender.records, now_ms=end_ms), 30)
            snapshots.close()
            assert worker.alive, worker.log.read_text()
            assert len(crew.workers) == 1
