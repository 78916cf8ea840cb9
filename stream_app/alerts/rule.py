"""What an alert rule is: data, as a rules file has it. Stands before ``detection``; ``rules`` reads the file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from stream_app.alerts.churn import ChurnRule
from stream_app.metrics.catalogue import RATE_BY_NAME, Dimension, Rate

KINDS: Final = ("ctr", "optout", "abandonment", "service")
"""What a rule is about; names the topic its alerts go to."""
CHURN: Final = "churn"
SEVERITIES: Final = ("warning", "critical")
"""From mild to severe."""


class Condition(StrEnum):
    """What makes a rule fire.

    ``THRESHOLD``: a rate lies beyond a level. ``CHANGE``: a rate has moved from the key's own baseline by more than a
    share of it. ``SPIKE``: a count is far above what is usual at this hour. ``NO_DATA``: a count that used to come
    has had nothing for a time. ``ECHO_CHAMBER``: a campaign's click rate looks better than its predecessors' only because
    those who left no longer count.
    """

    THRESHOLD = "threshold"
    CHANGE = "change"
    SPIKE = "spike"
    NO_DATA = "no_data"
    ECHO_CHAMBER = "echo_chamber"


@dataclass(frozen=True, slots=True)
class Rule:
    """A watch over one metric of every key of one dimension.

    The metric is a count for ``SPIKE`` and ``NO_DATA``, a rate for the others. A rate is what ``numerator_window`` holds
    of its numerator over what ``denominator_window`` holds of its denominator; a count's two windows are the same.

    ``levels`` are (severity, level) from mild to severe: values of the rate; shares of the baseline (0.2 is a fifth of it);
    chances in a day that it is no spike; seconds of silence. ``resolve``, of the same kind, lies on the healthy side of
    the mildest level, and a firing alert ends there.

    ``minimum_evidence`` is the smallest denominator that is judged; for counts, the smallest count.
    ``wait_ms``, ``keep_firing_ms`` and ``repeat_ms`` are event time; 0 is none.
    """

    name: str
    kind: str
    condition: Condition
    dimension: Dimension
    metric: str
    numerator_window: str
    denominator_window: str
    direction: str
    levels: tuple[tuple[str, float], ...]
    resolve: float
    minimum_evidence: int
    wait_ms: int = 0
    keep_firing_ms: int = 0
    repeat_ms: int = 0
    keys: tuple[str, ...] = ()
    except_keys: tuple[str, ...] = ()
    runbook: str | None = None
    predecessors: int = 0
    """How many earlier campaigns an echo chamber is seen against."""

    @property
    def window(self) -> str:
        """The window the rule is about: the one that says what is new."""
        return self.numerator_window

    @property
    def rate(self) -> Rate:
        """The catalogue's definition of the metric.

        Raises:
            KeyError: the rule is over a count.
        """
        return RATE_BY_NAME[self.metric]

    def matches(self, key: str) -> bool:
        """Whether a key of the rule's dimension is watched: it fits one of ``keys``, which are shell patterns, or there
        are none; and none of ``except_keys``."""
        if self.except_keys and any(fnmatchcase(key, pattern) for pattern in self.except_keys):
            return False
        return not self.keys or any(fnmatchcase(key, pattern) for pattern in self.keys)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a file; ``churn`` is None where it has no churn table."""

    rules: tuple[Rule, ...]
    churn: ChurnRule | None

    def for_dimension(self, dimension: str) -> tuple[Rule, ...]:
        """The rules over the keys of a dimension, in the file's order."""
        return tuple(rule for rule in self.rules if rule.dimension == dimension)
