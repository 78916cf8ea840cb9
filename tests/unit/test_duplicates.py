"""Ids are remembered for as long as their events could still be accepted, and a while longer."""

from __future__ import annotations

from stream_app.ingest.duplicates import SPAN_MS, SeenIds
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.strategies import world_settings


def test_an_id_is_forgotten_when_its_whole_hour_is_behind() -> None:
    seen = SeenIds()
    for event_id, time_ms in (("x", 5 * SPAN_MS), ("y", 6 * SPAN_MS - 1), ("z", 6 * SPAN_MS)):
        seen.remember(event_id, time_ms)
    assert seen.take_new() == {5: ["x", "y"], 6: ["z"]}
    assert seen.take_new() == {}
    seen.forget_before(6 * SPAN_MS - 1)
    assert len(seen) == 3
    seen.forget_before(6 * SPAN_MS)
    assert seen.ids == {"z"}


def test_new_ids_are_kept_until_they_were_taken_out() -> None:
    seen = SeenIds()
    seen.restore(4, ["old"])
    seen.remember("new", 4 * SPAN_MS)
    seen.forget_before(9 * SPAN_MS)
    assert seen.ids == {"new"}
    seen.take_new()
    seen.forget_before(9 * SPAN_MS)
    assert seen.ids == set()


def told(*events: tuple[str, str, int], crash_after: int | None = None) -> Pipeline:
    """Opens and clicks by id and time; each delivered and flushed by itself."""
    pipeline = Pipeline(world_settings(), 1, START_MS + 3 * DAY_MS)
    for number, (kind, event_id, at_ms) in enumerate(events):
        base = {"event_id": event_id, "customer_id": "ann", "campaign_id": "m"}
        pipeline.send({**base, "event_type": f"email.{kind}", "event_time": START_MS + at_ms})
        pipeline.deliver_all()
        pipeline.flush()
        if crash_after == number:
            pipeline.crash(rewind=99)
    pipeline.settle()
    return pipeline


def test_the_same_id_on_the_same_topic_counts_once_on_another_topic_again() -> None:
    pipeline = told(("opened", "x", 0), ("opened", "x", 0), ("opened", "x", 5_000), ("clicked", "x", 0))
    counts = pipeline.counts("campaign:m")
    assert (counts["opens"], counts["clicks"]) == (1, 1)
    assert pipeline.shards[0].shard.duplicates == 2


def test_after_a_crash_a_duplicate_is_known_and_a_redelivery_is_none() -> None:
    pipeline = told(("opened", "x", 0), ("opened", "x", 0), crash_after=0)
    assert pipeline.counts("campaign:m")["opens"] == 1
    assert pipeline.shards[0].shard.duplicates == 1
    pipeline = told(("opened", "x", 0), crash_after=0)
    assert pipeline.counts("campaign:m")["opens"] == 1
    assert pipeline.shards[0].shard.duplicates == 0
