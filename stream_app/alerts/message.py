"""What a subscriber receives: an alert's change as a CloudEvents 1.0 record, with words for a person.

Stands between ``lifecycle`` and the sinks. A record is a pure function of the change, so that telling it
again after a crash gives the same bytes and the same ``ce_id``. Source of the mapping: the CloudEvents
Kafka protocol binding 1.0, section 3.2 (binary content mode), and the project's CONTRACT, section 2.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from stream_app.alerts.detection import LONGEST_WINDOW, Evidence
from stream_app.alerts.lifecycle import FIRING, PENDING, RESOLVED, AlertChange
from stream_app.alerts.rules import CHURN
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.metrics.catalogue import RATE_BY_NAME, TOTAL, Rate

TYPE_PREFIX: Final = "engagement.alert"
"""What ``ce_type`` starts with; the kind and the state follow."""

# Words for the numbers that the shipped rules judge; any other metric reads as its name with spaces.
_NAMES = {
    "ctr": "click-through rate",
    "ctr_adjusted": "adjusted click-through rate",
    "optout_rate": "opt-out rate",
    "optouts": "opt-outs",
    "carts_abandoned": "abandoned carts",
}
_DENOMINATORS = {"abandonment_rate": "ended carts", "bounce_rate": "messages sent"}


class AlertRecord(NamedTuple):
    """A record for the alert topic of ``kind``."""

    kind: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def alert_record(change: AlertChange, source: str) -> AlertRecord:
    """The Kafka record of a change; ``source`` is a URI reference that names who tells it."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": alert_id(change),
        "ce_source": source,
        "ce_type": f"{TYPE_PREFIX}.{change.kind}.{change.state}",
        "ce_time": to_rfc3339(change.as_of_ms),
        "ce_subject": f"{change.dimension}:{change.key}",
        "content-type": "application/json",
    }
    headers = [(name, text.encode()) for name, text in attributes.items()]
    return AlertRecord(change.kind, change.fingerprint.encode(), orjson.dumps(alert_json(change)), headers)


def alert_id(change: AlertChange) -> str:
    """The id of a change: fingerprint, state and ``started_at``, and for a change of severity within a
    firing alert its number and the severity (for churn the band), so that the first id stays as it is."""
    plain = f"{change.fingerprint}-{change.state}-{change.started_at_ms}"
    if change.state != FIRING or change.revision == 0:
        return plain
    return f"{plain}-{change.revision}-{change.band or change.severity}"


def alert_json(change: AlertChange) -> dict[str, Any]:
    """The alert as CONTRACT words it, ready for JSON. ``score`` and ``band`` are in churn alerts only,
    ``runbook`` only where the rule has one; what a rule does not know is None."""
    ended = None if change.ended_at_ms is None else to_rfc3339(change.ended_at_ms)
    data: dict[str, Any] = {
        "fingerprint": change.fingerprint,
        "rule": change.rule,
        "kind": change.kind,
        "state": change.state,
        "severity": change.severity,
        "dimension": change.dimension,
        "key": change.key,
        "window": change.window,
        "value": change.value,
        "threshold": change.threshold,
        "baseline": change.baseline,
        "numerator": _whole(change.numerator),
        "denominator": _whole(change.denominator),
        "low": change.low,
        "high": change.high,
        "started_at": to_rfc3339(change.started_at_ms),
        "ended_at": ended,
        "as_of": to_rfc3339(change.as_of_ms),
        "summary": summary(change),
        "reasons": reasons(change),
    }
    if change.kind == CHURN:
        data |= {"score": change.value, "band": change.band}
    if change.runbook:
        data["runbook"] = change.runbook
    return data


def summary(change: AlertChange) -> str:
    """One sentence that says what is wrong, where, by how much, and since when if it is over."""
    if change.kind == CHURN:
        return _churn_summary(change)
    what = f"{_name(change.metric or '')} of {_subject(change)}"
    if change.state == RESOLVED:
        return f"Resolved after {_lasted(change)}: {what} {_why_over(change)}."
    head = f"{change.severity.capitalize()}: " if change.state == FIRING else f"Pending {change.severity}: "
    level = _number(change, change.threshold)
    tail = ", and fires if it stays so" if change.state == PENDING else ""
    value = _number(change, change.value)
    return f"{head}{what} is {value} ({_counts(change)}), {change.direction} the level of {level}{tail}."


