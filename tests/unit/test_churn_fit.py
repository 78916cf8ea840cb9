"""From events to weights: ``churn fit`` on a small history, and silence that no event tells of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.outcomes import examples_at
from stream_app.churn.facts import facts_of
from stream_app.churn.model import load_model
from stream_app.clock import DAY_MS, HOUR_MS
from stream_app.commands import churn as command
from stream_app.failure import Failure
from stream_app.ingest.dead_letter import Record
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from stream_app.state.shard import Shard
from stream_app.state.shelf import Shelf

Json = dict[str, Any]

START_MS = 20_000 * DAY_MS
READERS = 40
MONTHS = 8
AS_OF_MS = START_MS + 125 * DAY_MS
SETTINGS = Settings(retention=400 * DAY_MS)


def event(event_type: str, customer: str, time_ms: int, **fields: Any) -> Json:
    return {
        "event_type": event_type, "customer_id": customer, "event_time": time_ms,
        "event_id": f"{event_type}-{customer}-{time_ms}", **fields,
    }  # fmt: skip


def history() -> Iterator[Json]:
    """A newsletter a month; every second reader answers all, the others none from the third on. One buys once."""
    for month in range(MONTHS):
        sent_ms = START_MS + month * 30 * DAY_MS
        for number in range(READERS):
            campaign = f"month-{month}"
            yield event("email.delivered", f"r-{number}", sent_ms, campaign_id=campaign)
        for number in range(READERS):
            if month < 2 or number % 2:
                opened_ms = sent_ms + (1 + number) * HOUR_MS // 10
                yield event("email.opened", f"r-{number}", opened_ms, campaign_id=f"month-{month}")
        if month == 2:
            yield event("cart.purchased", "b-1", sent_ms + 5 * HOUR_MS, cart_id="c", value=1)


def arrivals() -> list[Arrival]:
    return [
        Arrival(
            EVENT_TYPES[one["event_type"]].topic,
            one["customer_id"].encode(),
            orjson.dumps(one),
            one["event_time"],
        )
        for one in history()
    ]


def test_an_example_is_what_was_known_and_what_became_of_it() -> None:
    examples = {one.customer_id: one for one in examples_at(SETTINGS, arrivals(), AS_OF_MS, 60 * DAY_MS)}
    assert len(examples) == READERS + 1
    silent, reading, buyer = examples["r-0"], examples["r-1"], examples["b-1"]
    assert (silent.was_silent, reading.was_silent, buyer.was_silent) == (True, False, True)
    assert (silent.facts.unanswered, silent.facts.received, silent.facts.answered) == (3, 5, 2)
    assert (reading.facts.unanswered, reading.facts.answered) == (0, 5)
    assert (buyer.facts.purchases, buyer.facts.is_buyer) == (1, True)


def test_nothing_of_what_came_after_the_day_is_in_the_facts() -> None:
    whole = {one.customer_id: one.facts for one in examples_at(SETTINGS, arrivals(), AS_OF_MS, 60 * DAY_MS)}
    known = [arrival for arrival in arrivals() if arrival.time_ms < AS_OF_MS]
    assert {
        one.customer_id: one.facts for one in examples_at(SETTINGS, known, AS_OF_MS, 60 * DAY_MS)
    } == whole


def test_fit_writes_a_model_and_says_how_good_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.toml"
    assert command.fit(SETTINGS, [written(tmp_path)], out, 60, [], as_json=True) == 0
    (readers,) = [one for one in orjson.loads(capsys.readouterr().out)["heads"] if one["head"] == "reader"]
    assert readers["auc"] == 1.0
    assert load_model(out).horizon_ms == 60 * DAY_MS
    assert tomllib.loads(out.read_text("utf-8"))["reader"]["weights"]["tickets_reopened"] == 1.1


def test_a_day_whose_horizon_is_not_over_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"is no day to stand on.*Name another day"):
        command.fit(
            SETTINGS, [written(tmp_path)], None, 90, [datetime(2025, 4, 1, tzinfo=UTC)], as_json=False
        )


def written(directory: Path) -> str:
    path = directory / "events.ndjson"
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in history()))
    return str(path)


def test_who_falls_silent_is_looked_at_though_no_event_of_theirs_comes() -> None:
    shelf = Shelf()
    shard = Shard(shelf, None, SETTINGS, START_MS)
    told: list[float] = []
    for day in range(40):
        now_ms = START_MS + day * DAY_MS
        who = "b-1" if day == 0 else "other"
        value = orjson.dumps(event("cart.purchased", who, now_ms, cart_id=str(day), value=1))
        shard.watermark.arrived("carts", day + 1, now_ms)
        shard.process("carts", [Record(day, who.encode(), value)], now_ms)
        shard.tick(now_ms + HOUR_MS)
        while shard.has_changes():
            shard.flush()
            found = shard.take_reviewed()
            shelf.write_down()
            if "b-1" in found:
                told.append(facts_of(found["b-1"], shard.watermark.current_ms).months_since_purchase)
    assert told == sorted(told)
    assert len(told) >= 30, "about once a day"
    assert told[-1] >= 1
