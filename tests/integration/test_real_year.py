"""A real year of events through the whole system gives what the batch oracle gives, in every window."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import DAY_MS
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from tests.integration.conftest import CommandLine
from tests.oracle.batch import compute
from tests.oracle.events import Record
from tests.oracle.events import Settings as OracleSettings
from tests.support.brokers import Broker
from tests.support.comparison import differences, to_ms
from tests.support.programs import LastSnapshots, running_worker, wait_until

YEAR = Path(__file__).parents[3] / "shared" / "data" / "signals-2019.ndjson.gz"
PARTITIONS = 4
LATENESS_MS = 600_000
SENTINEL_TIME = "2019-12-24T12:00:00.000Z"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not YEAR.exists(), reason="../shared/data/signals-2019.ndjson.gz is not here"),
]

ORIENTATION = {
    "deliveries": 121_819 + PARTITIONS,
    "unique_opens": 21_291,
    "unique_clicks": 1_907,
    "optouts": 1_401,
    "carts_started": 5_409,
    "carts_abandoned": 5_334,
    "carts_recovered": 246,
    "chats_started": 4_518,
    "chats_missed": 2_593,
    "tickets_opened": 24_918,
    "tickets_resolved": 25_250,
    "tickets_reopened": 332,
    "tickets_first_contact": 24_351,
}


def test_every_window_of_every_key_is_that_of_the_batch(
    broker: Broker,
    settings: Settings,
    environment: dict[str, str],
    stream_app: CommandLine,
    tmp_path: Path,
) -> None:
    environment |= {"STREAM_APP_RETENTION": "400d", "STREAM_APP_IDLE_TIMEOUT": "3s"}
    sentinels = [json.dumps(event) for event in _sentinels()]
    assert stream_app("topics", "create").returncode == 0
    with running_worker(environment, tmp_path / "worker.log"):
        sent = stream_app("send", str(YEAR), "--json", **environment)
        assert sent.returncode == 0, sent.stderr
        assert stream_app("send", "-", given="\n".join(sentinels), **environment).returncode == 0
        snapshots = LastSnapshots(broker.address, settings.prefix)
        edge_ms = to_ms(SENTINEL_TIME) - LATENESS_MS
        wait_until(
            lambda: (
                any(to_ms(s["watermark"]) >= edge_ms for s in snapshots.update().values())
                and snapshots.total("all:all", "deliveries") == ORIENTATION["deliveries"]
                and snapshots.total("all:all", "chats_missed") == ORIENTATION["chats_missed"]
            ),
            120,
            "the watermark passes the year and all has been counted",
        )
        _wait_for_silence(snapshots)
        snapshots.close()
    expected = compute(
        _records(sentinels),
        settings=OracleSettings(retention_ms=400 * DAY_MS),
        now_ms=to_ms(SENTINEL_TIME) - LATENESS_MS,
    )
    total = snapshots.by_key["all:all"]["windows"]["total"]["counts"]
    assert {count: total[count] for count in ORIENTATION} == ORIENTATION
    assert differences(snapshots.by_key, expected) == []


def _wait_for_silence(snapshots: LastSnapshots) -> None:
    """Wait until nothing new has come for twice the snapshot interval."""
    quiet = 0
    while quiet < 8:
        before = len(snapshots.records)
        snapshots.update()
        quiet = quiet + 1 if len(snapshots.records) == before else 0


def _sentinels() -> Iterator[dict[str, Any]]:
    """One delivery for each partition, two days after the year's last event."""
    missing = set(range(PARTITIONS))
    for number in range(1000):
        customer = f"sentinel-{number}"
        partition = partition_of(customer.encode(), PARTITIONS)
        if partition in missing:
            missing.discard(partition)
            yield {
                "event_id": customer,
                "event_type": "email.delivered",
                "event_time": SENTINEL_TIME,
                "customer_id": customer,
                "campaign_id": "sentinel",
            }


def _records(sentinels: list[str]) -> Iterator[Record]:
    offsets: Counter[tuple[str, int]] = Counter()
    with gzip.open(YEAR, "rt", encoding="utf-8") as year:
        for line in (*year, *sentinels):
            event = json.loads(line)
            topic = EVENT_TYPES[event["event_type"]].topic
            partition = partition_of(event["customer_id"].encode(), PARTITIONS)
            yield Record(topic, partition, offsets[topic, partition], event)
            offsets[topic, partition] += 1
