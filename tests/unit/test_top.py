"""What ``stream-app top`` shows: the order of the campaigns, the filter, the pace. Pure."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.cli_watch import Sort, Window
from stream_app.figures import STAGES, Numbers, stage_words
from stream_app.top.description import describe
from stream_app.top.pace import OVER_MS, Pace
from stream_app.top.panels import Scene, no_campaign, severities, watermark_delay_ms
from stream_app.top.reading import Look, Worker
from stream_app.top.table import CHOSEN_WINDOWS, COLUMN_BY_NAME, COLUMNS, View, chosen_campaigns, rows_of

NAMES = st.text(max_size=12)
COUNTS = st.integers(0, 50)
SORTS = st.sampled_from([column.name for column in COLUMNS])


def numbers(deliveries: int, clicks: int = 0) -> Numbers:
    counts = {"deliveries": deliveries, "unique_clicks": clicks, "unique_engaged": clicks, "clicks": clicks}
    return Numbers({f"24h.{name}": str(count) for name, count in counts.items()})


CAMPAIGNS = st.dictionaries(NAMES, st.builds(lambda d, c: numbers(d, min(d, c)), COUNTS, COUNTS), max_size=12)


def worker(events: int, name: str = "one", started_at: str = "then") -> Worker:
    return Worker(name, started_at, None, 0, (0,), {"chats": events}, {})


def test_the_command_line_offers_every_column_and_every_window() -> None:
    assert [choice.value for choice in Sort] == [column.name for column in COLUMNS]
    assert [choice.value for choice in Window] == list(CHOSEN_WINDOWS)


@given(campaigns=CAMPAIGNS, sort=SORTS, ascending=st.booleans())
def test_known_numbers_are_in_order_and_unknown_ones_last(
    campaigns: dict[str, Numbers], sort: str, ascending: bool
) -> None:
    view = View(sort=sort, ascending=ascending)
    chosen = chosen_campaigns(campaigns, view)
    assert sorted(chosen) == sorted(campaigns)
    values = [COLUMN_BY_NAME[sort].value(name, campaigns[name], view.window) for name in chosen]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=not ascending)


@given(campaigns=CAMPAIGNS, text=NAMES)
def test_the_filter_keeps_exactly_the_names_with_the_text(campaigns: dict[str, Numbers], text: str) -> None:
    chosen = chosen_campaigns(campaigns, View(text=text))
    assert set(chosen) == {name for name in campaigns if text.casefold() in name.casefold()}


def test_what_nobody_can_know_is_a_dash_and_hostile_names_are_harmless() -> None:
    (row,) = rows_of({"\x1b[31m[bold]spring": Numbers()}, View())
    assert row.cells[0] == "\N{REPLACEMENT CHARACTER}[31m[bold]spring"
    assert row.cells[1:] == ("0", "–", "–", "–", "–", "–", "–")


def test_a_campaign_bears_the_severity_of_its_worst_alert() -> None:
    worst, other = (
        {"dimension": "campaign", "key": "a", "severity": name} for name in ("critical", "warning")
    )
    elsewhere = {"dimension": "segment", "key": "b", "severity": "critical"}
    found = severities(Look(0, alerts=(worst, elsewhere, other)))
    assert found == {"a": "critical"}
    rows = rows_of({"a": Numbers(), "b": Numbers()}, View(), found)
    assert {row.campaign: row.severity for row in rows} == {"a": "critical", "b": ""}


def test_why_there_is_no_campaign() -> None:
    assert "24 hours" in no_campaign(Scene(Look(0), View(), 0))
    assert "'x'" in no_campaign(Scene(Look(0, campaigns={"a": Numbers()}), View(text="x"), 0))


@pytest.mark.parametrize(
    ("before", "after", "pace"),
    [
        ((worker(100),), (worker(300),), {"chats": 100}),
        ((worker(100),), (worker(300), worker(900, "two")), {"chats": 100}),  # what it did before is unknown
        ((worker(100),), (worker(50, started_at="later"),), {}),  # started anew: its counts begin at 0
        ((), (), {}),
    ],
)
def test_the_pace_is_what_the_same_workers_counted_since(
    before: tuple[Worker, ...], after: tuple[Worker, ...], pace: dict[str, int]
) -> None:
    watched = Pace()
    assert watched.take(Look(10_000, workers=before)) is None
    assert watched.take(Look(12_000, workers=after)) == Counter(pace)


def test_the_pace_is_that_of_the_last_seconds() -> None:
    watched = Pace()
    for second in range(60):
        watched.take(Look(second * 1000, workers=(worker(10 * second),)))
    last = watched.take(Look(60_000 + OVER_MS, workers=(worker(590),)))
    assert last == Counter({"chats": 0})


def test_the_watermark_is_as_late_as_the_slowest_worker_and_workers_without_events_hold_it_back_not() -> None:
    slow = worker(1)._replace(watermark_ms=10_000)
    fast = worker(1)._replace(watermark_ms=50_000)
    assert watermark_delay_ms(Look(0, workers=(fast, slow, worker(1)), lateness_ms=2_000), 60_000) == 48_000
    assert watermark_delay_ms(Look(0, workers=(worker(1),)), 60_000) is None


def test_the_stages_are_told_with_the_moves_of_a_day_or_not_at_all() -> None:
    assert STAGES == ("new", "active", "cooling", "dormant", "left", "returned")
    assert stage_words(Numbers({"as_of": "x"})) == "–"
    held = Numbers(
        {"total.stage_new": "1200", "24h.became_new": "31", "total.stage_left": "4", "24h.became_left": "0"}
    )
    assert stage_words(held) == "1,200 new (+31), 4 left"
    told = describe(Scene(Look(0, everything=held), View(), 0))["churn"]
    assert told["stages"]["new"] == {"customers": 1200, "became_within_24h": 31}
    assert told["stages"]["cooling"] == {"customers": None, "became_within_24h": None}


def test_what_is_held_back_is_known_once_a_worker_tells_it() -> None:
    assert Look(0, workers=(worker(1),)).churn_held_back is None
    assert Look(0, workers=(worker(1), worker(1)._replace(churn_held_back=3))).churn_held_back == 3
