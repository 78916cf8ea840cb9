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
    """What the events of one run cost, without the start; and how many cores the servers had busy during all of it."""

    events_a_second: float
    microseconds: float
    broker_cores: float
    redis_cores: float


@dataclass(frozen=True)
class Figures:
    """A contestant's laps, by round; a run that was not right has none."""

    contestant: str
    input: str
    records: int
    runs: int
    laps: dict[int, Lap]
    problems: tuple[str, ...]

    def spread(self, of: Callable[[Lap], float]) -> Spread:
        """One figure over all laps."""
        return spread(map(of, self.laps.values()))

    def ratios(self, other: Figures, of: Callable[[Lap], float]) -> Spread | None:
        """The other's figure by this one's, over the rounds that both have."""
        both = sorted(self.laps.keys() & other.laps.keys())
        return spread(of(other.laps[n]) / of(self.laps[n]) for n in both) if both else None


def spread(values: Iterable[float]) -> Spread:
    """Median, least and most."""
    held = list(values)
    return Spread(statistics.median(held), min(held), max(held))


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
    # A run that took no longer than the start did is too short to say anything; the least that a clock shows.
    seconds = max(run.seconds - start.seconds, 0.01)
    cpu = max(run.cpu_seconds - start.cpu_seconds, 0.01)
    return Lap(
        records / seconds,
        cpu * 1e6 / records,
        run.broker_cpu_seconds / run.seconds,
        run.redis_cpu_seconds / run.seconds,
    )
