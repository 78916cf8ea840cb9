"""Each kind of alert fires and resolves: on its topic as a CloudEvent, in Redis while it fires, told once.

One story for all tests, on two shards: a campaign that drives people away, one that nobody clicks, carts left
behind and a customer who slips away; then the worker is restarted; then all turns out well.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.brokers import Broker
from tests.support.comparison import to_ms
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    TopicReader,
    headers_of,
    installation,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, event, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 2
START = now_ms() // MINUTE_MS * MINUTE_MS - 2 * DAY_MS
KINDS = {"ctr": "campaign:dull", "optout": "campaign:bad", "abandonment": "all:all", "churn": "customer:"}
LEAVING = next(customers(0, PARTITIONS, "leaving"))
PEOPLE = [*islice(customers(0, PARTITIONS), 30), *islice(customers(1, PARTITIONS), 30)]
RULES = """
[[rule]]
name = "optout-spike"
kind = "optout"
dimension = "campaign"
metric = "optout_rate"
numerator_window = "1h"
denominator_window = "total"
critical = 0.1
resolve = 0.05
minimum_denominator = 20
runbook = "https://example.org/optout"

[[rule]]
name = "ctr-low"
kind = "ctr"
dimension = "campaign"
metric = "ctr"
window = "total"
direction = "below"
warning = 0.1
resolve = 0.2
minimum_denominator = 20
for = "5m"
keys = "dull*"

[[rule]]
name = "abandonment-high"
kind = "abandonment"
dimension = "all"
metric = "abandonment_rate"
window = "1h"
warning = 0.5
resolve = 0.4
minimum_denominator = 10