def reasons(change: AlertChange) -> list[str]:
    """Short sentences with the numbers behind the change, the weightiest first."""
    if change.kind == CHURN:
        left = ["the customer has opted out: a fact, and no longer a risk"] if change.opted_out else []
        return [*left, *change.reasons]
    said = [_counts(change)]
    if change.low is not None and change.high is not None:
        low, high = _number(change, change.low), _number(change, change.high)
        said.append(f"95 % interval from {low} to {high}")
    if change.baseline is not None:
        said.append(f"{_number(change, change.baseline)} before this window")
    if change.revision and change.state == FIRING:
        said.append(f"firing since {to_rfc3339(change.started_at_ms)}, the severity is now {change.severity}")
    return said


def _churn_summary(change: AlertChange) -> str:
    score = f"churn score {change.value or 0:.2f}"
    if change.state != RESOLVED:
        band = (change.band or "").replace("_", " ")
        why = f": {change.reasons[0]}" if change.reasons else ""
        return f'{change.severity.capitalize()}: customer {change.key} is in band "{band}", {score}{why}.'
    head = f"Resolved after {_lasted(change)}: customer {change.key}"
    if change.opted_out:
        return f"{head} has opted out, so there is no risk left to watch."
    return f"{head} is back, {score}, below {change.resolve or 0:.2f}."


def _why_over(change: AlertChange) -> str:
    """Why a firing alert fires no longer."""
    if change.evidence == Evidence.QUIET:
        return f"has had no new {_below(change)} for {LONGEST_WINDOW}, so there is nothing left to stop"
    if change.evidence == Evidence.THIN:
        return f"has too little left to judge ({_counts(change)})"
    end, bound = ("down", change.low) if change.direction == "above" else ("up", change.high)
    reach = "" if bound is None else f", its 95 % interval reaching {end} to {_number(change, bound)}"
    resolve = _number(change, change.resolve)
    return (
        f"is {_number(change, change.value)} ({_counts(change)}){reach}, past the resolve level of {resolve}"
    )


def _counts(change: AlertChange) -> str:
    """The numerator and the denominator, each with its window."""
    top = _many(change.numerator, _name(_rate(change).numerator))
    bottom = _many(change.denominator, _below(change))
    if change.window == change.denominator_window:
        return f"{top} of {bottom} {_within(change.window)}"
    return f"{top} {_within(change.window)} against {bottom} {_within(change.denominator_window)}"


def _within(window: str | None) -> str:
    return "in total" if window == TOTAL else f"in {window}"


def _below(change: AlertChange) -> str:
    """What the denominator counts."""
    rate = _rate(change)
    return _DENOMINATORS.get(rate.name) or " and ".join(_name(name) for name in rate.denominator)


def _name(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _subject(change: AlertChange) -> str:
    return "all customers" if change.dimension == "all" else f"{change.dimension} {change.key}"


def _rate(change: AlertChange) -> Rate:
    return RATE_BY_NAME[change.metric or ""]


def _number(change: AlertChange, number: float | None) -> str:
    """A proportion in percent, a mean in seconds, to three digits."""
    if number is None:
        return "unknown"
    return f"{100 * number:.3g} %" if _rate(change).interval else f"{number:.3g} s"


def _many(number: float | None, name: str) -> str:
    """A number of what a plural names, such as 1 delivery or 1,480 deliveries."""
    number = number or 0
    if number == 1:
        name = f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")
    return f"{number:,.0f} {name}" if float(number).is_integer() else f"{number:,.1f} {name}"


def _whole(number: float | None) -> float | int | None:
    """Counts are whole and are written so, also after a float has held them."""
    return int(number) if number is not None and float(number).is_integer() else number


def _lasted(change: AlertChange) -> str:
    """How long the alert fired, in its largest two units."""
    rest = (change.ended_at_ms or change.as_of_ms) - change.started_at_ms
    said = []
    for unit, length in (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS)):
        count, rest = divmod(rest, length)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2]) or "less than 1 s"
