"""The merger where a key falls silent, is taken over, or has lost what it counted."""

from __future__ import annotations

import pytest

from stream_app.metrics import partials
from stream_app.metrics.catalogue import PANE_MS, RATE_BY_NAME
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import KeyPartial, Partial
from stream_app.metrics.rates import rate_of
from stream_app.settings import Settings
from stream_app.state.journal import sweep
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SLICES
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.strategies import world_settings


def told_and_silent() -> Pipeline:
    """One open, then a day without an event of its campaign, long enough for its panes to be forgotten."""
    pipeline = Pipeline(world_settings(), 1, START_MS + 40 * DAY_MS)
    for number in range(150):
        base = {"event_id": f"e{number}", "customer_id": "ann", "event_type": "email.opened"}
        campaign = "silent" if number == 0 else f"busy{number % 40}"
        time_ms = START_MS if number == 0 else START_MS + 2 * DAY_MS + number
        pipeline.send({**base, "campaign_id": campaign, "event_time": time_ms})
        pipeline.deliver_all()
        pipeline.tick(31_000 if number == 1 else 0)
        pipeline.flush()
    return pipeline


def test_a_key_whose_windows_ran_empty_looks_the_same_after_a_crash() -> None:
    pipeline = told_and_silent()
    before = pipeline.merged()["campaign:silent"]
    assert before["as_of"] == "2025-11-22T10:00:10.000Z"
    assert before["windows"]["24h"]["counts"]["opens"] == 0
    pipeline.crash()
    after = pipeline.merged()["campaign:silent"]
    assert (after["as_of"], after["windows"]) == (before["as_of"], before["windows"])


def test_empty_windows_are_told_once_and_again_only_when_something_changes() -> None:
    pipeline = told_and_silent()
    assert pipeline.snapshots["campaign:silent"]["as_of"] == "2025-11-22T10:00:10.000Z"
    pipeline.snapshots.clear()
    pipeline.tick(3_600_000)
    pipeline.flush()
    assert "campaign:silent" not in pipeline.snapshots


@pytest.mark.parametrize("interval_ms", [1_000, 5_000])
def test_a_snapshot_is_sent_at_most_once_in_its_interval(interval_ms: int) -> None:
    """It is a second, and longer while the worker catches up."""
    pipeline = Pipeline(world_settings(), 1, START_MS)
    merger = pipeline.mergers[0]
    merger.merger.snapshot_interval_ms = interval_ms
    for number in range(2):
        base = {"event_id": f"e{number}", "customer_id": "ann", "event_type": "email.opened"}
        pipeline.send({**base, "campaign_id": "m", "event_time": START_MS})
        pipeline.deliver_all()
        pipeline.flush_shards()
        pipeline.deliver_partials()
        merger.flush()
    assert pipeline.counts("campaign:m")["opens"] == 1
    pipeline.clock_ms += interval_ms - 1
    merger.flush()
    assert pipeline.counts("campaign:m")["opens"] == 1
    pipeline.clock_ms += 1
    merger.flush()
    assert pipeline.counts("campaign:m")["opens"] == 2


@pytest.mark.parametrize(("numerator", "denominator"), [(-1, 1), (-1, 3), (1, -1)])
def test_a_count_that_is_taken_back_after_its_key_was_forgotten_has_no_interval(
    numerator: int, denominator: int
) -> None:
    """A ticket outlives its segment's numbers: silent for the retention, then reopened and resolved again."""
    rate = RATE_BY_NAME["first_contact_rate"]
    shown = rate_of(rate, {"tickets_first_contact": numerator, "tickets_resolved": denominator})
    assert (shown.low, shown.high) == (None, None)


RETENTION_MS = Settings().retention
OLD = "campaign:old"


def word(shard: int, epoch: int, generation: int = 1, *, is_repeat: bool = False) -> Partial:
    """A shard's word: one event of the old campaign in each pane of the beginning that it tells of."""
    pane = START_MS // PANE_MS + epoch
    key = KeyPartial(OLD, START_MS + epoch * PANE_MS, {0: epoch}, {pane: {0: 1}})
    return Partial(shard, generation, epoch, START_MS, [key], [], is_repeat)


def merger_told_of_old() -> tuple[Shelf, Merger]:
    """A merger that heard of a campaign from two shards, and then of a watermark at which it may be forgotten."""
    shelf = Shelf()
    merger = Merger(shelf, None, Settings())
    late_ms = START_MS + RETENTION_MS + DAY_MS
    told = [word(0, 1), word(1, 1), word(0, 2)]
    told += [Partial(shard, 1, epoch, late_ms + epoch, []) for epoch in (3, 4) for shard in range(2)]
    merger.process(list(enumerate(told)))
    merger.flush(START_MS)
    shelf.write_down()
    return shelf, merger


def forget(shelf: Shelf, merger: Merger) -> None:
    """Look through everything, and begin the next epoch."""
    for index in range(SLICES):
        sweep(shelf, index, merger.expired)
    merger.flush(START_MS, must=True)


def test_a_forgotten_key_is_gone_as_a_whole_or_not_at_all() -> None:
    shelf, merger = merger_told_of_old()
    held = merger.key(OLD)
    assert held is not None
    forget(shelf, merger)
    assert merger.key(OLD) is None
    shelf.drop_hot()  # a crash before the next epoch
    after = Merger(shelf, None, Settings()).key(OLD)
    assert after is not None
    assert after.total == held.total == {0: 3}


def test_a_repeat_does_not_bring_back_a_part_of_a_key_that_was_forgotten() -> None:
    shelf, merger = merger_told_of_old()
    forget(shelf, merger)
    shelf.write_down()
    merger.process([(merger.next_offset, word(0, 2, 2, is_repeat=True))])
    assert merger.key(OLD) is None
    assert Merger(shelf, None, Settings()).key(OLD) is None
    merger.process([(merger.next_offset, word(0, 5, 2))])
    again = merger.key(OLD)
    assert again is not None and again.window("24h") == {0: 1}


@pytest.mark.parametrize("writes", range(8))
def test_a_key_is_told_though_a_crash_kept_back_its_first_word_and_it_is_old_by_then(
    monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """One epoch covers more than the retention, and its keys are told in a record each."""
    monkeypatch.setattr(partials, "MAX_PARTIAL_BYTES", 1)
    pipeline = Pipeline(Settings(retention=DAY_MS), 1, START_MS + 40 * DAY_MS)
    campaigns = {"before": -DAY_MS // 2, "old": 0, "older": 1, "new": 5 * DAY_MS}
    for campaign, after_ms in campaigns.items():
        base = {"event_id": campaign, "customer_id": "ann", "event_type": "email.opened"}
        pipeline.send({**base, "campaign_id": campaign, "event_time": START_MS + after_ms})
        if campaign == "before":
            pipeline.deliver_all()
            pipeline.flush()
    pipeline.deliver_all()
    pipeline.tick(31_000)
    pipeline.crash(during_flush=writes)
    pipeline.flush()
    pipeline.settle()
    for campaign in campaigns:
        assert pipeline.counts(f"campaign:{campaign}")["opens"] == 1
