"""While topics are read at different paces, no alert begins on a rate whose two sides are hours apart."""

from __future__ import annotations

import pytest

from stream_app.alerts.rule import Rules
from stream_app.alerts.rules import load_rules
from stream_app.ingest.topics import EMAIL_DELIVERIES, EMAIL_OPTOUTS
from tests.support.pipeline import DAY_MS, START_MS, Pipeline

HOUR_MS = 3_600_000
DELIVERIES = 2_000
RULES = Rules(tuple(rule for rule in load_rules().rules if rule.name == "optout-spike"), None)


def backlog(optouts: int) -> Pipeline:
    """Five hours of a campaign's deliveries, and the opt-outs of its last hour; nothing is read yet."""
    made = Pipeline(partitions=1, clock_ms=START_MS + DAY_MS, rules=RULES)
    for number in range(DELIVERIES):
        event = {"event_type": "email.delivered", "event_time": START_MS + number * 5 * HOUR_MS // DELIVERIES}
        made.send(event | {"event_id": f"d{number}", "customer_id": f"c{number}", "campaign_id": "spring"})
    for number in range(optouts):
        event = {"event_type": "email.opted_out", "event_time": START_MS + 5 * HOUR_MS - 60_000 * number}
        made.send(event | {"event_id": f"o{number}", "customer_id": f"c{number}", "campaign_id": "spring"})
    return made


@pytest.mark.parametrize(("optouts", "told"), [(8, []), (60, ["firing"])])
def test_a_backlog_is_judged_when_its_topics_are_at_the_same_time(optouts: int, told: list[str]) -> None:
    made = backlog(optouts)
    made.deliver(EMAIL_DELIVERIES, 0, 300)
    made.deliver(EMAIL_OPTOUTS, 0)
    made.flush()
    assert made.counts("campaign:spring")["optouts"] == optouts
    assert made.alerts == []
    made.deliver_all()
    made.tick(made.settings.idle_timeout + 1)
    made.flush()
    assert [change.state for change in made.alerts] == told


def test_without_a_wait_the_same_numbers_would_wake_somebody() -> None:
    made = backlog(8)
    made.deliver(EMAIL_DELIVERIES, 0, 300)
    made.deliver(EMAIL_OPTOUTS, 0)
    made.topics = {place: records[: made.read[place]] for place, records in made.topics.items()}
    made.tick(made.settings.idle_timeout + 1)
    made.flush()
    assert [change.state for change in made.alerts] == ["firing"]
