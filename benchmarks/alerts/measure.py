"""What a detector's scores come to on a corpus: the benchmark's score, what was found and when, and false alerts a day.

The benchmark counts every reading at or above the threshold. A person gets an alert, not a reading: an alert begins
with a reading at or above the threshold that has none in the hour before it, and that hour's others belong to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.alerts.corpus import Series
from benchmarks.alerts.detectors import Detector
from benchmarks.alerts.scoring import Scored, best_threshold, probation, score_at, weigh, window_count
from stream_app.clock import DAY_MS, HOUR_MS

ALL = "all"
"""The category that holds every series."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One detector at one threshold, on the series of one category.

    ``score`` is the benchmark's, of readings; ``alert_score`` the same with only the first reading of each alert; None
    where there is no window.
    ``delay_hours`` is the median time from the beginning of a window to the first reading that finds it, and
    ``after_label_hours`` that from the labelled instant (below 0: before it); None where nothing was found. ``days`` is the
    time outside of windows.
    """

    detector: str
    category: str
    threshold: float
    score: float | None
    alert_score: float | None
    found: int
    windows: int
    false_alerts: int
    days: float
    delay_hours: float | None
    after_label_hours: float | None

    @property
    def false_a_day(self) -> float:
        """False alerts a day and series."""
        return self.false_alerts / self.days if self.days else 0.0


def first_of_alerts(series: Series, scores: Sequence[float]) -> list[float]:
    """The scores of readings that are higher than all of the hour before them, and 0 for the others: what is left at a
    threshold begins an alert, or makes it worse."""
    kept = []
    recent: list[tuple[int, float]] = []
    for time_ms, score in zip(series.times_ms, scores, strict=True):
        recent = [(then_ms, old) for then_ms, old in recent if time_ms - then_ms <= HOUR_MS]
        kept.append(score if all(old < score for _, old in recent) else 0.0)
        recent.append((time_ms, score))
    return kept


def alert_starts(series: Series, scores: Sequence[float], threshold: float) -> Iterator[int]:
    """The places at which alerts begin after the probation."""
    last_ms = None
    for place in range(probation(len(scores)), len(scores)):
        if scores[place] >= threshold:
            time_ms = series.times_ms[place]
            if last_ms is None or time_ms - last_ms > HOUR_MS:
                yield place
            last_ms = time_ms


class Measured:
    """One detector's scores of a corpus."""

    def __init__(self, detector: Detector, corpus: Sequence[Series]) -> None:
        self.detector = detector
        self.scores: Mapping[str, list[float]] = {series.name: detector.score(series) for series in corpus}
        self._corpus = corpus

    def categories(self) -> list[str]:
        """All of them together, then each."""
        return [ALL, *sorted({series.category for series in self._corpus})]

    def at_level(self, category: str) -> Outcome:
        """At the level that it is shipped or commonly used with."""
        return self._outcome(category, self.detector.level, self.detector.level)

    def at_best(self, category: str) -> Outcome:
        """At the threshold that suits the whole corpus best, as the benchmark has it; the score of alerts at their own."""
        everything = self._series(ALL)
        readings = best_threshold(self._readings(everything)).threshold
        return self._outcome(category, readings, best_threshold(self._alerts(everything)).threshold)

    def _outcome(self, category: str, threshold: float, alert_threshold: float) -> Outcome:
        corpus = self._series(category)
        readings = self._readings(corpus)
        delays, after_labels, false_alerts = [], [], 0
        for series in corpus:
            scores = self.scores[series.name]
            for first, found in _finds(series, scores, threshold):
                delays.append((series.times_ms[found] - series.times_ms[first]) / HOUR_MS)
                after_labels += _after_label(series, first, found)
            false_alerts += sum(
                not _inside(series, place) for place in alert_starts(series, scores, threshold)
            )
        return Outcome(
            detector=self.detector.name,
            category=category,
            threshold=threshold,
            score=score_at(readings, threshold),
            alert_score=score_at(self._alerts(corpus), alert_threshold),
            found=len(delays),
            windows=window_count(readings),
            false_alerts=false_alerts,
            days=sum(map(_days_outside, corpus)),
            delay_hours=median(delays) if delays else None,
            after_label_hours=median(after_labels) if after_labels else None,
        )

    def _series(self, category: str) -> list[Series]:
        return [series for series in self._corpus if category in (ALL, series.category)]

    def _readings(self, corpus: Sequence[Series]) -> list[Scored]:
        return [weigh(self.scores[series.name], series.windows) for series in corpus]

    def _alerts(self, corpus: Sequence[Series]) -> list[Scored]:
        return [weigh(first_of_alerts(series, self.scores[series.name]), series.windows) for series in corpus]


def _finds(series: Series, scores: Sequence[float], threshold: float) -> Iterator[tuple[int, int]]:
    """The first reading of each window that was found, and the reading that found it."""
    start = probation(len(scores))
    for first, last in series.windows:
        for place in range(max(first, start), last + 1):
            if scores[place] >= threshold:
                yield first, place
                break


def _after_label(series: Series, first: int, found: int) -> list[float]:
    """How long after the window's labelled instant it was found, where there is one."""
    window = next(window for window in series.windows if window.first == first)
    inside = [
        label for label in series.labels_ms if series.times_ms[first] <= label <= series.times_ms[window.last]
    ]
    return [(series.times_ms[found] - inside[0]) / HOUR_MS] if inside else []


def _inside(series: Series, place: int) -> bool:
    return any(first <= place <= last for first, last in series.windows)


def _days_outside(series: Series) -> float:
    """How long a series goes on after its probation and outside of its windows."""
    start = probation(len(series.times_ms))
    inside = sum(max(0, last + 1 - max(first, start)) for first, last in series.windows)
    step_ms = (series.times_ms[-1] - series.times_ms[0]) / (len(series.times_ms) - 1)
    return (len(series.times_ms) - start - inside) * step_ms / DAY_MS