[churn]
name = "churn-risk"
bands = { watch = 0.5, at_risk = 0.7, lost = 0.9 }
alert_from = "at_risk"
resolve = 0.45
severity = { at_risk = "warning", lost = "critical" }
"""
FIELDS = [
    *("fingerprint", "rule", "kind", "state", "severity", "dimension", "key", "window", "value", "threshold"),
    *("baseline", "numerator", "denominator", "low", "high", "started_at", "ended_at", "as_of", "summary"),
    "reasons",
]


@dataclass
class Told:
    """A change of an alert as its topic has it."""

    topic: str
    key: str
    headers: dict[str, str]
    data: Json


@dataclass
class Evidence:
    """All changes told, and what Redis held while all fired and when all had been resolved."""

    told: list[Told] = field(default_factory=list)
    firing: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    stream: list[Json] = field(default_factory=list)
    ranking: list[tuple[str, float]] = field(default_factory=list)
    ranking_after: list[tuple[str, float]] = field(default_factory=list)
    segments_after: list[str] = field(default_factory=list)
    ranking_of_segment: list[tuple[str, float]] = field(default_factory=list)
    customer: dict[str, str] = field(default_factory=dict)

    def of_kind(self, kind: str) -> dict[str, Told]:
        """The changes of a kind by their state."""
        return {told.data["state"]: told for told in self.told if told.data["kind"] == kind}


@pytest.fixture(scope="module")
def evidence(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    directory: Path = tmp_path_factory.mktemp("alerts")
    rules = directory / "rules.toml"
    rules.write_text(RULES, "utf-8")
    place = installation(
        broker.address, redis_server.url, directory,
        partitions=str(PARTITIONS), rules=str(rules), allowed_lateness="1m", cart_timeout="2m",
    )  # fmt: skip
    client = redis.Redis.from_url(redis_server.url, decode_responses=True)
    with Crew(place, directory) as crew, Sender(place.settings) as sender:
        worker = crew.start()
        readers = Readers(place)
        _go_wrong(sender)
        readers.wait_for_all("firing")
        seen = Evidence()
        _look_while_firing(seen, client, place.settings.redis_prefix)
        worker.process.terminate()
        assert worker.wait_for_end() == 0
        crew.start()
        _turn_out_well(sender)
        readers.wait_for_all("resolved")
        _look_after(seen, client, place.settings.redis_prefix)
        seen.told = readers.close()
        yield seen


class Readers:
    """Reads the four topics of alerts."""

    def __init__(self, place: Installation) -> None:
        self._readers = {
            kind: TopicReader(place.address, place.topic(f"alerts.{kind}"), PARTITIONS) for kind in KINDS
        }

    def wait_for_all(self, state: str) -> None:
        """Wait until an alert of each kind is in a state."""

        def all_there() -> bool:
            for reader in self._readers.values():
                reader.read(50)
            return all(_states(reader)[state] for reader in self._readers.values())

        wait_until(all_there, 45, f"an alert of each kind is {state}")

    def close(self) -> list[Told]:
        """All changes that were told."""
        told = []
        for kind, reader in self._readers.items():
            reader.read(500)
            reader.close()
            told += [
                Told(f"alerts.{kind}", record.key.decode(), headers_of(record), json.loads(record.value))
                for record in reader.records
            ]
        return told


def _states(reader: TopicReader) -> Counter[str]:
    return Counter(json.loads(record.value)["state"] for record in reader.records)


def _go_wrong(sender: Sender) -> None:
    """Within a minute all goes wrong; twenty minutes later it is known."""
    for number, person in enumerate(PEOPLE):
        sender.send(delivered(person, START, "bad"), delivered(person, START, "dull"))
        if number % 2:
            sender.send(event("email.opted_out", person, START + SECOND_MS, campaign_id="bad"))
            sender.send(
                event("cart.updated", person, START + SECOND_MS, cart_id="c", value=1, currency="EUR")
            )
    sender.send(event("email.opened", LEAVING, START, campaign_id="first"))
    sender.send(*(delivered(LEAVING, START + n * SECOND_MS, f"unread-{n}") for n in range(1, 7)))
    sender.send(event("ticket.opened", LEAVING, START + SECOND_MS, ticket_id="t", segment="lapsing"))
    _move_on(sender, START + 20 * MINUTE_MS)


def _turn_out_well(sender: Sender) -> None:
    """People click, the customer is back, and three hours later the rest is forgotten."""
    at = START + 21 * MINUTE_MS
    sender.send(*(event("email.clicked", person, at, campaign_id="dull") for person in PEOPLE[:40]))
    sender.send(event("email.opened", LEAVING, at, campaign_id="unread-6"))
    sender.send(event("ticket.resolved", LEAVING, at, ticket_id="t"))
    _move_on(sender, START + 3 * HOUR_MS)


def _move_on(sender: Sender, time_ms: int) -> None:
    """Time moves on in every shard."""
    sender.flush()
    sender.send(*(delivered(customer, time_ms, "clock") for customer in one_in_each(PARTITIONS)))
    sender.flush()


def _look_while_firing(seen: Evidence, client: Any, prefix: str) -> None:
    wait_until(lambda: client.hlen(f"{prefix}alerts:firing") == len(KINDS), 5, "Redis shows what fires")
    wait_until(lambda: client.exists(f"{prefix}customer:{LEAVING}"), 5, "Redis shows the customer")
    seen.firing = client.hgetall(f"{prefix}alerts:firing")
    seen.ranking = client.zrange(f"{prefix}churn", 0, -1, withscores=True)
    seen.ranking_of_segment = client.zrange(f"{prefix}churn:segment:lapsing", 0, -1, withscores=True)
    seen.customer = client.hgetall(f"{prefix}customer:{LEAVING}")
    seen.customer["ttl"] = str(client.ttl(f"{prefix}customer:{LEAVING}"))


def _look_after(seen: Evidence, client: Any, prefix: str) -> None:
    wait_until(lambda: not client.hlen(f"{prefix}alerts:firing"), 5, "Redis shows that nothing fires")
    seen.after = client.hgetall(f"{prefix}alerts:firing")
    seen.ranking_after = client.zrange(f"{prefix}churn", 0, -1, withscores=True)
    seen.segments_after = client.keys(f"{prefix}churn:segment:*")
    seen.stream = [json.loads(fields["data"]) for _, fields in client.xrange(f"{prefix}alerts")]


# --- On the topics ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_alert_of_each_kind_fires_and_resolves_on_its_topic(evidence: Evidence, kind: str) -> None:
    told = [told for told in evidence.told if told.topic == f"alerts.{kind}"]
    assert {t.data["kind"] for t in told} == {kind}
    states = list(dict.fromkeys(t.data["state"] for t in told))
    assert states == (["pending", "firing", "resolved"] if kind == "ctr" else ["firing", "resolved"])
    assert {f"{t.data['dimension']}:{t.data['key']}" for t in told} == {
        KINDS[kind] + (LEAVING if kind == "churn" else "")
    }


def test_an_alert_is_a_binary_cloud_event(evidence: Evidence) -> None:
    for told in evidence.told:
        data, headers = told.data, told.headers
        assert headers["ce_specversion"] == "1.0"
        assert headers["ce_source"].startswith("/")
        assert headers["ce_type"] == f"engagement.alert.{data['kind']}.{data['state']}"
        assert headers["ce_time"] == data["as_of"]
        assert headers["ce_subject"] == f"{data['dimension']}:{data['key']}"
        assert headers["content-type"] == "application/json"
        assert told.key == data["fingerprint"]


def test_an_alerts_id_is_made_of_fingerprint_state_and_start(evidence: Evidence) -> None:
    for told in evidence.told:
        plain = f"{told.data['fingerprint']}-{told.data['state']}-{to_ms(told.data['started_at'])}"
        assert re.fullmatch(rf"{plain}(-\d+-[a-z_]+)?", told.headers["ce_id"])
        assert re.fullmatch(r"[0-9a-f]{16}", told.data["fingerprint"])


def test_no_change_is_told_twice_also_over_a_restart(evidence: Evidence) -> None:
    twice = {i: n for i, n in Counter(told.headers["ce_id"] for told in evidence.told).items() if n > 1}
    assert twice == {}


def test_an_alerts_json_has_the_fields_of_the_contract(evidence: Evidence) -> None:
    for told in evidence.told:
        kind = told.data["kind"]
        extra = ["score", "band", "segment"] if kind == "churn" else ["metric", "condition"]
        extra += ["suspected", "runbook"] if kind == "optout" else []
        assert list(told.data) == [*FIELDS, *extra]
        assert told.data["summary"]
        assert told.data["reasons"] or told.data["state"] == "resolved"
        for name in ("started_at", "as_of"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.data[name])
        assert (told.data["ended_at"] is not None) == (told.data["state"] == "resolved")


@pytest.mark.parametrize("kind", KINDS)
def test_what_resolves_is_what_fired(evidence: Evidence, kind: str) -> None:
    states = evidence.of_kind(kind)
    fired, resolved = states["firing"].data, states["resolved"].data
    assert fired["fingerprint"] == resolved["fingerprint"]
    assert fired["started_at"] == resolved["started_at"]
    assert fired["started_at"] < resolved["ended_at"] == resolved["as_of"]


def test_the_numbers_of_an_alert_are_those_of_its_windows(evidence: Evidence) -> None:
    """It fires as soon as there is evidence enough, maybe before all of the 30 opt-outs of 60 are merged."""
    optout = evidence.of_kind("optout")["firing"].data
    assert 0 < optout["numerator"] <= 30
    assert 20 <= optout["denominator"] <= 60
    assert optout["value"] == optout["numerator"] / optout["denominator"]
    assert optout["threshold"] == 0.1 < optout["low"]
    assert (optout["window"], optout["severity"]) == ("1h", "critical")
    ctr = evidence.of_kind("ctr")["firing"].data
    assert (ctr["numerator"], ctr["denominator"], ctr["value"]) == (0, 60, 0)
    assert to_ms(ctr["started_at"]) >= START + 5 * MINUTE_MS, "it waited as its rule says"
    churn = evidence.of_kind("churn")["firing"].data
    assert (churn["band"], churn["severity"], churn["score"]) == ("at_risk", "warning", churn["value"])
    assert 0.7 <= churn["score"] < 0.9
    assert {told.data["segment"] for told in evidence.told if told.data["kind"] == "churn"} == {"lapsing"}


# --- In Redis ---


def test_redis_holds_what_fires_while_it_fires(evidence: Evidence) -> None:
    fired = [evidence.of_kind(kind)["firing"].data for kind in KINDS]
    assert {name: json.loads(data) for name, data in evidence.firing.items()} == {
        data["fingerprint"]: data for data in fired
    }
    assert evidence.after == {}


def test_redis_lists_every_change_once(evidence: Evidence) -> None:
    wanted = sorted(json.dumps(told.data, sort_keys=True) for told in evidence.told)
    assert sorted(json.dumps(data, sort_keys=True) for data in evidence.stream) == wanted


def test_redis_ranks_the_customers_at_risk_and_tells_why(evidence: Evidence) -> None:
    score = evidence.of_kind("churn")["firing"].data["score"]
    assert evidence.ranking == evidence.ranking_of_segment == [(LEAVING, score)]
    assert evidence.customer["segment"] == "lapsing"
    assert (float(evidence.customer["score"]), evidence.customer["band"]) == (score, "at_risk")
    assert json.loads(evidence.customer["reasons"])
    assert to_ms(evidence.customer["last_seen"]) == START + 6 * SECOND_MS
    assert int(evidence.customer["ttl"]) > 0
    assert evidence.ranking_after == []
    assert evidence.segments_after == []
