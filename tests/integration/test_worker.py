"""One worker, all seven topics: what it publishes and shows is CONTRACT's form and the oracle's numbers.

Campaigns are counted by segment as well, so that every dimension there is takes part.

The scenario runs once; each test looks at what it left behind.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.events import EVENT_TYPES
from tests.oracle import Result, Settings, compute, rates
from tests.oracle.windows import COUNTS
from tests.support.brokers import Broker
from tests.support.comparison import differences, to_ms
from tests.support.programs import Crew, Installation, Json, LastSnapshots, installation, wait_until
from tests.support.traffic import Life, Sender, delivered, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
LATENESS_MS = 10 * MINUTE_MS
SPAN_MS = 6 * HOUR_MS
WINDOWS = ("1m", "5m", "1h", "24h", "total")
FORMS = ("plain", "structured", "binary")
FAUSTS_PORT = 6066


@dataclass
class Evidence:
    """What the scenario left: the snapshots after the life, Redis then, and the snapshots a day later."""

    place: Installation
    expected: Result
    event_types: set[str]
    full: dict[str, Json] = field(default_factory=dict)
    redis: dict[str, Any] = field(default_factory=dict)
    empty: dict[str, Json] = field(default_factory=dict)
    records: list[Any] = field(default_factory=list)
    before_the_end: int = 0
    web_port_open: bool = False
    exit_code: int | None = None
    seconds_to_end: float = 0.0


@pytest.fixture(scope="module")
def evidence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    directory: Path = tmp_path_factory.mktemp("worker")
    place = installation(broker.address, redis_server.url, directory, campaign_segments="true")
    # Its day is over at the end, whenever this runs; on later ones nobody moves.
    start_ms = now_ms() // DAY_MS * DAY_MS - 4 * DAY_MS + 17 * HOUR_MS
    with Crew(place, directory) as crew, Sender(place.settings) as sender:
        worker = crew.start()
        snapshots = LastSnapshots(place.address, place.settings.prefix)
        events = _live(sender, start_ms)
        now = start_ms + SPAN_MS + 3 * HOUR_MS - LATENESS_MS
        expected = compute(sender.records, settings=Settings(campaign_segments=True), now_ms=now)
        seen = Evidence(place, expected, {e["event_type"] for e in events})
        snapshots.wait_until_exact(seen.expected, 30)
        seen.full = dict(snapshots.by_key)
        seen.redis = _redis_when_written(redis_server.url, place, seen.full)
        seen.before_the_end = len(snapshots.records)
        seen.web_port_open = _listens(FAUSTS_PORT)
        sender.send(*(delivered(c, start_ms + 3 * DAY_MS, "later") for c in one_in_each(PARTITIONS)))
        sender.flush()
        wait_until(lambda: _all_empty(snapshots.update()), 15, "every key's windows run empty")
        seen.empty, seen.records = dict(snapshots.by_key), snapshots.records
        snapshots.close()
        worker.process.terminate()
        asked = time.monotonic()
        seen.exit_code = worker.wait_for_end(15)
        seen.seconds_to_end = time.monotonic() - asked
        yield seen


def _live(sender: Sender, start_ms: int) -> list[Json]:
    """A life of six hours within four seconds, in all forms; then time moves on by three hours."""
    events = Life(1, start_ms, SPAN_MS).events(1200)
    for first in range(0, len(events), 40):
        for number, item in enumerate(events[first : first + 40]):
            sender.send(item, form=FORMS[number % len(FORMS)])
        sender.flush()
        time.sleep(0.1)  # a pace, so that snapshots have something to hold back
    sender.send(*(delivered(c, start_ms + SPAN_MS + 3 * HOUR_MS) for c in one_in_each(PARTITIONS)))
    sender.flush()
    return events


def _redis_when_written(url: str, place: Installation, full: dict[str, Json]) -> dict[str, Any]:
    """Everything in Redis under the prefix, once it is as new as the snapshots."""
    client = redis.Redis.from_url(url, decode_responses=True)
    prefix = place.settings.redis_prefix

    def written() -> bool:
        return all(
            client.hget(f"{prefix}metrics:{name}", "as_of") == snapshot["as_of"]
            and client.hget(f"{prefix}metrics:{name}", "watermark") == snapshot["watermark"]
            for name, snapshot in full.items()
        )

    wait_until(written, 5, "Redis shows the last snapshots")
    found: dict[str, Any] = {}
    for name in full:
        key = f"{prefix}metrics:{name}"
        found[name] = client.hgetall(key)
        found[f"{name} ttl"] = client.ttl(key)
    for dimension in COUNTS:
        found[f"index {dimension}"] = client.zrange(f"{prefix}index:{dimension}", 0, -1, withscores=True)
    return found


def _all_empty(snapshots: dict[str, Json]) -> bool:
    old = {name: snapshot for name, snapshot in snapshots.items() if name not in _MOVED_ON}
    return all(not _counted(view["counts"]) for s in old.values() for view in _windows(s))


_MOVED_ON = ("all:all", "campaign:later")


def _windows(snapshot: Json) -> list[Json]:
    return [view for name, view in snapshot["windows"].items() if name != "total"]


def _counted(counts: Json) -> Json:
    return {name: count for name, count in counts.items() if count not in (0, 0.0, {})}


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


# --- The snapshots ---


def test_every_event_type_in_every_form_counts_as_the_oracle_says(evidence: Evidence) -> None:
    assert evidence.event_types == set(EVENT_TYPES)
    assert differences(evidence.full, evidence.expected) == []
    assert {snapshot["dimension"] for snapshot in evidence.full.values()} == set(COUNTS)
    totals = evidence.full["all:all"]["windows"]["total"]["counts"]
    never = [name for name, count in totals.items() if not count]
    beyond = ("active", "cooling", "dormant", "returned")
    assert never == [
        "machine_by_agent",  # the oracle judges no user agents, so that none is sent
        *(f"{word}_{stage}" for word in ("stage", "became") for stage in beyond),  # after one day
    ]


def test_a_snapshot_has_exactly_the_fields_of_the_contract(evidence: Evidence) -> None:
    for name, snapshot in evidence.full.items():
        assert list(snapshot) == ["dimension", "key", "as_of", "watermark", "windows"]
        assert f"{snapshot['dimension']}:{snapshot['key']}" == name
        assert tuple(snapshot["windows"]) == WINDOWS
        for view in snapshot["windows"].values():
            assert list(view) == ["counts", "rates"]
            assert set(view["counts"]) == set(COUNTS[snapshot["dimension"]])
            for rate in view["rates"].values():
                assert list(rate) == ["value", "numerator", "denominator", "low", "high"]


def test_times_are_rfc_3339_in_utc_with_milliseconds(evidence: Evidence) -> None:
    for snapshot in evidence.full.values():
        for name in ("as_of", "watermark"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", snapshot[name])
        assert to_ms(snapshot["as_of"]) % (10 * SECOND_MS) == 0


def test_as_of_is_the_first_pane_edge_after_the_newest_event_of_the_key(evidence: Evidence) -> None:
    for name, snapshot in evidence.full.items():
        dimension, _, key = name.partition(":")
        assert to_ms(snapshot["as_of"]) == evidence.expected.as_of(dimension, key), name


def test_every_rate_of_every_window_has_its_parts_and_its_interval(evidence: Evidence) -> None:
    for name, snapshot in evidence.full.items():
        for window, view in snapshot["windows"].items():
            for rate, wanted in rates(view["counts"]).items():
                held = view["rates"].pop(rate)
                for part, value in wanted._asdict().items():
                    assert held[part] == (value if value is None else pytest.approx(value, abs=1e-12)), (
                        f"{name} {window} {rate} {part}"
                    )
            assert view["rates"] == {}, f"{name} {window} has rates that METRICS does not know"


def test_a_rate_without_a_denominator_is_null(evidence: Evidence) -> None:
    view = evidence.empty["campaign:spring"]["windows"]["1h"]["rates"]["ctr"]
    assert view == {"value": None, "numerator": 0, "denominator": 0, "low": None, "high": None}


def test_the_metrics_topic_is_compacted_by_dimension_and_key(evidence: Evidence) -> None:
    admin = KafkaAdminClient(bootstrap_servers=evidence.place.address)
    topic = evidence.place.topic("metrics")
    shown = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    admin.close()
    assert shown["topic"][topic]["cleanup.policy"]["value"] == "compact"
    for record in evidence.records:
        snapshot = json.loads(record.value)
        assert record.key.decode() == f"{snapshot['dimension']}:{snapshot['key']}"


def test_a_key_has_at_most_one_snapshot_a_second(evidence: Evidence) -> None:
    sent_at = defaultdict(list)
    for record in evidence.records[: evidence.before_the_end]:
        sent_at[record.key].append(record.timestamp)
    assert len(sent_at[b"all:all"]) >= 3, "there must be something to hold back"
    for key, times in sent_at.items():
        # The pace is kept where a snapshot is taken; how long the journal then takes to be confirmed varies.
        assert all(second - first > 700 for first, second in pairwise(times)), (key, times)
        assert times[-1] - times[0] >= (len(times) - 1) * 900, (key, times)


def test_snapshots_of_a_key_never_go_back(evidence: Evidence) -> None:
    last: dict[bytes, Json] = {}
    for record in evidence.records:
        snapshot = json.loads(record.value)
        before = last.get(record.key, snapshot)
        assert snapshot["as_of"] >= before["as_of"]
        assert snapshot["watermark"] >= before["watermark"]
        last[record.key] = snapshot


def test_a_last_snapshot_tells_that_the_windows_have_run_empty(evidence: Evidence) -> None:
    later = evidence.records[evidence.before_the_end :]
    for name, before in evidence.full.items():
        if name in _MOVED_ON:
            continue
        mine = [json.loads(record.value) for record in later if record.key.decode() == name]
        assert len(mine) == 1, f"{name} is told of once"
        assert mine[0]["windows"]["total"] | {"rates": None} == before["windows"]["total"] | {"rates": None}
        assert [_counted(view["counts"]) for view in _windows(mine[0])] == [{}] * 4
        assert to_ms(mine[0]["as_of"]) == to_ms(before["as_of"]) + DAY_MS


# --- The view ---


def test_redis_holds_the_same_numbers_as_the_topic(evidence: Evidence) -> None:
    for name, snapshot in evidence.full.items():
        wanted = {"as_of": snapshot["as_of"], "watermark": snapshot["watermark"]}
        for window, view in snapshot["windows"].items():
            for count, value in view["counts"].items():
                wanted[f"{window}.{count}"] = json.dumps(value, separators=(",", ":"))
            for rate, held in rates(view["counts"]).items():
                wanted[f"{window}.{rate}"] = "" if held.value is None else repr(held.value)
        assert {n: _number(v) for n, v in evidence.redis[name].items()} == {
            n: _number(v) for n, v in wanted.items()
        }


def _number(text: str) -> Any:
    """A number or an object of numbers, as it was written; other text as it is."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return pytest.approx(value, abs=1e-12) if isinstance(value, float) else value


def test_redis_lists_the_keys_of_every_dimension_by_their_last_change(evidence: Evidence) -> None:
    for dimension in COUNTS:
        listed = dict(evidence.redis[f"index {dimension}"])
        assert set(listed) == {s["key"] for s in evidence.full.values() if s["dimension"] == dimension}
        assert all(0 <= now_ms() - changed < 10 * MINUTE_MS for changed in listed.values())


def test_what_redis_shows_expires_after_the_longest_window(evidence: Evidence) -> None:
    for name in evidence.full:
        assert 23 * 3600 < evidence.redis[f"{name} ttl"] <= 24 * 3600


# --- The program ---


def test_fausts_web_port_is_not_opened(evidence: Evidence) -> None:
    assert not evidence.web_port_open


def test_sigterm_ends_a_worker_with_exit_code_0_within_10_seconds(evidence: Evidence) -> None:
    assert evidence.exit_code == 0
    assert evidence.seconds_to_end < 10
