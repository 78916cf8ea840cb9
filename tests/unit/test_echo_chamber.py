"""The alert of the echo chamber, through the whole pipeline: events in, alerts out."""

from __future__ import annotations

from typing import Any

import pytest

from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.message import alert_json
from stream_app.alerts.rule import Condition, Rules
from stream_app.alerts.rules import load_rules
from tests.support.pipeline import DAY_MS, START_MS, Pipeline

HOUR_MS = 3_600_000
RULES = Rules(tuple(rule for rule in load_rules().rules if rule.condition is Condition.ECHO_CHAMBER), None)


class Mailing:
    """Campaigns an hour apart, to people of one segment."""

    def __init__(self, partitions: int = 3) -> None:
        self.pipeline = Pipeline(partitions=partitions, clock_ms=START_MS + DAY_MS, rules=RULES)
        self._count = 0

    def tell(self, event_type: str, at_ms: int, people: range, campaign: str, segment: str | None) -> None:
        for number in people:
            self._count += 1
            event: dict[str, Any] = {"event_id": f"e{self._count}", "event_type": event_type}
            event |= {"event_time": START_MS + at_ms, "customer_id": f"p{number}", "campaign_id": campaign}
            self.pipeline.send(event | ({"segment": segment} if segment else {}))

    def send(
        self,
        campaign: str,
        hour: int,
        people: range,
        clicks: int,
        optouts: int = 0,
        segment: str | None = "new",
    ) -> None:
        """A campaign to people, of whom the first click and the last opt out."""
        at_ms = hour * HOUR_MS
        self.tell("email.delivered", at_ms, people, campaign, segment)
        self.tell("email.clicked", at_ms + 60_000, people[:clicks], campaign, segment)
        self.tell("email.opted_out", at_ms + 120_000, people[len(people) - optouts :], campaign, segment)

    def alerts(self) -> list[AlertChange]:
        self.pipeline.settle()
        assert not self.pipeline.dead_letters
        return self.pipeline.alerts


def test_the_worked_example_is_told_in_one_sentence_with_its_numbers() -> None:
    mailing = Mailing()
    mailing.send("one", 0, range(1000), clicks=100, optouts=100)
    mailing.send("two", 1, range(900), clicks=100)
    (fired,) = mailing.alerts()
    told = alert_json(fired)
    assert (told["rule"], told["kind"], told["state"], told["key"]) == (
        "echo-chamber",
        "ctr",
        "firing",
        "two",
    )
    assert told["value"] == pytest.approx(100 / 900)
    assert told["baseline"] == pytest.approx(0.1)
    assert told["summary"] == (
        "Warning: the click-through rate of campaign two in segment new looks better than its predecessors' (11.1 % "
        "against 10 %) only because the 100 who left before it no longer count: with them it is 10 %, where it was 10 %."
    )


QUIET_LIVES = {
    "nobody left": ({"clicks": 100}, {"people": range(1000), "clicks": 115}),
    "it is really better": ({"clicks": 100, "optouts": 100}, {"people": range(900), "clicks": 130}),
    "the rate did not rise": ({"clicks": 100, "optouts": 100}, {"people": range(900), "clicks": 92}),
    "too few to judge": ({"clicks": 100, "optouts": 600}, {"people": range(400), "clicks": 100}),
    "another segment": (
        {"clicks": 100, "optouts": 100},
        {"people": range(900), "clicks": 100, "segment": "old"},
    ),
}


@pytest.mark.parametrize(("first", "second"), QUIET_LIVES.values(), ids=QUIET_LIVES)
def test_what_is_no_echo_chamber_wakes_nobody(first: dict[str, Any], second: dict[str, Any]) -> None:
    mailing = Mailing()
    mailing.send("one", 0, range(1000), **first)
    mailing.send("two", 1, **second)
    assert mailing.alerts() == []


def test_it_resolves_when_those_who_stayed_really_click_more() -> None:
    mailing = Mailing()
    mailing.send("one", 0, range(1000), clicks=100, optouts=100)
    mailing.send("two", 1, range(900), clicks=100)
    mailing.alerts()
    mailing.tell("email.clicked", 4 * HOUR_MS, range(100, 200), "two", "new")
    assert [(change.key, change.state) for change in mailing.alerts()] == [
        ("two", "firing"),
        ("two", "resolved"),
    ]


def test_it_resolves_when_nothing_has_come_for_a_day_and_a_restart_tells_nothing_twice() -> None:
    mailing = Mailing(partitions=1)
    mailing.send("one", 0, range(1000), clicks=100, optouts=100)
    mailing.send("two", 1, range(900), clicks=100)
    first = list(mailing.alerts())
    mailing.pipeline.crash()
    mailing.pipeline.flush()
    known = {(change.key, change.state, change.started_at_ms) for change in mailing.pipeline.alerts}
    assert known == {("two", "firing", first[0].started_at_ms)}
    mailing.pipeline.tick(3 * DAY_MS)
    mailing.pipeline.flush()
    assert [change.state for change in mailing.pipeline.alerts][-1] == "resolved"


def test_predecessors_are_taken_together() -> None:
    mailing = Mailing()
    mailing.send("one", 0, range(1000), clicks=80)
    mailing.send("two", 1, range(1000), clicks=120, optouts=100)
    mailing.send("three", 2, range(900), clicks=100)
    (fired,) = mailing.alerts()
    assert fired.key == "three"
    assert fired.baseline == pytest.approx(0.1)
