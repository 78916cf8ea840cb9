"""The console's pure parts: who may look, what is remembered, and what a page is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.console.access import SESSION_MS, Access, access_of, is_loopback
from stream_app.console.history import LONGEST_SPACING_MS, History
from stream_app.console.numbers import CAMPAIGN_FIELDS, CampaignRow, campaign_row, key_view
from stream_app.console.pipeline import Pipeline
from stream_app.console.reading import Seen
from stream_app.console.world import World
from stream_app.metrics.catalogue import Dimension
from stream_app.settings import SettingsError, load_settings

NOW = 1_700_000_000_000
TOKEN = "a-token-of-enough-length"


# --- Who may look ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "token", "is_open", "allowed"),
    [
        ("127.0.0.1:0", None, False, True),
        ("[::1]:0", None, False, True),
        ("localhost:0", None, False, True),
        ("0.0.0.0:0", None, False, False),
        ("192.168.1.7:0", None, False, False),
        ("0.0.0.0:0", TOKEN, False, True),
        ("0.0.0.0:0", None, True, True),
        ("0.0.0.0:0", "short", False, False),
    ],
)
def test_others_are_let_in_only_where_somebody_said_so(
    address: str, token: str | None, is_open: bool, allowed: bool
) -> None:
    settings = load_settings(console_http=address, console_token=token)
    if allowed:
        access_of(settings, is_open)
    else:
        with pytest.raises(SettingsError, match="STREAM_APP_CONSOLE_TOKEN") as problem:
            access_of(settings, is_open)
        assert "short" not in str(problem.value).partition(":")[0]


def test_a_token_is_never_shown() -> None:
    settings = load_settings(console_token=TOKEN)
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("host", ["localhost", "localhost:8585", "127.0.0.1:1", "[::1]:8585"])
def test_own_names_are_accepted(host: str) -> None:
    assert Access(None, own_names_only=True).accepts_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example:8585", "localhost.evil", "10.0.0.1"]
)
def test_a_name_that_points_here_from_elsewhere_is_refused(host: str) -> None:
    assert not Access(None, own_names_only=True).accepts_host(host)
    assert not is_loopback("evil.example")


def test_a_session_holds_until_it_ends_and_only_under_its_token() -> None:
    access, other = Access(TOKEN, False), Access(TOKEN + "x", False)
    cookie = access.new_session(NOW)
    assert access.accepts("", cookie, NOW + SESSION_MS - 1)
    assert not access.accepts("", cookie, NOW + SESSION_MS)
    assert not other.accepts("", cookie, NOW)
    ends, _, signature = cookie.partition(".")
    assert not access.accepts("", f"{int(ends) + 1}.{signature}", NOW)


@given(st.text())
def test_nothing_but_the_token_and_its_sessions_let_in(text: str) -> None:
    access = Access(TOKEN, False)
    assert access.accepts(f"Bearer {text}", "", NOW) is (text == TOKEN)
    assert not access.accepts(text, text, NOW)


# --- What is remembered ------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(2, 20).map(lambda half: 2 * half))
def test_the_memory_is_bounded_even_and_reaches_back_to_the_start(moments: int, most: int) -> None:
    history = History(1, most)
    for second in range(moments):
        clock_ms = NOW + second * SECOND_MS
        if history.is_due(clock_ms):
            history.note(clock_ms, {"a": [second], **({"b": [second]} if second > moments / 2 else {})})
    assert len(history.times) <= most
    assert history.times[0] == NOW
    assert {later - earlier for earlier, later in zip(history.times, history.times[1:], strict=False)} <= {
        history.spacing_ms
    }
    assert history.curve("a", 0) == [(time_ms - NOW) / SECOND_MS for time_ms in history.times]
    known = [value for value in history.curve("b", 0) if value is not None]
    assert known == sorted(known) and len(history.curve("b", 0)) in (0, len(history.times))


def test_after_a_day_the_oldest_go() -> None:
    history = History(1, 4)
    clock_ms = NOW
    while history.spacing_ms * 2 <= LONGEST_SPACING_MS or history.times[0] == NOW:
        history.note(clock_ms, {"a": [clock_ms]})
        clock_ms = history.times[-1] + history.spacing_ms
    assert history.curve("a", 0) == history.times
    history.note(clock_ms, {})
    assert history.curve("a", 0) == [None] * len(history.times)


@given(st.integers(0, 120), st.integers(1, 40))
def test_a_thin_curve_ends_where_the_whole_one_ends(moments: int, most: int) -> None:
    history = History(1)
    for second in range(moments):
        history.note(NOW + second * SECOND_MS, {"a": [second]})
    thin = history.thin_curve("a", 0, most)
    assert len(thin) <= most and thin[-1:] == history.curve("a", 0)[-1:]


# --- What a page is told -----------------------------------------------------------------------------------


def fields(**counts: int) -> dict[str, str | None]:
    held: dict[str, str | None] = dict.fromkeys(CAMPAIGN_FIELDS)
    held |= {f"total.{name}": str(count) for name, count in counts.items()}
    return held | {"as_of": to_rfc3339(NOW)}


def test_a_row_without_deliveries_knows_no_rate() -> None:
    row = campaign_row(fields())
    assert row == CampaignRow(NOW, 0, *[None] * 8)


def test_the_echo_chamber_is_in_the_row() -> None:
    row = campaign_row(fields(deliveries=900, unique_clicks=100, unique_engaged=200, lost_before=100))
    assert (row.ctr, row.ctr_adjusted) == (100 / 900, 0.1)


@given(st.dictionaries(st.sampled_from(CAMPAIGN_FIELDS), st.text() | st.none()))
def test_whatever_stands_in_redis_a_row_comes_of_it(held: dict[str, str | None]) -> None:
    orjson.dumps(list(campaign_row(held)))
    orjson.dumps(key_view(Dimension.ALL, held))


STRANGE = (
    "1e300",
    "nan",
    "-inf",
    "[]",
    '{"a": [1]}',
    '{"a": "b"}',
    '{"shards": ["x", {}]}',
    "\N{SNOWMAN}",
    "0x1",
    " 7 ",
)


@given(st.dictionaries(st.sampled_from(CAMPAIGN_FIELDS), st.sampled_from(STRANGE)))
def test_strange_numbers_are_numbers_or_nothing(held: dict[str, str | None]) -> None:
    orjson.dumps(list(campaign_row(held)))


def report(name: str, second: int, events: int, **changes: str) -> dict[str, str]:
    return {
        "name": name,
        "started_at": "t",
        "as_of": to_rfc3339(NOW + second * SECOND_MS),
        "events": orjson.dumps({"chats": events}).decode(),
        "lag": "3",
        "dead_letters": '{"late": 2}',
        **changes,
    }


def test_speeds_are_differences_of_one_start() -> None:
    pipeline = Pipeline()
    assert pipeline.take([report("a", 0, 100)])["speed"] == 0
    told = pipeline.take([report("a", 2, 300), report("b", 2, 50)])
    assert told["speeds"]["chats"] == 100 and told["lag"] == 6 and told["dead_letters"] == {"late": 4}
    assert pipeline.take([report("a", 4, 10, started_at="later")])["speed"] == 0


def test_churn_alerts_held_back_are_added_up_and_a_worker_that_does_not_tell_has_none() -> None:
    told = Pipeline().take(
        [report("a", 0, 0, churn_held_back="5"), report("b", 0, 0, churn_held_back="2"), report("c", 0, 0)]
    )
    assert told["churn_held_back"] == 7
    assert [worker["churn_held_back"] for worker in told["workers"]] == [5, 2, 0]


@given(
    st.dictionaries(
        st.sampled_from([*report("a", 0, 0), "flush_seconds"]), st.text() | st.sampled_from(STRANGE)
    )
)
def test_whatever_a_report_holds_it_is_read(held: dict[str, str]) -> None:
    orjson.dumps(Pipeline().take([held]))


def firing(fingerprint: str, severity: str, dimension: str = "campaign") -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "severity": severity,
        "dimension": dimension,
        "started_at": fingerprint,
    }


def test_only_what_differs_is_told() -> None:
    world = World()
    first = world.take(Seen(campaigns={"a": fields(deliveries=1)}), NOW)
    assert first["campaigns"]["a"][1] == 1
    assert "campaigns" not in world.take(Seen(campaigns={"a": fields(deliveries=1)}), NOW + 1)
    assert world.take(Seen(campaigns={"a": None}), NOW + 2)["campaigns"] == {"a": None}
    assert world.take(Seen(), NOW + 3) == {}


def test_alerts_are_in_order_and_what_fires_again_is_not_resolved() -> None:
    world = World()
    old = [firing(name, "warning") | {"state": "resolved", "told_at": NOW} for name in ("3", "5")]
    seen = Seen(
        firing=[firing("1", "warning"), firing("2", "critical"), firing("3", "critical"), firing("4", "critical", "customer")],
        changes=old,
    )  # fmt: skip
    told = world.take(seen, NOW)
    assert [alert["fingerprint"] for alert in told["alerts"]] == ["3", "2", "4", "1"]
    assert [alert["fingerprint"] for alert in told["resolved"]] == ["5"]
    assert told["firing"] == {"critical": 3, "warning": 1}
