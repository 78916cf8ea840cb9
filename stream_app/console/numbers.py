"""From the fields of a key's hash in Redis to what a page shows: counts, rates and their intervals. Pure.

Stands between ``reading`` and ``hub``. Nothing is counted here: a number is what Redis holds, and an interval what
its counts give (``metrics/rates.py``). What nobody can know is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from stream_app.clock import from_datetime
from stream_app.metrics.catalogue import (
    COUNT_BY_NAME,
    RATE_BY_NAME,
    TOTAL,
    Dimension,
    Unit,
    counts_of,
    rates_of,
)
from stream_app.metrics.rates import rate_of
from stream_app.metrics.snapshots import SHOWN_WINDOWS

Fields = Mapping[str, str | None]
"""A hash as Redis holds it: ``<window>.<name>`` to text."""

_LARGEST_EXACT: Final = 2**53  # above it JSON's readers do not tell one whole number from the next
_MACHINE: Final = ("machine_opens", "machine_clicks")
_BY_PEOPLE: Final = ("opens", "clicks")
_ROW_COUNTS: Final = (
    *("deliveries", "unique_opens", "unique_clicks", "unique_engaged", "optouts", "lost_before"),
    *_MACHINE,
    *_BY_PEOPLE,
)
CURVE_WINDOWS: Final = ("1h", "24h", TOTAL)
CURVE_COUNTS: Final = ("deliveries", "unique_opens", "unique_clicks", "optouts")
CAMPAIGN_CURVES: Final = tuple(f"{window}.{count}" for window in CURVE_WINDOWS for count in CURVE_COUNTS)
"""What is remembered of every campaign, for its curves."""
SPARK: Final = CAMPAIGN_CURVES.index("1h.unique_clicks")
"""Which of the curves is the sparkline."""
ALL_CURVES: Final = tuple(
    f"1h.{name}"
    for name in (
        *("deliveries", "unique_opens", "unique_clicks", "optouts"),
        *("carts_started", "carts_purchased", "carts_abandoned", "carts_recovered"),
        *("chats_started", "chats_answered", "chats_missed", "chat_wait_seconds"),
        *("tickets_opened", "tickets_resolved", "tickets_reopened", "ticket_resolution_seconds"),
    )
)
"""What is remembered of everything together."""
CAMPAIGN_FIELDS: Final = (
    "as_of",
    *dict.fromkeys([*(f"{TOTAL}.{name}" for name in _ROW_COUNTS), *CAMPAIGN_CURVES]),
)
"""What is read of every campaign; its own page reads the rest."""

_SEGMENT_COUNTS: Final = ("deliveries", "unique_opens", "unique_clicks", "unique_engaged", "optouts")
_SEGMENT_RATES: Final = ("open_rate", "ctr", "ctor", "optout_rate")
SEGMENT_FIELDS: Final = (
    "as_of",
    *(f"{window}.{count}" for window in CURVE_WINDOWS for count in _SEGMENT_COUNTS),
)
"""What is read of a campaign in a segment."""


class CampaignRow(NamedTuple):
    """A line of the table of campaigns, of the window ``total``; the page knows its fields by their order."""

    as_of_ms: int | None
    deliveries: float
    open_rate: float | None
    ctr: float | None
    ctor: float | None
    optout_rate: float | None
    optout_low: float | None
    optout_high: float | None
    ctr_adjusted: float | None
    machine_share: float | None
    """Of all opens and clicks, those by machines."""


def time_of(text: str | None) -> int | None:
    """Milliseconds since 1970 of a time as Redis has it; None where there is none."""
    try:
        return from_datetime(datetime.fromisoformat(text)) if text else None
    except (ValueError, TypeError):
        return None


def number_of(text: str | None) -> float:
    """A count; 0 where it is not there, as the view writes all counts of a key."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return int(value) if value.is_integer() and abs(value) < _LARGEST_EXACT else value


