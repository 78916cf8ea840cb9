"""The life of an alert: inactive → pending → firing → resolved → inactive. Stands behind ``observation``.

Pure and deterministic: the state, what is observed now and the time (event time, the snapshot's ``as_of``)
give the next state and at most one change to tell. The state is the last change told, so that a worker
that starts again can tell it again, under the same id, and fill an emptied Redis. ``message.py`` writes
changes; ``as_of_ms`` must never go back for one alert.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from stream_app.alerts.churn import ChurnRule
from stream_app.alerts.observation import Observation
from stream_app.alerts.rule import CHURN, SEVERITIES, Rule
from stream_app.churn.model import Assessment

PENDING: Literal["pending"] = "pending"
FIRING: Literal["firing"] = "firing"
RESOLVED: Literal["resolved"] = "resolved"
CUSTOMER = "customer"
"""The dimension of a churn alert."""


class AlertChange(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One change of an alert's state or severity, with the numbers it rests on. Times are milliseconds.

    ``revision`` counts what was told since the alert began to fire: changes of severity (of band, for churn), and
    repeats, which are told because an alert still fires (``repeated``).
    ``threshold`` is the level of ``severity``; ``resolve`` the level at which the alert lets go.
    ``suspected`` is the part of the numerator that may be the work of machines.
    ``evidence`` is a value of ``observation.Evidence``, ``condition`` one of ``rule.Condition``. Of churn alerts ``value`` is the score and ``band`` its
    band, which a resolved one may have none of, and ``segment`` the customer's latest.
    New fields go to the end and have a default: older states must still decode.
    """

    fingerprint: str
    rule: str
    kind: str
    state: Literal["pending", "firing", "resolved"]
    severity: str
    dimension: str
    key: str
    started_at_ms: int
    as_of_ms: int
    ended_at_ms: int | None = None
    revision: int = 0
    metric: str | None = None
    direction: str = "above"
    window: str | None = None
    denominator_window: str | None = None
    value: float | None = None
    threshold: float | None = None
    resolve: float | None = None
    baseline: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    low: float | None = None
    high: float | None = None
    evidence: str | None = None
    band: str | None = None
    reasons: tuple[str, ...] = ()
    opted_out: bool = False
    runbook: str | None = None
    condition: str = "threshold"
    chance: float | None = None
    repeated: bool = False
    suspected: float | None = None
    segment: str | None = None


class AlertState(msgspec.Struct, frozen=True, array_like=True):
    """A pending or firing alert; an inactive one has no state. Holds the last change that was told, and since when an
    alert that still fires has had no reason to (see ``Rule.keep_firing_ms``). Of churn, one that waits for its turn to
    be told is pending and untold, and one that has resolved lasts through its cool-off."""

    last: AlertChange
    calm_since_ms: int | None = None


Step = tuple[AlertState | None, AlertChange | None]
"""The next state (the same object where nothing changed) and the change to tell, if any."""


def fingerprint(rule: str, dimension: str, key: str) -> str:
    """What an alert is about, as 16 hex digits: never a number that changes."""
    identity = f"{rule}\0{dimension}\0{key}"  # no rule's name and no dimension holds a NUL
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def advance(
    rule: Rule, state: AlertState | None, observation: Observation, dimension: str, key: str, as_of_ms: int
) -> Step:
    """Take one alert one observation further.

    A state that began at ``as_of_ms`` cannot end at the same ``as_of_ms``: late events can change the counts
    without moving time, and an alert that ended and began again in one instant would repeat its id.
    """
    if state is None:
        if observation.severity is None:
            return None, None
        first = PENDING if rule.wait_ms > 0 else FIRING
        return _tell(_change(rule, observation, dimension, key, as_of_ms, first, observation.severity))
    last = state.last
    if last.state == PENDING:
        return _from_pending(rule, state, observation, as_of_ms)
    if observation.may_resolve:
        return _from_calm(rule, state, observation, as_of_ms)
    severity = _severity_now(last.severity, observation)
    if severity != last.severity:
        return _tell(_again(rule, observation, last, as_of_ms, severity=severity, revision=last.revision + 1))
    if rule.repeat_ms and as_of_ms - last.as_of_ms >= rule.repeat_ms:
        return _tell(_again(rule, observation, last, as_of_ms, repeated=True, revision=last.revision + 1))
    return (state if state.calm_since_ms is None else AlertState(last)), None


def retire(state: AlertState, as_of_ms: int) -> AlertChange | None:
    """The end of an alert whose rule is no longer in the rules file; None where it had not fired."""
    last = state.last
    if last.state != FIRING:
        return None
    end = max(as_of_ms, last.started_at_ms)
    return msgspec.structs.replace(last, state=RESOLVED, as_of_ms=end, ended_at_ms=end)


