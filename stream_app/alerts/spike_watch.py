"""What a rule over a spike sees: each complete interval of a count, judged once and then learned. Pure.

Stands between the merged numbers and ``spikes``, which knows what is usual. Histories lie on the same shelf as the
numbers and the alerts, so that after a crash an interval is neither learned twice nor missed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from stream_app.alerts.observation import Evidence, Look, Observation
from stream_app.alerts.rule import Rule
from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from stream_app.alerts.spikes import SpikeObservation, catch_up, observe
from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, WINDOWS
from stream_app.metrics.merge import HISTORY_KIND
from stream_app.state.shelf import Drawer, Shelf

EVIDENCE_INTERVALS: Final = 3
"""A rule's window is the interval that is judged; so many of them are the evidence."""

_SEPARATOR = "\0"


class SpikeWatch:
    """The histories of one shelf, by rule and key (``dimension:key``)."""

    def __init__(self, shelf: Shelf) -> None:
        self._histories = Drawer(shelf, HISTORY_KIND, SpikeHistory)

    def observe(self, rule: Rule, full_key: str, look: Look) -> list[tuple[int, Observation]]:
        """The ends of the intervals that have become complete since the last call, each with what the rule saw then.

        A key that is seen for the first time begins with the last complete interval. What lies further back than the
        longest window is taken for silence: nothing can have happened there without a call.
        """
        settings = settings_of(rule)
        length_ms = settings.interval_ms
        end_ms = look.complete_ms() // length_ms * length_ms
        name = _name(rule, full_key)
        history = self._histories.get(name) or SpikeHistory()
        if end_ms <= max(history.next_ms, length_ms):
            return []
        reach_ms = length_ms * settings.long_intervals
        catch_up(settings, history, end_ms - LONGEST_WINDOW_MS + reach_ms)
        observations = []
        for start_ms in range(history.next_ms or end_ms - length_ms, end_ms, length_ms):
            begins = range(start_ms + length_ms - reach_ms, start_ms + length_ms, length_ms)
            counts = [_count(rule, look, begin_ms, begin_ms + length_ms) for begin_ms in begins]
            seen = observe(settings, history, start_ms, counts)
            observations.append((start_ms + length_ms, _observation(rule, seen)))
        self._histories.put(name, history)
        return observations

    def due_ms(self, rule: Rule, full_key: str, look: Look) -> int | None:
        """When the interval of the newest event is complete; None where it has been judged, or there is none."""
        last_ms = look.last_ms(rule.metric)
        history = self._histories.get(_name(rule, full_key))
        if last_ms is None:
            return None
        length_ms = settings_of(rule).interval_ms
        end_ms = -(-last_ms // length_ms) * length_ms
        return None if history is not None and history.next_ms >= end_ms else end_ms


@lru_cache(maxsize=1_000)
def settings_of(rule: Rule) -> SpikeSettings:
    """How a rule's counts are cut."""
    return SpikeSettings(WINDOWS[rule.window], EVIDENCE_INTERVALS, rule.minimum_evidence)


def _count(rule: Rule, look: Look, begin_ms: int, end_ms: int) -> int:
    """Of a key that was forgotten in between, more may be taken back than it has."""
    return max(0, round(look.count_between(rule.metric, begin_ms, end_ms)))


def _observation(rule: Rule, seen: SpikeObservation) -> Observation:
    """The count and what was expected instead of it, each of the long window."""
    mildest = rule.levels[0][1]
    fires = [severity for severity, level in rule.levels if seen.fires_at(level)]
    holds = [severity for severity, level in rule.levels if seen.holds_at(level / mildest * rule.resolve)]
    enough = seen.expected is not None and seen.value >= rule.minimum_evidence
    return Observation(
        value=float(seen.value),
        numerator=float(seen.value),
        denominator=None,
        low=None,
        high=None,
        baseline=seen.expected,
        evidence=Evidence.ENOUGH if enough else Evidence.THIN,
        severity=fires[-1] if fires else None,
        held=holds[-1] if holds else None,
        chance=seen.probability,
    )


def _name(rule: Rule, full_key: str) -> str:
    return f"{full_key}{_SEPARATOR}{rule.name}"
