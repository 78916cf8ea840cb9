"""Snapshots: the live metrics of one key as users see them. Pure; stands behind the merger."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import orjson

from stream_app.clock import to_rfc3339
from stream_app.metrics.catalogue import TOTAL, WINDOWS, Dimension, rates_of
from stream_app.metrics.cells import Cell, shown
from stream_app.metrics.rates import RateValue, rate_of
from stream_app.metrics.windows import MergedKey

SHOWN_WINDOWS = (*WINDOWS, TOTAL)
_RATES = {dimension: rates_of(dimension) for dimension in Dimension}


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
            rates = {
                rate: {"value": value, "numerator": top, "denominator": bottom, "low": low, "high": high}
                for rate, (value, top, bottom, low, high) in view.rates.items()
            }
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
    windows: dict[str, WindowView] = {}
    shorter: Cell = {}
    view: WindowView | None = None
    for window in SHOWN_WINDOWS:
        cell = merged.window(window)
        if view is None or cell != shorter:  # a young key's windows are alike
            view = _view(dimension, cell)
        windows[window], shorter = view, cell
    return Snapshot(dimension.value, name, merged.as_of_ms, watermark_ms, windows)


def _view(dimension: Dimension, cell: Cell) -> WindowView:
    counts = shown(dimension, cell)
    plain = cast(dict[str, float], counts)  # no rate is of an amount
    return WindowView(counts, {rate.name: rate_of(rate, plain) for rate in _RATES[dimension]})