def advance_churn(
    rule: ChurnRule,
    state: AlertState | None,
    assessment: Assessment,
    customer_id: str,
    as_of_ms: int,
    opted_out: bool,
) -> Step:
    """Take one customer's churn alert one assessment further.

    It fires from the band ``alert_from`` on, tells once of each higher band, keeps the highest band it has
    told of, and resolves when the customer has engaged since it began, or below the score ``resolve``. An opt-out is a
    fact and no risk: it never fires, and it ends a firing alert at once (also in the instant it began: no other alert
    can follow).
    """
    band = rule.band_for(assessment)
    if state is None or state.last.state != FIRING:
        if state is not None and _cools_off(rule, state.last, as_of_ms) and not opted_out:
            return state, None
        if opted_out or rule.rank(band) < rule.rank(rule.alert_from):
            return None, None
        return _tell(_churn_change(rule, assessment, customer_id, as_of_ms, band))
    last = state.last
    end = max(as_of_ms, last.started_at_ms)
    has_engaged = assessment.engaged_ms > last.started_at_ms or not assessment.is_silent
    is_back = has_engaged or assessment.score < rule.resolve
    if opted_out or (is_back and as_of_ms > last.started_at_ms):
        change = msgspec.structs.replace(
            last,
            state=RESOLVED,
            as_of_ms=end,
            ended_at_ms=end,
            value=assessment.score,
            band=band,
            reasons=assessment.reasons,
            opted_out=opted_out,
            segment=assessment.segment,
        )
        return (None if opted_out or not rule.cool_off_ms else AlertState(change)), change
    if rule.rank(band) <= rule.rank(last.band):
        return state, None
    change = _churn_change(rule, assessment, customer_id, end, band)
    return _tell(
        msgspec.structs.replace(change, started_at_ms=last.started_at_ms, revision=last.revision + 1)
    )


def hold_back(state: AlertState) -> AlertState:
    """A churn alert that has just begun, made to wait for its turn; nobody has been told."""
    return AlertState(msgspec.structs.replace(state.last, state=PENDING))


def let_go(state: AlertState, as_of_ms: int) -> Step:
    """The turn of one that waited: it begins now."""
    now_ms = max(as_of_ms, state.last.as_of_ms)
    return _tell(msgspec.structs.replace(state.last, state=FIRING, started_at_ms=now_ms, as_of_ms=now_ms))


def _cools_off(rule: ChurnRule, last: AlertChange, as_of_ms: int) -> bool:
    return last.state == RESOLVED and as_of_ms - (last.ended_at_ms or 0) < rule.cool_off_ms


def _tell(change: AlertChange) -> Step:
    return AlertState(change), change


def _from_pending(rule: Rule, state: AlertState, observation: Observation, as_of_ms: int) -> Step:
    """A pending alert fires when its level was breached all the wait long; otherwise it ends untold."""
    last = state.last
    if observation.severity is None:
        return (state if as_of_ms <= last.started_at_ms else None), None
    if as_of_ms - last.started_at_ms < rule.wait_ms:
        return state, None
    return _tell(_change(rule, observation, last.dimension, last.key, as_of_ms, FIRING, observation.severity))


def _from_calm(rule: Rule, state: AlertState, observation: Observation, as_of_ms: int) -> Step:
    """A firing alert without a reason resolves when that has lasted, so that one that flickers stays one alert."""
    last = state.last
    if as_of_ms <= last.started_at_ms:
        return state, None
    since_ms = as_of_ms if state.calm_since_ms is None else state.calm_since_ms
    if as_of_ms - since_ms >= rule.keep_firing_ms:
        return None, _again(rule, observation, last, as_of_ms, state=RESOLVED, ended_at_ms=as_of_ms)
    return (state if since_ms == state.calm_since_ms else AlertState(last, since_ms)), None


def _severity_now(last: str, observation: Observation) -> str:
    """A firing alert's severity: up with what is breached, down no further than what is held."""
    ranks = [
        SEVERITIES.index(observation.severity) if observation.severity else 0,
        min(SEVERITIES.index(last), SEVERITIES.index(observation.held or last)),
    ]
    return SEVERITIES[max(ranks)]


def _change(
    rule: Rule,
    observation: Observation,
    dimension: str,
    key: str,
    as_of_ms: int,
    state: Literal["pending", "firing", "resolved"],
    severity: str,
) -> AlertChange:
    return AlertChange(
        fingerprint=fingerprint(rule.name, dimension, key),
        rule=rule.name,
        kind=rule.kind,
        state=state,
        severity=severity,
        dimension=str(dimension),
        key=key,
        started_at_ms=as_of_ms,
        as_of_ms=as_of_ms,
        metric=rule.metric,
        direction=rule.direction,
        window=rule.window,
        denominator_window=rule.denominator_window,
        threshold=observation.threshold(rule, severity),
        resolve=rule.resolve if observation.resolve is None else observation.resolve,
        runbook=rule.runbook,
        condition=rule.condition.value,
        chance=observation.chance,
        suspected=observation.suspected,
        value=observation.value,
        numerator=observation.numerator,
        denominator=observation.denominator,
        low=observation.low,
        high=observation.high,
        baseline=observation.baseline,
        evidence=observation.evidence.value,
        reasons=observation.reasons,
    )


def _again(
    rule: Rule, observation: Observation, last: AlertChange, as_of_ms: int, **changed: Any
) -> AlertChange:
    """The next change of an alert that goes on under the same ``started_at``."""
    severity = changed.get("severity", last.severity)
    fresh = _change(rule, observation, last.dimension, last.key, as_of_ms, FIRING, severity)
    return msgspec.structs.replace(
        fresh, **{"started_at_ms": last.started_at_ms, "revision": last.revision, **changed}
    )


def _churn_change(
    rule: ChurnRule, assessment: Assessment, customer_id: str, as_of_ms: int, band: str | None
) -> AlertChange:
    """A firing churn alert of a band that alerts."""
    return AlertChange(
        fingerprint=fingerprint(rule.name, CUSTOMER, customer_id),
        rule=rule.name,
        kind=CHURN,
        state=FIRING,
        severity=dict(rule.severities)[band or rule.alert_from],
        dimension=CUSTOMER,
        key=customer_id,
        started_at_ms=as_of_ms,
        as_of_ms=as_of_ms,
        value=assessment.score,
        threshold=dict(rule.bands)[band or rule.alert_from],
        resolve=rule.resolve,
        band=band,
        reasons=assessment.reasons,
        runbook=rule.runbook,
        segment=assessment.segment,
    )
