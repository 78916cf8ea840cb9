"""What ``stream-app notify`` serves at ``/metrics``. Pure; stands behind the states of its targets."""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.clock import SECOND_MS
from stream_app.notifiers.readiness import State
from stream_app.prometheus.exposition import Gathered, Sample, process_samples
from stream_app.prometheus.families import (
    NOTIFY_DELIVERED,
    NOTIFY_FAILING,
    NOTIFY_GIVEN_UP,
    NOTIFY_WAITING,
)


def notify_samples(states: Sequence[State], is_ready: bool, clock_ms: int) -> list[Gathered]:
    """Everything, at one moment."""
    return [
        *process_samples(is_ready),
        (NOTIFY_WAITING, [Sample(state.waiting, (state.name,)) for state in states]),
        (NOTIFY_DELIVERED, [Sample(state.tally.delivered, (state.name,)) for state in states]),
        (NOTIFY_GIVEN_UP, [Sample(state.tally.given_up, (state.name,)) for state in states]),
        (NOTIFY_FAILING, [Sample(_failing_seconds(state, clock_ms), (state.name,)) for state in states]),
    ]


def _failing_seconds(state: State, clock_ms: int) -> float:
    since_ms = state.failing_since_ms
    return 0.0 if since_ms is None else max(0, clock_ms - since_ms) / SECOND_MS
