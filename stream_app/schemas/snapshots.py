"""The JSON Schema of a snapshot: the windows, counts and rates of one key.

Stands beside ``metrics/``: which counts and rates a dimension has comes from the catalogue. Fields
may be added to what goes out, so nothing here forbids unknown ones.
"""

from __future__ import annotations

from typing import Any

from stream_app.metrics.catalogue import (
    COUNTS,
    RATES,
    TOTAL,
    WINDOWS,
    Count,
    Dimension,
    Rate,
    Unit,
    counts_of,
    rates_of,
)
from stream_app.metrics.rates import rate_of
from stream_app.schemas.events import JSON_SCHEMA
from stream_app.schemas.fields import Json

ALL_WINDOWS = (*WINDOWS, TOTAL)
EMITTED_TIME: Json = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$",
}
"""A time as we write it: RFC 3339 in UTC with milliseconds."""
SHARE: Json = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def snapshot_schema() -> Json:
    """The value of a record on ``metrics``: the windows of one key, by dimension."""
    return {
        "$schema": JSON_SCHEMA,
        "title": "Snapshot",
        "description": "The live metrics of one campaign, segment, channel, or of all. A window w covers "
        "exactly as_of - w <= event_time < as_of; total is since the key was first seen.",
        "type": "object",
        "required": ["dimension", "key", "as_of", "watermark", "windows"],
        "properties": {
            "dimension": {"description": "what the key is one of", "enum": [str(one) for one in Dimension]},
            "key": {
                "description": "the campaign, segment or channel; all for all; <campaign>/<segment>, each "
                "percent-encoded, for campaign_segment",
                "type": "string",
            },
            "as_of": {"description": "the first pane edge after the key's newest event", **EMITTED_TIME},
            "watermark": {"description": "that of the slowest shard", **EMITTED_TIME},
            "windows": {
                "description": f"the counts and rates in {', '.join(ALL_WINDOWS)}",
                "type": "object",
                "required": list(ALL_WINDOWS),
            },
        },
        "additionalProperties": True,
        "allOf": [_windows_of(dimension) for dimension in Dimension],
        "$defs": {
            "proportion": _rate_schema("a rate with Wilson's 95 % interval", ["low", "high"]),
            "mean": _rate_schema("a mean; it carries no interval", []),
            **{count.name: _count_schema(count) for count in COUNTS},
            **{rate.name: _rate_reference(rate) for rate in RATES},
            **{str(dimension): _window_schema(dimension) for dimension in Dimension},
        },
        "examples": [_snapshot_example()],
    }


def _windows_of(dimension: Dimension) -> Json:
    windows = {"additionalProperties": {"$ref": f"#/$defs/{dimension}"}}
    return {
        "if": {"properties": {"dimension": {"const": str(dimension)}}},
        "then": {"properties": {"windows": windows}},
    }


def _window_schema(dimension: Dimension) -> Json:
    counts = {count.name: {"$ref": f"#/$defs/{count.name}"} for count in counts_of(dimension)}
    rates = {rate.name: {"$ref": f"#/$defs/{rate.name}"} for rate in rates_of(dimension)}
    return {
        "description": f"one window of the dimension {dimension}; every count is there, 0 included",
        "type": "object",
        "required": ["counts", "rates"],
        "properties": {
            "counts": {"type": "object", "required": list(counts), "properties": counts},
            "rates": {"type": "object", "required": list(rates), "properties": rates},
        },
    }


def _count_schema(count: Count) -> Json:
    if count.unit is Unit.AMOUNT:
        amount = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
        return {"description": f"{count.meaning}; without a currency under an empty name", **amount}
    kind = "number" if count.unit is Unit.SECONDS else "integer"
    least = {} if count.is_balance else {"minimum": 0}
    return {"description": count.meaning, "type": kind, **least}


def formula_of(rate: Rate) -> str:
    """A rate's formula, such as ``bounces / (deliveries + bounces)``."""
    below = " + ".join(rate.denominator)
    return f"{rate.numerator} / " + (f"({below})" if len(rate.denominator) > 1 else below)


def _rate_reference(rate: Rate) -> Json:
    return {
        "description": f"{rate.meaning}: {formula_of(rate)}",
        "$ref": "#/$defs/proportion" if rate.interval else "#/$defs/mean",
    }


def _rate_schema(description: str, interval: list[str]) -> Json:
    bound = SHARE if interval else {"type": "null"}
    return {
        "description": f"{description}; value is null where the denominator is 0",
        "type": "object",
        "required": ["value", "numerator", "denominator", *interval],
        "properties": {
            "value": {"type": ["number", "null"], "minimum": 0},
            "numerator": {"type": "number", "minimum": 0},
            "denominator": {"type": "number", "minimum": 0},
            "low": bound,
            "high": bound,
        },
    }


def _snapshot_example() -> Json:
    counts: dict[str, Any] = {count.name: 0 for count in counts_of(Dimension.CAMPAIGN)}
    counts |= {"deliveries": 1000, "clicks": 112, "unique_clicks": 100, "unique_engaged": 240}
    rates = {rate.name: rate_of(rate, counts)._asdict() for rate in rates_of(Dimension.CAMPAIGN)}
    return {
        "dimension": str(Dimension.CAMPAIGN),
        "key": "spring-sale",
        "as_of": "2026-11-22T10:00:10.000Z",
        "watermark": "2026-11-22T09:49:40.000Z",
        "windows": {window: {"counts": counts, "rates": rates} for window in ALL_WINDOWS},
    }
