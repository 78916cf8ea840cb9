"""Snapshots: the live metrics of one key as users see them. Pure; stands behind the merger."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from stream_app.clock import to_rfc3339
from stream_app.metrics.catalogue import TOTAL, WINDOWS, Dimension, rates_of
from stream_app.metrics.cells import numbers, shown
from stream_app.metrics.rates import RateValue, rate_of
from stream_app.metrics.windows import MergedKey

SHOWN_WINDOWS = (*WINDOWS, TOTAL)


class WindowView(NamedTuple):
    """One window: its counts (amounts per currency) and its rates, by name."""

    counts: dict[str, float | dict[str, float]]
    rates: dict[str, RateValue]


class Snapshot(NamedTuple):
    """The metrics of one key at a time; ``dimension`` and ``key`` name it, times are milliseconds."""

    dimension: str
    key: str
    as_of_ms: int
    watermark_ms: int
    windows: dict[str, WindowView]

    def to_json(self) -> bytes:
        """The snapshot as it goes to the ``metrics`` topic."""
        windows: dict[str, Any] = {}
        for name, view in self.windows.items():
            rates = {rate: value._asdict() for rate, value in view.rates.items()}
            windows[name] = {"counts": view.counts, "rates": rates}
        return orjson.dumps(
            {
                "dimension": self.dimension,
                "key": self.key,
                "as_of": to_rfc3339(self.as_of_ms),
                "watermark": to_rfc3339(self.watermark_ms),
                "windows": windows,
            }
        )


def split_key(full_key: str) -> tuple[Dimension, str]:
    """Dimension and name of a key such as ``campaign:spring-sale``."""
    dimension, _, name = full_key.partition(":")
    return Dimension(dimension), name


def take_snapshot(full_key: str, merged: MergedKey, watermark_ms: int) -> Snapshot:
    """The snapshot of a key as of its edge."""
    dimension, name = split_key(full_key)
    windows = {}
    for window in SHOWN_WINDOWS:
        cell = merged.window(window)
        counts = numbers(cell)
        rates = {rate.name: rate_of(rate, counts) for rate in rates_of(dimension)}
        windows[window] = WindowView(shown(dimension, cell), rates)
    return Snapshot(dimension.value, name, merged.as_of_ms, watermark_ms, windows)
