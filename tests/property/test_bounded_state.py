"""Nothing is kept beyond its time: after days of new customers, campaigns, carts, chats and tickets, a shard and a
merger hold no more than they held before."""

from __future__ import annotations

from collections import Counter
from typing import Any

from stream_app.alerts.rules import Rules
from stream_app.backtest.judge import Judge
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.partials import KeyPartial, Partial
from stream_app.settings import Settings
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.traffic import Life

EVENTS_A_DAY = 500
STEADY_DAYS = 4
MORE_DAYS = 6
HOURS_A_DAY = 24
MOST_GROWTH = 1.25
"""Days differ by chance, and what is due is swept slice by slice."""


def test_a_shard_and_its_merger_hold_no_more_after_ten_days_than_after_four() -> None:
    pipeline = Pipeline(Settings(retention=DAY_MS), partitions=1)
    live_days(pipeline, 0, STEADY_DAYS)
    before = held(pipeline)
    live_days(pipeline, STEADY_DAYS, MORE_DAYS)
    after = held(pipeline)
    grown = {
        name: (before[name], after[name])
        for name in after
        if after[name] > max(before[name] * MOST_GROWTH, before[name] + 20)
    }
    assert grown == {}, f"of {before}"


def test_a_backtest_holds_no_more_keys_than_the_retention_has() -> None:
    judge = Judge(Rules((), None), Settings(retention=DAY_MS))
    for hour in range(6 * HOURS_A_DAY):
        time_ms = START_MS + hour * DAY_MS // HOURS_A_DAY
        keys = [
            KeyPartial(f"campaign:{hour}-{n}", time_ms, {0: 1}, {time_ms // PANE_MS: {0: 1}})
            for n in range(9)
        ]
        judge.hear(Partial(0, 0, hour, time_ms, keys))
        judge.look()
    assert (
        len(list(judge._merger.names())) < 4 * HOURS_A_DAY * 9
    )  # the merger looks for what is outdated now and then


def live_days(pipeline: Pipeline, first: int, days: int) -> None:
    """Days with customers and campaigns of their own; flushed often, as a worker does."""
    for day in range(first, first + days):
        events = Life(day, START_MS + day * DAY_MS, DAY_MS, stem=f"{day}-").events(EVENTS_A_DAY)
        for event in events:
            event["customer_id"] = f"{day}-{event['customer_id']}"
            if event.get("campaign_id"):
                event["campaign_id"] = f"{day}-{event['campaign_id']}"
        size = max(1, len(events) // HOURS_A_DAY)
        for start in range(0, len(events), size):
            pipeline.clock_ms = max(pipeline.clock_ms, START_MS + (day + 1) * DAY_MS)
            for event in events[start : start + size]:
                pipeline.send(event)
            pipeline.deliver_all()
            pipeline.tick(1000)
            pipeline.flush()
    pipeline.tick(
        pipeline.settings.idle_timeout + 1
    )  # time does not wait for whichever topic is the quietest
    pipeline.flush()


def held(pipeline: Pipeline) -> Counter[str]:
    """How much of everything is held in memory and in the journals."""
    (shard_owner,), (merger_owner,) = pipeline.shards, pipeline.mergers
    found: Counter[str] = Counter()
    for name, owner in (("shard", shard_owner), ("merger", merger_owner)):
        for kind, count in _kinds(owner.journal.shelf).items():
            found[f"{name} objects {kind}"] = count
        found[f"{name} journal, live records"] = len(owner.log.live())
    for name, thing in (
        ("shard", shard_owner.shard),
        ("shard.audience", shard_owner.shard._audience),
        ("shard.lifecycles", shard_owner.shard._lifecycles),
        ("merger", merger_owner.merger),
    ):
        for attribute, value in vars(thing).items():
            if isinstance(value, (dict, list, set)):
                found[f"{name}.{attribute}"] = len(value)
    found["ids seen"] = sum(len(seen) for seen in shard_owner.shard._seen.values())
    return found


def _kinds(shelf: Any) -> Counter[str]:
    return Counter(key[:2] for index in range(64) for key, _ in shelf.slices.entries(index))
