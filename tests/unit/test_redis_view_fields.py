"""What stands in Redis for each thing that is shown."""

from __future__ import annotations

import pytest

from stream_app.clock import DAY_MS
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import Cell
from stream_app.metrics.snapshots import Snapshot, take_snapshot
from stream_app.metrics.windows import MergedKey
from stream_app.sinks.redis_commands import commands_of, has_run_empty, place_of_alert, type_of
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert, snapshot_fields

NOW = 1_700_000_000_000
ONE_DELIVERY: Cell = {0: 1}


def snapshot(watermark_ms: int = NOW, silent_ms: int = 0) -> Snapshot:
    """A key with one delivery at NOW, and then silent for so long by its own edge."""
    merged = MergedKey()
    merged.reach(NOW)
    merged.change_total(ONE_DELIVERY)
    merged.change_pane(NOW // PANE_MS, ONE_DELIVERY)
    merged.advance((NOW + silent_ms) // PANE_MS + 1)
    return take_snapshot("campaign:a", merged, watermark_ms)


def test_fields_are_text_and_an_unknown_rate_is_empty() -> None:
    fields = snapshot_fields(snapshot())
    assert fields["1m.deliveries"] == fields["total.deliveries"] == b"1"
    assert fields["1m.open_rate"] == b"0.0"
    assert fields["1m.ctor"] == b""
    assert fields["as_of"].endswith(b"Z")


def test_only_a_change_moves_a_key_in_the_index() -> None:
    changed, anew = (list(commands_of(snapshot(), "p:", 7, anew))[-1] for anew in (False, True))
    assert changed == ("ZADD", "p:index:campaign", 7, "a")
    assert anew == ("ZADD", "p:index:campaign", "NX", 7, "a")


@pytest.mark.parametrize(
    ("watermark_ms", "silent_ms", "empty"),
    [
        (NOW, 0, False),
        (NOW + 3 * DAY_MS, 0, False),  # its windows still hold something
        (NOW + 2 * DAY_MS, DAY_MS, False),  # empty, and not yet silent for longer than the longest window
        (NOW + 2 * DAY_MS + 2 * PANE_MS, DAY_MS, True),
    ],
)
def test_a_key_has_run_empty_a_day_after_its_last_window(
    watermark_ms: int, silent_ms: int, empty: bool
) -> None:
    assert has_run_empty(snapshot(watermark_ms, silent_ms)) is empty


@pytest.mark.parametrize(
    ("fingerprint", "data"),
    [
        (b"f", b""),
        (b"f", b"{"),
        (b"f", b"null"),
        (b"f", b"[]"),
        (b"f", b'"text"'),
        (b"f", b"{}"),
        (b"f", b"\xff"),
        (b"f", b'{"dimension":"customer","key":1}'),
        (b"f", b'{"dimension":null,"key":"k"}'),
        (b"\xff", b'{"dimension":"campaign","key":"k"}'),
    ],
)
def test_what_is_no_alert_has_no_place(fingerprint: bytes, data: bytes) -> None:
    assert place_of_alert(fingerprint, data) is None
    assert place_of_alert(b"f", b'{"dimension":"campaign","key":"k"}') == ("f", "campaign", "k")


def test_every_key_has_its_type() -> None:
    risk = CustomerRisk("c", 0.9, "x", (), 0, "vip")
    items = (snapshot(), FiringAlert("f", b"{}"), FiringAlert("f", None), risk)
    types = {
        command[1]: type_of(command)
        for item in items
        for command in commands_of(item, "", 0)
        if type_of(command)
    }
    assert types == {
        "metrics:campaign:a": "hash",
        "index:campaign": "zset",
        "alerts:firing": "hash",
        "churn": "zset",
        "churn:segment:vip": "zset",
        "churn:segments": "set",
        "customer:c": "hash",
    }


def test_a_customer_below_the_lowest_band_leaves_the_ranking() -> None:
    first, fields, _ = commands_of(CustomerRisk("c", 0.1, None, (), 0, "vip", "left"), "", 0)
    assert first == ("ZREM", "churn", "c")
    assert fields[fields.index("band") + 1] == ""
    assert fields[fields.index("stage") + 1] == "left"
