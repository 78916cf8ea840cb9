"""Reads series and their labelled windows from a directory laid out as the Numenta Anomaly Benchmark's (NAB).

``data/<category>/<name>.csv`` has the columns ``timestamp`` and ``value``; ``labels/combined_windows.json`` the first and
last time of each window by ``<category>/<name>.csv``, and ``labels/combined_labels.json`` the labelled instants.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import msgspec

from stream_app.clock import MINUTE_MS, from_datetime, to_rfc3339

_DIVISORS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)  # minutes that divide an hour
_THOUSANDTHS = 1000
_Labels = TypeVar("_Labels")


class Window(NamedTuple):
    """The places of a labelled window's first and last reading."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series as a rule on counts sees it. Times are milliseconds; ``interval_ms`` is the usual time between two.

    ``counts`` are the values as they are where all are whole numbers; other values are no counts, and are read as whole
    thousandths. A negative value is read as 0, as no count can be below.
    """

    name: str
    times_ms: list[int]
    counts: list[int]
    are_counts: bool
    interval_ms: int
    windows: list[Window]
    labels_ms: list[int]

    @property
    def category(self) -> str:
        """The directory it is in."""
        return self.name.partition("/")[0]


def read_corpus(directory: Path) -> list[Series]:
    """Every series of a directory, by name.

    Raises:
        SystemExit: there is none, or a file is not what it should be; the message says which.
    """
    windows = _labels(directory / "labels" / "combined_windows.json", dict[str, list[tuple[str, str]]])
    instants_file = directory / "labels" / "combined_labels.json"
    instants = _labels(instants_file, dict[str, list[str]]) if instants_file.exists() else {}
    files = sorted((directory / "data").glob("*/*.csv"))
    if not files:
        raise SystemExit(
            f"alerts: {directory} has no data/<category>/<name>.csv; name a directory laid out as NAB's"
        )
    found = []
    for path in files:
        name = f"{path.parent.name}/{path.name}"
        try:
            found.append(_series(path, name, windows.get(name, []), instants.get(name, [])))
        except (KeyError, ValueError, OverflowError) as problem:
            raise SystemExit(
                f"alerts: {path} is no series with the columns timestamp and value: {problem}"
            ) from None
    return found


def series_of(
    name: str,
    times_ms: Sequence[int],
    values: Sequence[float],
    windows_ms: Sequence[tuple[int, int]],
    labels_ms: Sequence[int] = (),
) -> Series:
    """A series from its readings, and its windows by their first and last time.

    Raises:
        ValueError: fewer than two readings, a value that is no number, or a window without a reading.
    """
    if len(times_ms) < 2:
        raise ValueError("a series needs two readings")
    gaps = [later - earlier for earlier, later in pairwise(times_ms)]
    are_counts = all(float(value).is_integer() for value in values)
    unit = 1 if are_counts else _THOUSANDTHS
    return Series(
        name=name,
        times_ms=list(times_ms),
        counts=[max(0, round(value * unit)) for value in values],
        are_counts=are_counts,
        interval_ms=_interval(median(gaps)),
        windows=[_window(times_ms, *edges) for edges in sorted(windows_ms)],
        labels_ms=sorted(labels_ms),
    )


def _interval(gap_ms: float) -> int:
    """The nearest length that divides an hour; nothing is read more rarely than by the hour."""
    return min((minutes * MINUTE_MS for minutes in _DIVISORS), key=lambda length: abs(length - gap_ms))


def _window(times_ms: Sequence[int], start_ms: int, end_ms: int) -> Window:
    """A window's places; in some series of the benchmark the clock is set back for an hour."""
    inside = [place for place, time_ms in enumerate(times_ms) if start_ms <= time_ms <= end_ms]
    if not inside:
        raise ValueError(f"no reading is in its window from {to_rfc3339(start_ms)} to {to_rfc3339(end_ms)}")
    return Window(inside[0], inside[-1])


def _series(path: Path, name: str, windows: list[tuple[str, str]], labels: list[str]) -> Series:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(_time(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    times, values = [time for time, _ in rows], [value for _, value in rows]
    edges = [(_time(start), _time(end)) for start, end in windows]
    return series_of(name, times, values, edges, [_time(label) for label in labels])


def _time(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _labels(path: Path, kind: type[_Labels]) -> _Labels:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as problem:
        raise SystemExit(
            f"alerts: {path} cannot be read ({problem.strerror}); name a directory laid out as NAB's"
        ) from None
    except msgspec.DecodeError as problem:
        raise SystemExit(f"alerts: {path} is not NAB's file of labels: {problem}") from None
