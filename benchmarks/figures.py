"""From runs to figures: speed and CPU of each contestant, medians with their spread, and ratios to ours.

What starting costs is measured by runs over almost nothing, and taken off: a figure is what the events cost.
Ratios are formed within a round, in which all ran under about the same conditions, and then the median is taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.race import Run

_SHORTEST_SECONDS = 1.0
_TICK_SECONDS = 0.01


@dataclass(frozen=True)
class Spread:
    """The median of some runs, with the least and the most."""

    median: float
    least: float
    most: float

    def shown(self, digits: int = 0) -> str:
        """As it stands in the table."""
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"


@dataclass(frozen=True)
class Lap:
    """What the events of one run cost, without the start (no speed, where that is too short to tell); and how many cores the servers had busy during all of it."""

    events_a_second: float | None
    microseconds: float
    broker_cores: float
    redis_cores: float


Figure = Callable[[Lap], float | None]


@dataclass(frozen=True)
class Figures:
    """A contestant's laps, by round; a run that was not right has none."""

    contestant: str
    input: str
    records: int
    runs: int
    laps: dict[int, Lap]
    problems: tuple[str, ...]

    def spread(self, of: Figure) -> Spread | None:
        """One figure over all laps that have it."""
        return _spread(of(lap) for lap in self.laps.values())

    def ratios(self, other: Figures, of: Figure) -> Spread | None:
        """The other's figure by this one's, over the rounds in which both have it."""
        both = sorted(self.laps.keys() & other.laps.keys())
        return _spread(_ratio(of(other.laps[number]), of(self.laps[number])) for number in both)


def speed(lap: Lap) -> float | None:
    """Events per second."""
    return lap.events_a_second


def cost(lap: Lap) -> float:
    """Microseconds of CPU per event."""
    return lap.microseconds


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def _spread(values: Iterable[float | None]) -> Spread | None:
    held = [value for value in values if value is not None]
    return Spread(statistics.median(held), min(held), max(held)) if held else None


def figures_of(starts: Sequence[Run], rounds: Sequence[tuple[int, Run]]) -> Figures:
    """A contestant's figures from its runs over almost nothing and its runs by round."""
    start = _Start(
        starts[0].records,
        statistics.median(run.seconds for run in starts),
        statistics.median(run.cpu_seconds for run in starts),
    )
    right = [(number, run) for number, run in rounds if run.problem is None]
    first = rounds[0][1]
    return Figures(
        first.contestant,
        first.input,
        first.records,
        len(rounds),
        {number: _lap(start, run) for number, run in right},
        tuple(run.problem for _, run in rounds if run.problem is not None),
    )


class _Start(NamedTuple):
    """What a run over almost nothing takes."""

    records: int
    seconds: float
    cpu_seconds: float


def _lap(start: _Start, run: Run) -> Lap:
    records = run.records - start.records
    seconds = run.seconds - start.seconds
    cpu = max(run.cpu_seconds - start.cpu_seconds, _TICK_SECONDS)
    return Lap(
        records / seconds if seconds >= _SHORTEST_SECONDS else None,
        cpu * 1e6 / records,
        run.broker_cpu_seconds / run.seconds,
        run.redis_cpu_seconds / run.seconds,
    )
