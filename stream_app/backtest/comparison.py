"""What two rules files tell differently of the same events. Pure.

Stands behind two judges. Firings of the same alert (rule, dimension and key) belong together when they overlap in time;
what has no counterpart was told by one file only. An alert is compared as soon as neither file has it firing, so that
memory does not grow with what has fired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stream_app.alerts.lifecycle import AlertChange
from stream_app.backtest.firings import Firing, Firings
from stream_app.clock import SECOND_MS

ONLY_HERE, ONLY_THERE, DIFFERS, SAME = "only_rules", "only_compare", "differs", "same"


class Pair(NamedTuple):
    """A firing by the rules on trial and its counterpart by the others; one of the two may be missing."""

    here: Firing | None
    there: Firing | None

    @property
    def verdict(self) -> str:
        """Whether one is missing, or how they compare."""
        if self.here is None or self.there is None:
            return ONLY_THERE if self.here is None else ONLY_HERE
        return SAME if _face(self.here) == _face(self.there) else DIFFERS

    @property
    def shown(self) -> Firing:
        """The firing by the rules on trial, or the only one."""
        firing = self.here or self.there
        assert firing is not None
        return firing

    @property
    def begins_later_ms(self) -> int:
        """By how much the rules on trial fire later; negative: earlier. 0 where one is missing."""
        if self.here is None or self.there is None:
            return 0
        return self.here.began.as_of_ms - self.there.began.as_of_ms

    @property
    def ends_later_ms(self) -> int | None:
        """By how much they resolve later; None where one of the two did not."""
        ends = [None if firing is None else firing.ended_ms for firing in self]
        return None if ends[0] is None or ends[1] is None else ends[0] - ends[1]

    def to_json(self, now_ms: int) -> dict[str, Any]:
        """For a program."""
        shown, ends_later_ms = self.shown.began, self.ends_later_ms
        return {
            "found": self.verdict,
            "rule": shown.rule,
            "dimension": shown.dimension,
            "key": shown.key,
            "fires_later_seconds": self.begins_later_ms / SECOND_MS,
            "resolves_later_seconds": None if ends_later_ms is None else ends_later_ms / SECOND_MS,
            "rules": None if self.here is None else self.here.to_json(now_ms),
            "compare": None if self.there is None else self.there.to_json(now_ms),
        }


@dataclass
class _Cluster:
    """The firings of one alert by each file that may overlap one another."""

    firings: tuple[list[Firing], list[Firing]] = field(default_factory=lambda: ([], []))


class Comparison:
    """Finds the counterparts among the firings of two judges, numbered 0 and 1."""

    def __init__(self) -> None:
        self._firings = (Firings(), Firings())
        self._clusters: dict[str, _Cluster] = {}

    def tell(self, judge: int, change: AlertChange) -> Firing | None:
        """Take the next change; returns the firing that it ended, if it did."""
        ended = self._firings[judge].tell(change)
        if ended is not None:
            self._note(judge, ended)
        return ended

    def settle(self) -> Iterator[Pair]:
        """The pairs that are complete; to be called when both judges have told what they have to tell by now."""
        complete = [name for name in self._clusters if not any(side.is_open(name) for side in self._firings)]
        for name in complete:
            yield from _pairs(*self._clusters.pop(name).firings)

    def finish(self) -> tuple[list[Firing], list[Firing]]:
        """No more changes; returns what is still firing, which ``settle`` then pairs as well."""
        still = (self._firings[0].still_open(), self._firings[1].still_open())
        self._firings = (Firings(), Firings())
        for judge, firings in enumerate(still):
            for firing in firings:
                self._note(judge, firing)
        return still

    def _note(self, judge: int, firing: Firing) -> None:
        self._clusters.setdefault(firing.began.fingerprint, _Cluster()).firings[judge].append(firing)


def _pairs(here: list[Firing], there: list[Firing]) -> Iterator[Pair]:
    """Firings of one alert, each in order of time, with their counterparts."""
    left, right = list(here), list(there)
    while left and right:
        if _begins_behind(right[0], left[0]):
            yield Pair(left.pop(0), None)
        elif _begins_behind(left[0], right[0]):
            yield Pair(None, right.pop(0))
        else:
            yield Pair(left.pop(0), right.pop(0))
    yield from (Pair(firing, None) for firing in left)
    yield from (Pair(None, firing) for firing in right)


def _begins_behind(firing: Firing, other: Firing) -> bool:
    """Whether a firing begins when the other is over. One that ends in the instant it began still has its counterpart."""
    begins_ms, ends_ms = firing.began.as_of_ms, other.ended_ms
    return ends_ms is not None and begins_ms >= ends_ms and begins_ms > other.began.as_of_ms


def _face(firing: Firing) -> tuple[int, int | None, str]:
    """What makes two firings the same: when they began and ended, and how bad they were."""
    return firing.began.as_of_ms, firing.ended_ms, firing.severity
