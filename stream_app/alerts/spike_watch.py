"""What a rule over a spike sees: each complete interval of a count, judged once and then learned. Pure.

Stands between the merged numbers and ``spikes``, which knows what is usual. Memories lie on the same shelf as the
numbers and the alerts, so that after a crash an interval is neither learned twice nor missed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from stream_app.alerts.observation import Evidence, Look, Observation
from stream_app.alerts.rule import Rule
from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from stream_app.alerts.spikes import SpikeObservation, catch_up, observe
from stream_app.metrics.catalogue import TOTAL, WINDOWS
from stream_app.metrics.merge import HISTORY_KIND
from stream_app.state.shelf import Drawer, Shelf

EVIDENCE_INTERVALS: Final = 3
"""A rule's window is the interval that is judged; so many of them are the evidence."""

_SEPARATOR = "\0"
_FAR_MS = 1 << 53  # behind every event


class SpikeMemory(msgspec.Struct, array_like=True):
    """What is remembered of one key: its history, and how many events it had had, in all, when that was last added to."""

    history: SpikeHistory
    counted: float = 0.0


class SpikeWatch:
    """The memories of one shelf, by rule and key (``dimension:key``)."""

    def __init__(self, shelf: Shelf) -> None:
        self._memories = Drawer(shelf, HISTORY_KIND, SpikeMemory)

    def observe(self, rule: Rule, full_key: str, look: Look) -> list[tuple[int, Observation]]:
        """The ends of the intervals that have become complete since the last call, each with what the rule saw then. A
        key that is seen for the first time begins with the last of them."""
        settings = settings_of(rule)
        length_ms, reach_ms = settings.interval_ms, settings.interval_ms * settings.long_intervals
        end_ms = look.complete_ms() // length_ms * length_ms
        memory = self._memories.get(_name(rule, full_key)) or SpikeMemory(SpikeHistory())
        history = memory.history
        first_ms = max(_round_up(look.held_from_ms() + reach_ms - length_ms, length_ms), length_ms)
        if end_ms <= max(history.next_ms, first_ms):
            return []
        start_ms = history.next_ms or end_ms - length_ms
        if start_ms < first_ms:
            _pass_over(settings, memory, first_ms, _counted_until(rule, look, first_ms))
            start_ms = first_ms
        observations = []
        for begin_ms in range(start_ms, end_ms, length_ms):
            edges = range(begin_ms + length_ms - reach_ms, begin_ms + length_ms, length_ms)
            counts = [_count(rule, look, edge, edge + length_ms) for edge in edges]
            seen = observe(settings, history, begin_ms, counts)
            observations.append((begin_ms + length_ms, _observation(rule, seen)))
        memory.counted = _counted_until(rule, look, end_ms)
        self._memories.put(_name(rule, full_key), memory)
        return observations

    def due_ms(self, rule: Rule, full_key: str, look: Look) -> int | None:
        """When the interval of the newest event is complete; None where it has been judged, or there is none."""
        last_ms = look.last_ms(rule.metric)
        memory = self._memories.get(_name(rule, full_key))
        if last_ms is None:
            return None
        end_ms = _round_up(last_ms, settings_of(rule).interval_ms)
        return None if memory is not None and memory.history.next_ms >= end_ms else end_ms


@lru_cache(maxsize=1_000)
def settings_of(rule: Rule) -> SpikeSettings:
    """How a rule's counts are cut."""
    return SpikeSettings(WINDOWS[rule.window], EVIDENCE_INTERVALS, rule.minimum_evidence)


def _pass_over(settings: SpikeSettings, memory: SpikeMemory, until_ms: int, counted: float) -> None:
    """Go on behind a time whose panes are no longer held, as after a long silence or while much is caught up with. Where
    nothing was counted meanwhile it was silence, and is learned; otherwise it stays unknown."""
    if counted == memory.counted:
        catch_up(settings, memory.history, until_ms)


def _counted_until(rule: Rule, look: Look, time_ms: int) -> float:
    """How many events a key had had, in all, up to a time whose panes are held."""
    return look(TOTAL)[rule.metric] - look.count_between(rule.metric, time_ms, _FAR_MS)


def _round_up(time_ms: int, length_ms: int) -> int:
    return -(-time_ms // length_ms) * length_ms


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
