"""Whether alerts reach people, and in words why not: what ``stream-app notify`` serves at /ready. Pure.

*Ready*: every target has its partitions, knows what fires, and takes what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.notifiers.backlog import ROOM, Tally

SILENCE_MS: Final = 15 * SECOND_MS
"""So long Kafka may say nothing, which answers twice a second as a rule."""


@dataclass(frozen=True, slots=True)
class State:
    """How one target is doing, at one moment. Times are milliseconds of the clock, None where there is none."""

    name: str
    has_joined: bool = True
    in_history: bool = False
    waiting: int = 0
    failing_since_ms: int | None = None
    problem: str = ""
    kafka_answered_ms: int | None = None
    tally: Tally = field(default_factory=Tally)
    unreadable: int = 0


def readiness(states: Sequence[State], now_ms: int) -> tuple[int, dict[str, Any]]:
    """The HTTP status and body of /ready."""
    reasons = [f"{state.name}: {reason}" for state in states for reason in _reasons(state, now_ms)]
    status = "not ready" if reasons else "ready"
    body = {"status": status, "reasons": reasons, "targets": [_described(state) for state in states]}
    return 503 if reasons else 200, body


def silent_since_ms(state: State, now_ms: int) -> int | None:
    """Since when Kafka does not answer; None while it does, or is not asked because there is no room."""
    answered_ms = state.kafka_answered_ms
    if answered_ms is None or state.waiting >= ROOM or now_ms - answered_ms <= SILENCE_MS:
        return None
    return answered_ms


def _reasons(state: State, now_ms: int) -> Iterator[str]:
    """What keeps one target from being told."""
    if not state.has_joined:
        yield "waiting for its share of the alert topics"
    elif state.in_history:
        yield "reading what was told before"
    silent_since = silent_since_ms(state, now_ms)
    if silent_since is not None:
        yield f"cannot reach Kafka since {to_rfc3339(silent_since)}"
    if state.failing_since_ms is not None:
        since = to_rfc3339(state.failing_since_ms)
        yield f"takes nothing since {since}, {state.waiting} waiting: {state.problem}"


def _described(state: State) -> dict[str, Any]:
    since = state.failing_since_ms
    return {
        "name": state.name,
        "waiting": state.waiting,
        "delivered": state.tally.delivered,
        "given_up": state.tally.given_up,
        "superseded": state.tally.superseded,
        "unreadable": state.unreadable,
        "failing_since": None if since is None else to_rfc3339(since),
        "problem": state.problem or None,
    }
