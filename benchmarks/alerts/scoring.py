"""The score of the Numenta Anomaly Benchmark (NAB), written from its paper.

Lavin and Ahmad: Evaluating Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark (ICMLA 2015),
section II. A detector gives every reading a score; a reading at or above a threshold is a detection. In a labelled
window only the earliest detection counts, and the earlier the more; one outside costs the more, the farther it is behind
the last window; a window without any costs a whole one. The sum is set between a detector that says nothing (0) and one
that says everything at once and nothing else (100). Where the paper is silent, this does as NAB 1.1 does: positions are in
readings, a window's last reading still gains a little, and the probation (15 % of a series) is 750 readings at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.alerts.corpus import Window

NOWHERE = math.inf
"""A threshold that nothing reaches."""

_PROBATION = 0.15
_LONGEST_PROBATION = 750
_FAR = 3.0  # widths behind a window, from where on nothing is forgiven


@dataclass(frozen=True, slots=True)
class Profile:
    """What each kind of outcome weighs."""

    true_positive: float
    false_positive: float
    false_negative: float


STANDARD = Profile(true_positive=1.0, false_positive=0.11, false_negative=1.0)


class Scored(NamedTuple):
    """A detector's scores of a series, beside what NAB thinks of each reading: what a detection there is worth, and which
    window it is in (None: outside). Readings of the probation are left out."""

    scores: Sequence[float]
    worth: Sequence[float]
    windows: Sequence[int | None]


class Best(NamedTuple):
    """The threshold at which the sum over the whole corpus is highest, and that sum normalised; see ``score_at``."""

    threshold: float
    score: float | None


def probation(readings: int) -> int:
    """How many readings at the start are for learning and are not scored."""
    return min(math.floor(_PROBATION * readings), _LONGEST_PROBATION)


def sigmoid_worth(position: float) -> float:
    """The worth of a detection by its position relative to a window: -1 is its beginning, 0 its end; behind it, in
    widths of the window. Nearly 1 at the beginning, 0 at the end, nearly -1 a width behind. (The paper's equation 1 with
    the weights 1 and -1; the profile's are applied after it.)"""
    return -1.0 if position >= _FAR else 2 / (1 + math.exp(5 * position)) - 1


def weigh(
    scores: Sequence[float], windows: Sequence[Window], profile: Profile = STANDARD, skip: int | None = None
) -> Scored:
    """Put beside every score what a detection there is worth; ``skip`` readings are not scored (the probation)."""
    start = probation(len(scores)) if skip is None else skip
    worth: list[float] = []
    inside: list[int | None] = []
    upcoming = 0
    for place in range(len(scores)):
        while upcoming < len(windows) and windows[upcoming].last < place:
            upcoming += 1
        if upcoming < len(windows) and windows[upcoming].first <= place:
            worth.append(_worth_inside(windows[upcoming], place) * profile.true_positive)
            inside.append(upcoming)
        else:
            last = windows[upcoming - 1] if upcoming else None
            worth.append(_worth_outside(last, place) * profile.false_positive)
            inside.append(None)
    return Scored(scores[start:], worth[start:], inside[start:])


def score_at(corpus: Sequence[Scored], threshold: float, profile: Profile = STANDARD) -> float | None:
    """The normalised score of a corpus at a threshold; None where it has no window to find."""
    return _normalised(sum(_sum_at(series, threshold, profile) for series in corpus), corpus, profile)


def best_threshold(corpus: Sequence[Scored], profile: Profile = STANDARD) -> Best:
    """The threshold that suits a corpus best, one for all of its series, as NAB chooses it."""
    readings = sorted(
        (
            (score, worth, (number, window) if window is not None else None)
            for number, series in enumerate(corpus)
            for score, worth, window in zip(*series, strict=True)
        ),
        key=lambda reading: -reading[0],
    )
    found = {reading[2]: -profile.false_negative for reading in readings}
    total = best = -profile.false_negative * window_count(corpus)
    threshold = NOWHERE
    for place, (score, worth, window) in enumerate(readings):
        if window is None:
            total += worth
        elif worth > found[window]:
            total += worth - found[window]
            found[window] = worth
        is_last_of_its_score = place + 1 == len(readings) or readings[place + 1][0] < score
        if is_last_of_its_score and total > best:
            threshold, best = score, total
    return Best(threshold, _normalised(best, corpus, profile))


def window_count(corpus: Iterable[Scored]) -> int:
    """How many windows can be found; one that ends within the probation cannot."""
    return sum(len(set(series.windows) - {None}) for series in corpus)


def _sum_at(series: Scored, threshold: float, profile: Profile) -> float:
    found = {window: -profile.false_negative for window in series.windows if window is not None}
    outside = 0.0
    for score, worth, window in zip(*series, strict=True):
        if score >= threshold:
            if window is None:
                outside += worth
            else:
                found[window] = max(found[window], worth)
    return outside + sum(found.values())


def _normalised(total: float, corpus: Sequence[Scored], profile: Profile) -> float | None:
    windows = window_count(corpus)
    if not windows:
        return None
    null = -profile.false_negative * windows
    return 100 * (total - null) / (profile.true_positive * windows - null)


def _worth_inside(window: Window, place: int) -> float:
    width = window.last - window.first + 1
    return sigmoid_worth(-(window.last - place + 1) / width) / sigmoid_worth(-1)


def _worth_outside(last: Window | None, place: int) -> float:
    if last is None:
        return -1.0
    return sigmoid_worth((place - last.last) / max(1, last.last - last.first))
