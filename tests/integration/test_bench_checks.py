"""The bench's judgement of results in Redis: anything missing, wrong or surplus is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import redis

from benchmarks.checks import Check, PaneCheck, ReadCheck, TotalsCheck
from benchmarks.truth import Totals
from stream_app.dev import EmbeddedRedis

pytestmark = pytest.mark.integration

PANES = {"spring": {"0": 2, "10000": 1}, "summer": {"0": 5}}
TOTALS: Totals = {
    "all:all": {"deliveries": 3, "purchased_value": {"EUR": 0.3}, "chat_wait_seconds": 1.1},
    "campaign:spring": {"deliveries": 3},
}


@pytest.fixture
def client() -> Iterator[Any]:
    with EmbeddedRedis() as server:
        yield redis.Redis.from_url(server.url, decode_responses=True)


@pytest.fixture
def panes(client: Any) -> Check:
    for campaign, cells in PANES.items():
        client.hset(f"bench:g:{campaign}", mapping=cells)
    return PaneCheck("g", PANES)


@pytest.fixture
def totals(client: Any) -> Check:
    for key, counts in TOTALS.items():
        fields = {f"total.{name}": orjson.dumps(value).decode() for name, value in counts.items()}
        client.hset(f"engagement:metrics:{key}", mapping={**fields, "1m.deliveries": "0"})
    return TotalsCheck("engagement:", TOTALS)


def test_right_panes_are_right(client: Any, panes: Check) -> None:
    client.hset("bench:g:sentinel", "3600000", 28)
    assert panes.look(client) == 1
    assert list(panes.problems(client)) == []


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (("HSET", "bench:g:spring", "0", "3"), "spring, pane 0: 3 instead of 2"),
        (("HDEL", "bench:g:spring", "0"), "spring, pane 0: None instead of 2"),
        (("HSET", "bench:g:summer", "20000", "0"), "summer, pane 20000: 0 instead of None"),
        (("HSET", "bench:g:autumn", "0", "1"), "campaign autumn is not in the input"),
        (("DEL", "bench:g:summer"), "summer, pane 0: None instead of 5"),
    ],
)
def test_a_wrong_cell_is_told(client: Any, panes: Check, mistake: tuple[str, ...], told: str) -> None:
    client.execute_command(*mistake)
    assert list(panes.problems(client)) == [told]


def test_a_look_says_how_far_it_is(client: Any, panes: Check) -> None:
    client.delete("bench:g:summer")
    assert panes.look(client) == 3 / 8
    client.hset("bench:g:summer", "0", 50)
    assert panes.look(client) > 1


def test_right_totals_are_right_but_for_the_last_digit(client: Any, totals: Check) -> None:
    client.hset("engagement:metrics:all:all", "total.chat_wait_seconds", "1.1000000000000003")
    assert totals.look(client) == 1
    assert list(totals.problems(client)) == []


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (
            ("HSET", "campaign:spring", "total.deliveries", "4"),
            "campaign:spring, total.deliveries: 4 instead of 3",
        ),
        (
            ("HDEL", "campaign:spring", "total.deliveries"),
            "campaign:spring, total.deliveries: None instead of 3",
        ),
        (
            ("HSET", "all:all", "total.chat_wait_seconds", "1.2"),
            "all:all, total.chat_wait_seconds: 1.2 instead of 1.1",
        ),
        (("HSET", "segment:new", "total.deliveries", "1"), "segment:new is not in the input"),
    ],
)
def test_a_wrong_total_is_told(client: Any, totals: Check, mistake: tuple[str, ...], told: str) -> None:
    command, key, *rest = mistake
    client.execute_command(command, f"engagement:metrics:{key}", *rest)
    assert list(totals.problems(client)) == [told]


def test_a_limit_has_read_everything_or_not(client: Any) -> None:
    check = ReadCheck("g", 10)
    assert check.look(client) == 0
    client.set("bench:g", 9)
    assert list(check.problems(client)) == ["9 records read instead of 10"]
    client.set("bench:g", 10)
    assert list(check.problems(client)) == []
