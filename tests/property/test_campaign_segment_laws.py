"""Campaigns by segment: they add up to the campaign, disturb no other number, and begin when they are switched on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_app.metrics.catalogue import PANE_MS, Dimension, campaign_and_segment, campaign_segment, counts_of
from stream_app.settings import Settings
from stream_app.state.slices import SliceStore
from tests import oracle
from tests.support.comparison import differences, to_ms
from tests.support.pipeline import DAY_MS, START_MS, Pipeline
from tests.support.stores import stores
from tests.support.strategies import examples, world_settings, worlds

Json = dict[str, Any]

DISORDER_MS = 2 * 3_600_000
CLOCK_MS = START_MS + 60 * DAY_MS
COUNTS = [count.name for count in counts_of(Dimension.CAMPAIGN_SEGMENT)]
SETTINGS = world_settings(allowed_lateness=DISORDER_MS)
WITH_SEGMENTS = SETTINGS.model_copy(update={"campaign_segments": True})

names = st.text("a2F/% é\0", min_size=1, max_size=6)


def counted(world: Sequence[Json], campaign_segments: bool, partitions: int = 2) -> Pipeline:
    """What a pipeline makes of a world."""
    made = Pipeline(WITH_SEGMENTS if campaign_segments else SETTINGS, partitions, CLOCK_MS)
    for event in world:
        made.send(event)
    made.settle()
    return made


def parts(snapshots: dict[str, Json]) -> dict[str, Json]:
    """The snapshots of campaigns by segment."""
    return {key: held for key, held in snapshots.items() if held["dimension"] == Dimension.CAMPAIGN_SEGMENT}


@examples(0.5)
@given(worlds(DISORDER_MS))
def test_a_campaign_is_the_sum_of_its_segments_where_every_event_bears_one(world: list[Json]) -> None:
    made = counted([{"segment": "others", **event} for event in world], campaign_segments=True)
    sums: dict[str, dict[str, int]] = {}
    for held in parts(made.snapshots).values():
        campaign, _ = campaign_and_segment(held["key"])
        total = sums.setdefault(campaign, dict.fromkeys(COUNTS, 0))
        for name, count in held["windows"]["total"]["counts"].items():
            total[name] += count
    campaigns = [key for key in made.snapshots if key.startswith("campaign:")]
    assert sorted(sums) == sorted(key.removeprefix("campaign:") for key in campaigns)
    for key in campaigns:
        whole = made.counts(key)
        assert sums[key.removeprefix("campaign:")] == {name: whole[name] for name in COUNTS}


@examples(0.3)
@given(worlds(DISORDER_MS))
def test_no_other_number_is_changed_by_them(world: list[Json]) -> None:
    without, with_them = counted(world, campaign_segments=False), counted(world, campaign_segments=True)
    assert parts(without.snapshots) == {}
    others = {key: held for key, held in with_them.snapshots.items() if key not in parts(with_them.snapshots)}
    assert others == without.snapshots
    assert differences(with_them.snapshots, with_them.batch()) == []


@examples()
@given(stores, worlds(DISORDER_MS), st.integers(0, 12), st.integers(0, 1_000))
def test_switched_on_amid_a_stream_they_hold_what_happens_from_the_next_pane_on(
    store: SliceStore, world: list[Json], before: int, rewind: int
) -> None:
    made = Pipeline(SETTINGS, 1, CLOCK_MS, store=store)
    for event in world[:before]:
        made.send(event)
    made.deliver_all()
    made.flush()
    made.settings = WITH_SEGMENTS
    made.recover(rewind)
    held = made.merged().get("all:all")
    begins_ms = 0 if held is None else to_ms(held["as_of"])
    for event in world[before:]:
        made.send(event)
    made.deliver_all()
    made.flush()
    made.crash(rewind)
    made.settle()
    assert differences(made.snapshots, since(made.batch(), begins_ms)) == []


def since(whole: oracle.Result, begins_ms: int) -> oracle.Result:
    """What is left where campaigns were counted by segment from a time on."""
    assert begins_ms % PANE_MS == 0
    for key in whole.keys():  # noqa: SIM118 - a method of its own
        if key[0] == Dimension.CAMPAIGN_SEGMENT:
            whole.contributions[key] = [one for one in whole.contributions[key] if one.time >= begins_ms]
            if whole.reached_at[key] < begins_ms:
                del whole.contributions[key], whole.reached_at[key]
    return whole


def take_over(made: Pipeline, settings: Settings, *opens: tuple[int, str]) -> None:
    """Somebody with these settings takes over; a customer opens a mail at these panes, in these segments."""
    made.settings = settings
    made.recover()
    for pane, segment in opens:
        about = {"event_type": "email.opened", "customer_id": "ada", "campaign_id": "m", "segment": segment}
        made.send(about | {"event_id": f"{pane}", "event_time": START_MS + pane * PANE_MS})
    made.deliver_all()
    made.flush()


def test_a_unique_count_of_before_is_not_taken_back_where_it_never_was() -> None:
    made = Pipeline(SETTINGS, 1, START_MS + DAY_MS)
    take_over(made, SETTINGS, (5, "vip"))
    take_over(made, WITH_SEGMENTS, (2, "new"), (6, "vip"))
    assert made.counts("segment:vip") | {"opens": 2, "unique_opens": 0} == made.counts("segment:vip")
    assert made.counts("segment:new")["unique_opens"] == 1
    assert [key for key in made.snapshots if key.startswith("campaign_segment:")] == [
        "campaign_segment:m/vip"
    ]
    held = made.counts("campaign_segment:m/vip")
    assert (held["opens"], held["unique_opens"], held["unique_engaged"]) == (1, 0, 0)


def test_switched_off_and_on_again_they_go_on_without_what_happened_meanwhile() -> None:
    made = Pipeline(WITH_SEGMENTS, 1, START_MS + DAY_MS)
    take_over(made, WITH_SEGMENTS, (0, "vip"))
    take_over(made, SETTINGS, (1, "vip"))
    take_over(made, WITH_SEGMENTS, (2, "vip"))
    assert made.counts("campaign:m")["opens"] == 3
    assert made.counts("campaign_segment:m/vip")["opens"] == 2


@examples()
@given(names, names, names, names)
def test_no_two_pairs_share_a_name(campaign: str, segment: str, other: str, another: str) -> None:
    name = campaign_segment(campaign, segment)
    assert campaign_and_segment(name) == (campaign, segment)
    assert name.isascii() and name.isprintable() and name.count("/") == 1
    assert (name == campaign_segment(other, another)) == ((campaign, segment) == (other, another))