def campaign_row(fields: Fields) -> CampaignRow:
    """A campaign's line, from ``CAMPAIGN_FIELDS``."""
    counts = {name: number_of(fields.get(f"{TOTAL}.{name}")) for name in _ROW_COUNTS}
    rates = {
        name: rate_of(RATE_BY_NAME[name], counts)
        for name in ("open_rate", "ctr", "ctor", "optout_rate", "ctr_adjusted")
    }
    machines, people = (sum(counts[name] for name in names) for names in (_MACHINE, _BY_PEOPLE))
    return CampaignRow(
        time_of(fields.get("as_of")),
        counts["deliveries"],
        rates["open_rate"].value,
        rates["ctr"].value,
        rates["ctor"].value,
        rates["optout_rate"].value,
        rates["optout_rate"].low,
        rates["optout_rate"].high,
        rates["ctr_adjusted"].value,
        machines / (machines + people) if machines + people else None,
    )


def segment_view(fields: Fields) -> dict[str, dict[str, Any]]:
    """A campaign in a segment, from ``SEGMENT_FIELDS``: by window its deliveries, and its rates as ``[value, low, high]``."""
    view: dict[str, dict[str, Any]] = {}
    for window in CURVE_WINDOWS:
        counts = {name: number_of(fields.get(f"{window}.{name}")) for name in _SEGMENT_COUNTS}
        shown: dict[str, Any] = {"deliveries": counts["deliveries"]}
        for name in _SEGMENT_RATES:
            held = rate_of(RATE_BY_NAME[name], counts)
            shown[name] = [held.value, held.low, held.high]
        view[window] = shown
    return view


def curve_point(fields: Fields, names: tuple[str, ...]) -> list[float]:
    """The values of curves at this moment."""
    return [number_of(fields.get(name)) for name in names]


def key_view(
    dimension: Dimension, fields: Fields, windows: tuple[str, ...] = SHOWN_WINDOWS
) -> dict[str, Any]:
    """Everything about a key: its times, and by window its counts and its rates as ``[value, low, high]``."""
    return {
        "as_of": time_of(fields.get("as_of")),
        "watermark": time_of(fields.get("watermark")),
        "windows": {window: _window(dimension, fields, window) for window in windows},
    }


def _window(dimension: Dimension, fields: Fields, window: str) -> dict[str, Any]:
    """A count that is not there, as where an earlier version wrote the hash, is left out with its rates: it is not 0."""
    shown: dict[str, Any] = {}
    plain: dict[str, float] = {}
    for count in counts_of(dimension):
        text = fields.get(f"{window}.{count.name}")
        if text is None:
            continue
        if count.unit is Unit.AMOUNT:
            shown[count.name] = _amounts(text)
        else:
            shown[count.name] = plain[count.name] = number_of(text)
    for rate in rates_of(dimension):
        if plain.keys() >= {rate.numerator, *rate.denominator}:
            held = rate_of(rate, plain)
            shown[rate.name] = [held.value, held.low, held.high]
    return shown


def _amounts(text: str | None) -> dict[str, float]:
    try:
        held = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return held if isinstance(held, dict) else {}


def customer_view(held: Mapping[str, str]) -> dict[str, Any]:
    """A customer at risk: the hash of its name, and ``customer``, which it is."""
    try:
        reasons = orjson.loads(held.get("reasons") or "[]")
    except orjson.JSONDecodeError:
        reasons = []
    return {
        "customer": held["customer"],
        "score": number_of(held.get("score")),
        "band": held.get("band") or "",
        "segment": held.get("segment") or "",
        "stage": held.get("stage") or "",
        "reasons": reasons if isinstance(reasons, list) else [],
        "last_seen": time_of(held.get("last_seen")),
    }


def catalogue() -> dict[str, dict[str, str]]:
    """What the page says of each metric: its unit (``ratio``, ``seconds`` or a count's) and its meaning."""
    counts = {
        name: {"unit": count.unit.value, "meaning": count.meaning} for name, count in COUNT_BY_NAME.items()
    }
    rates = {
        name: {
            "unit": "ratio" if rate.interval or name == "ctr_adjusted" else "seconds",
            "meaning": rate.meaning,
            "formula": f"{rate.numerator} / {' + '.join(rate.denominator)}",
        }
        for name, rate in RATE_BY_NAME.items()
    }
    return counts | rates
