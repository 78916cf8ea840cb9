"""Campaigns by segment from an event to an alert: an opt-out rate that is bad in one segment of a campaign alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stream_app.alerts.rules import load_rules
from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.judge import Judge
from stream_app.backtest.replay import Replay
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from tests.support.pipeline import DAY_MS, START_MS, Pipeline

RULE = """
[[rule]]
name = "optouts-of-a-segment"
kind = "optout"
dimension = "campaign_segment"
metric = "optout_rate"
window = "total"
critical = 0.01
resolve = 0.004
minimum_denominator = 200
"""
SETTINGS = Settings(campaign_segments=True, partitions=1)
Json = dict[str, Any]


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULE)
    return path


def newsletter() -> list[Json]:
    """Half a thousand each of two segments; of the loyal every tenth opts out, of the others nobody."""
    events: list[Json] = []
    for number in range(1_000):
        segment = "the loyal" if number % 2 else "new"
        about = {"customer_id": f"c{number}", "campaign_id": "spring/1", "segment": segment}
        events.append(
            about | {"event_id": f"d{number}", "event_type": "email.delivered", "event_time": START_MS}
        )
        if number % 20 == 1:
            left = {
                "event_id": f"o{number}",
                "event_type": "email.opted_out",
                "event_time": START_MS + 60_000,
            }
            events.append(about | left)
    return sorted(events, key=lambda event: int(event["event_time"]))


def test_an_alert_names_the_campaign_and_the_segment(rules_file: Path) -> None:
    made = Pipeline(SETTINGS, 1, START_MS + DAY_MS, rules=load_rules(rules_file, SETTINGS))
    for event in newsletter():
        made.send(event)
    made.settle()
    assert made.rate("campaign_segment:spring%2F1/the%20loyal", "optout_rate")["value"] == 0.1
    assert made.rate("campaign_segment:spring%2F1/new", "optout_rate")["value"] == 0.0
    (alert,) = made.alerts
    assert (alert.state, alert.dimension) == ("firing", "campaign_segment")
    assert alert.key == "spring%2F1/the%20loyal"


def test_the_backtest_counts_them_by_the_same_setting(rules_file: Path) -> None:
    replay = Replay(SETTINGS, [Judge(load_rules(rules_file, SETTINGS), SETTINGS)])
    told = []
    for event in newsletter():
        topic, key = EVENT_TYPES[event["event_type"]].topic, event["customer_id"].encode()
        told += replay.feed(Arrival(topic, key, json.dumps(event).encode(), event["event_time"]))
    told += replay.finish()
    assert [(one.change.state, one.change.key) for one in told] == [("firing", "spring%2F1/the%20loyal")]
