"""A backtest tells the alerts that a worker told of the same events: the same ids, states and severities.

The story is that of ``test_alerts``, told in steps. Each step moves time to where one thing must come true, so that it
does not matter for any id how many events a worker happens to see at once.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from stream_app.alerts.message import alert_id
from stream_app.alerts.rules import load_rules
from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.judge import Judge
from stream_app.backtest.replay import Replay
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from tests.integration.test_alerts import RULES
from tests.support.brokers import Broker
from tests.support.comparison import to_ms
from tests.support.programs import (
    ROOT,
    Crew,
    Installation,
    Json,
    TopicReader,
    headers_of,
    installation,
    run_program,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, event, one_in_each

PARTITIONS = 2
KINDS = ("ctr", "optout", "abandonment", "churn")
YEAR = ROOT.parent / "shared" / "data" / "signals-2019.ndjson.gz"
START = now_ms() // MINUTE_MS * MINUTE_MS - 2 * DAY_MS
LEAVING = next(customers(0, PARTITIONS, "leaving"))
PEOPLE = [*islice(customers(0, PARTITIONS), 30), *islice(customers(1, PARTITIONS), 30)]

Told = set[tuple[str, str, str]]
"""The id, the state and the severity of each change."""
States = Callable[[str], set[str]]
"""The states that were told of alerts of a kind."""


def clock(seconds: int) -> list[Json]:
    """An event in each shard, so that time moves on."""
    return [delivered(one, START + seconds * SECOND_MS, "clock") for one in one_in_each(PARTITIONS)]


def _all_goes_wrong() -> list[Json]:
    events = []
    for number, person in enumerate(PEOPLE):
        events += [delivered(person, START, "bad"), delivered(person, START, "dull")]
        if number % 2:
            at = START + SECOND_MS
            events.append(event("email.opted_out", person, at, campaign_id="bad"))
            events.append(event("cart.updated", person, at, cart_id="c", value=1, currency="EUR"))
    events.append(event("email.opened", LEAVING, START, campaign_id="first"))
    events += [delivered(LEAVING, START + number * SECOND_MS, f"unread-{number}") for number in range(1, 7)]
    return [*events, event("ticket.opened", LEAVING, START + SECOND_MS, ticket_id="t")]


def _all_turns_out_well() -> list[Json]:
    at = START + 400 * SECOND_MS
    return [
        *(event("email.clicked", person, at, campaign_id="dull") for person in PEOPLE[:40]),
        event("email.opened", LEAVING, at, campaign_id="unread-6"),
        event("ticket.resolved", LEAVING, at, ticket_id="t"),
    ]


STEPS: list[tuple[list[Json], Callable[[States], bool]]] = [
    (
        _all_goes_wrong(),
        lambda states: "firing" in states("optout") & states("churn") and "pending" in states("ctr"),
    ),
    (clock(185), lambda states: "firing" in states("abandonment")),  # the carts' two minutes are over
    (clock(370), lambda states: "firing" in states("ctr")),  # the rule's five minutes are over, to the pane
    (_all_turns_out_well(), lambda states: "resolved" in states("ctr") & states("churn")),
    (clock(3 * HOUR_MS // SECOND_MS), lambda states: all("resolved" in states(kind) for kind in KINDS)),
]


@pytest.mark.integration
def test_a_backtest_tells_what_a_worker_tells(
    broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES, "utf-8")
    place = installation(
        broker.address, redis_server.url, tmp_path,
        partitions=str(PARTITIONS), rules=str(rules), allowed_lateness="1m", cart_timeout="2m",
    )  # fmt: skip
    live = _told_by_a_worker(place, tmp_path)
    assert _told_by_a_replay(place.settings, rules) == live
    events = tmp_path / "events.ndjson"
    events.write_text("".join(json.dumps(one) + "\n" for step, _ in STEPS for one in step), "utf-8")
    answer = run_program(place, "backtest", "--json", "--rules", str(rules), str(events))
    assert (answer.returncode, answer.stderr) == (0, "")
    alerts = [line for line in map(json.loads, answer.stdout.splitlines()) if line["type"] == "alert"]
    assert {(line["id"], line["state"], line["severity"]) for line in alerts} == {
        (name, "resolved", severity) for name, state, severity in live if state == "firing"
    }


def _told_by_a_worker(place: Installation, directory: Path) -> Told:
    with Crew(place, directory) as crew, Sender(place.settings) as sender:
        crew.start()
        readers = [TopicReader(place.address, place.topic(f"alerts.{kind}"), PARTITIONS) for kind in KINDS]

        def states(kind: str) -> set[str]:
            reader = readers[KINDS.index(kind)]
            reader.read(50)
            return {json.loads(record.value)["state"] for record in reader.records}

        for number, (events, is_done) in enumerate(STEPS):
            sender.send(*events)
            sender.flush()
            wait_until(partial(is_done, states), 20, f"step {number} is told")
        told = {
            (headers_of(record)["ce_id"], alert["state"], alert["severity"])
            for reader in readers
            for record in reader.records
            if (alert := json.loads(record.value))
        }
        for reader in readers:
            reader.close()
        return told


def _told_by_a_replay(settings: Settings, rules: Path) -> Told:
    replay = Replay(settings, [Judge(load_rules(rules), settings)])
    changes = []
    for events, _ in STEPS:
        for one in events:
            topic, key = EVENT_TYPES[one["event_type"]].topic, one["customer_id"].encode()
            changes += replay.feed(Arrival(topic, key, json.dumps(one).encode(), to_ms(one["event_time"])))
    changes += replay.finish()
    assert not replay.refused
    return {(alert_id(change), change.state, change.severity) for _, change in changes}


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.skipif(not YEAR.exists(), reason="../shared/data/signals-2019.ndjson.gz is not here")
def test_a_real_year_runs_through_and_a_file_compared_with_itself_differs_in_nothing() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "stream_app", "backtest", "--json", "--compare", "stream_app/alerts/rules.toml", str(YEAR)],
        capture_output=True, text=True, timeout=1_100, cwd=ROOT, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")},
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line for line in lines if line["type"] == "difference"] == []
    *rules, run = [line for line in lines if line["type"] in ("rule", "backtest")]
    assert (run["events"], run["counted"], run["duplicates"], run["refused"]) == (246_450, 243_996, 2_454, {})
    assert run["same"] == sum(rule["fired"] for rule in rules) / 2 > 0
    with gzip.open(YEAR, "rt", encoding="utf-8") as year:
        assert run["first"] == json.loads(next(year))["event_time"]
