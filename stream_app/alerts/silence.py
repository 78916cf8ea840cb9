"""What a rule over silence sees: a count that used to come has had nothing for a time. Pure.

Stands beside ``detection``. "Used to come" is the rule's minimum a day, at the pace of the part of the longest window
that lies before the silence. When that whole window is empty, the silence is what is usual, and an alert is over:
nothing that ended a day ago wakes anybody for ever.
"""

from __future__ import annotations

from stream_app.alerts.observation import Evidence, Look, Observation
from stream_app.alerts.rule import Rule
from stream_app.alerts.rule_reading import LONGEST_WINDOW
from stream_app.clock import MINUTE_MS, SECOND_MS
from stream_app.metrics.catalogue import LONGEST_WINDOW_MS

_LOOK_AGAIN_MS = 10 * MINUTE_MS


def observe_silence(rule: Rule, look: Look, as_of_ms: int) -> Observation:
    """Judge a rule over silence. The value is the length of the silence in seconds, the numerator what the count came to
    in the longest window.

    Raises:
        KeyError: the longest window lacks the rule's count.
    """
    count = look(LONGEST_WINDOW)[rule.metric]
    last_ms = look.last_ms(rule.metric)
    if last_ms is None:
        return Observation(None, count, None, None, None, None, Evidence.QUIET, None, None)
    silent_ms = max(0, as_of_ms - last_ms)
    silent = silent_ms / SECOND_MS
    reached = [severity for severity, level in rule.levels if silent >= level]
    held = reached[-1] if reached else None
    enough = count >= rule.minimum_evidence * (1 - silent_ms / LONGEST_WINDOW_MS)
    evidence = Evidence.ENOUGH if enough or held else Evidence.THIN
    return Observation(silent, count, None, None, None, None, evidence, held if enough else None, held)


def silence_due_ms(rule: Rule, look: Look, now_ms: int) -> int | None:
    """When silence may next come true if nothing comes: at the mildest level; where that has passed without an alert,
    every ten minutes, as a rule may be new, and what came before may be enough evidence later. None where nothing is
    awaited."""
    last_ms = look.last_ms(rule.metric)
    if last_ms is None:
        return None
    breaks_ms = last_ms + round(rule.levels[0][1] * SECOND_MS)
    return breaks_ms if breaks_ms > now_ms else (now_ms // _LOOK_AGAIN_MS + 1) * _LOOK_AGAIN_MS
