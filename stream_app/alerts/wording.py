"""An alert in words: one sentence that a person understands at night, and the numbers behind it. Pure.

Stands under ``message``. Each condition has a sentence of its own; all say what is wrong, where, by how much, and for
how long it was if it is over.
"""

from __future__ import annotations

from typing import Final

from stream_app.alerts.lifecycle import FIRING, PENDING, RESOLVED, AlertChange
from stream_app.alerts.observation import Evidence
from stream_app.alerts.rule import CHURN, Condition
from stream_app.alerts.rule_reading import LONGEST_WINDOW
from stream_app.alerts.spike_watch import EVIDENCE_INTERVALS
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.metrics.catalogue import RATE_BY_NAME, TOTAL, WINDOWS, Dimension, Rate, campaign_and_segment

# Words for the numbers that the shipped rules judge; any other metric reads as its name with spaces.
_NAMES = {
    "ctr": "click-through rate",
    "ctr_adjusted": "adjusted click-through rate",
    "optout_rate": "opt-out rate",
    "optouts": "opt-outs",
    "carts_abandoned": "abandoned carts",
}
_DENOMINATORS = {"abandonment_rate": "ended carts", "bounce_rate": "messages sent"}


def summary(change: AlertChange) -> str:
    """One sentence that says what is wrong, where, by how much, and since when if it is over."""
    if change.kind == CHURN:
        return _churn_summary(change)
    if change.state == RESOLVED:
        what = f"{_name(change.metric or '')} of {_subject(change)}"
        return f"Resolved after {_lasted(change)}: {what} {_OVER[Condition(change.condition)](change)}."
    head = f"{change.severity.capitalize()}: " if change.state == FIRING else f"Pending {change.severity}: "
    tail = ", and fires if it stays so" if change.state == PENDING else ""
    return f"{head}{_WRONG[Condition(change.condition)](change)}{tail}."


def reasons(change: AlertChange) -> list[str]:
    """Short sentences with the numbers behind the change, the weightiest first."""
    if change.kind == CHURN:
        left = (
            ["the customer has left, by an opt-out or a complaint: a fact, and no longer a risk"]
            if change.opted_out
            else []
        )
        return [*left, *change.reasons]
    said = _NUMBERS[Condition(change.condition)](change)
    if change.revision and change.state == FIRING:
        now = f"{'still' if change.repeated else 'now'} {change.severity}"
        said.append(f"firing since {to_rfc3339(change.started_at_ms)}, the severity is {now}")
    return said


def _rate_wrong(change: AlertChange) -> str:
    level = _number(change, change.threshold)
    return f"{_rate_now(change)}, {change.direction} the level of {level}"


def _change_wrong(change: AlertChange) -> str:
    return f"{_rate_now(change)}, {_moved(change)} the usual {_number(change, change.baseline)}"


def _rate_now(change: AlertChange) -> str:
    what = f"{_name(change.metric or '')} of {_subject(change)}"
    return f"{what} is {_number(change, change.value)} ({_counts(change)})"


def _moved(change: AlertChange) -> str:
    """How far a rate is from its baseline, as a share of it."""
    value, baseline = change.value or 0.0, change.baseline or 0.0
    side = "above" if value >= baseline else "below"
    return f"{100 * abs(value / baseline - 1):.3g} % {side}" if baseline else side


def _rate_numbers(change: AlertChange) -> list[str]:
    said = [_counts(change)]
    if change.suspected and change.denominator:
        rest = ((change.numerator or 0) - change.suspected) / change.denominator
        said.append(
            f"{change.suspected:,.0f} of them maybe by machines; {_number(change, rest)} without these"
        )
    if change.low is not None and change.high is not None:
        low, high = _number(change, change.low), _number(change, change.high)
        said.append(f"95 % interval from {low} to {high}")
    if change.baseline is not None:
        said.append(f"{_number(change, change.baseline)} before this window")
    if change.condition == Condition.CHANGE and change.state != RESOLVED:
        said.append(f"fires when it is {change.direction} {_number(change, change.threshold)}")
    return said


def _rate_over(change: AlertChange) -> str:
    """Why a firing alert over a rate fires no longer."""
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


def _spike_wrong(change: AlertChange) -> str:
    return f"{_subject(change)}: {_spike_count(change)}, where {_usual(change)}"


def _spike_numbers(change: AlertChange) -> list[str]:
    said = [f"{_spike_count(change)}, {_usual(change)}"]
    if change.chance and change.state != RESOLVED:
        said.append(f"of the days without a spike, {100 * change.chance:.2g} % hold such a count")
    return said


def _spike_over(change: AlertChange) -> str:
    if change.baseline is None or change.evidence == Evidence.THIN:
        return f"have too little left to judge ({_spike_count(change)})"
    return f"are near to what is usual ({_spike_count(change)}, {_usual(change)})"


def _spike_count(change: AlertChange) -> str:
    """The count of the long window."""
    length_ms = EVIDENCE_INTERVALS * WINDOWS.get(change.window or "", 0)
    return f"{_many(change.value, _name(change.metric or ''))} in {_length(length_ms)}"


def _usual(change: AlertChange) -> str:
    return f"{change.baseline or 0:.3g} {'is' if change.baseline == 1 else 'are'} usual"


def _silence_wrong(change: AlertChange) -> str:
    return f"no {_silence(change)}, longer than the level of {_seconds(change.threshold)}"


def _silence(change: AlertChange) -> str:
    what = f"{_name(change.metric or '')} of {_subject(change)}"
    return f"{what} for {_seconds(change.value)}"


def _silence_numbers(change: AlertChange) -> list[str]:
    count = _many(change.numerator, _name(change.metric or ""))
    return [f"{count} in the last {LONGEST_WINDOW}", *([f"no {_silence(change)}"] if change.value else [])]


def _silence_over(change: AlertChange) -> str:
    if change.evidence == Evidence.QUIET:
        return f"have not come for {LONGEST_WINDOW}, so that silence is what is usual now"
    return "are coming again"


def _echo_wrong(change: AlertChange) -> str:
    return change.reasons[0]


def _echo_numbers(change: AlertChange) -> list[str]:
    return list(change.reasons[1:])


def _echo_over(change: AlertChange) -> str:
    if change.evidence == Evidence.QUIET:
        return _rate_over(change)
    value, baseline = _number(change, change.value), _number(change, change.baseline)
    return f"is {value} ({_counts(change)}), its predecessors' {baseline}: those who left no longer make the difference"


def _seconds(number: float | None) -> str:
    return _length(round((number or 0) * SECOND_MS))


def _churn_summary(change: AlertChange) -> str:
    score = f"churn score {change.value or 0:.2f}"
    if change.state != RESOLVED:
        band = (change.band or "").replace("_", " ")
        why = f": {change.reasons[0]}" if change.reasons else ""
        return f'{change.severity.capitalize()}: customer {change.key} is in band "{band}", {score}{why}.'
    head = f"Resolved after {_lasted(change)}: customer {change.key}"
    if change.opted_out:
        return f"{head} has left, by an opt-out or a complaint: there is no risk left to watch."
    if change.resolve is not None and (change.value or 0) >= change.resolve:
        return f"{head} has engaged again, {score}."
    return f"{head} is back, {score}, below {change.resolve or 0:.2f}."


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
    if change.dimension == Dimension.ALL:
        return "all customers"
    if change.dimension == Dimension.CAMPAIGN_SEGMENT:
        campaign, segment = campaign_and_segment(change.key)
        return f"campaign {campaign} in segment {segment}"
    return f"{change.dimension} {change.key}"


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


def _lasted(change: AlertChange) -> str:
    """How long the alert fired."""
    return _length((change.ended_at_ms or change.as_of_ms) - change.started_at_ms)


def _length(rest: int) -> str:
    """A duration in milliseconds, in its largest two units."""
    said = []
    for unit, length in (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS)):
        count, rest = divmod(rest, length)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2]) or "less than 1 s"


_WRONG: Final = {
    Condition.THRESHOLD: _rate_wrong,
    Condition.CHANGE: _change_wrong,
    Condition.SPIKE: _spike_wrong,
    Condition.NO_DATA: _silence_wrong,
    Condition.ECHO_CHAMBER: _echo_wrong,
}
_OVER: Final = {
    Condition.THRESHOLD: _rate_over,
    Condition.CHANGE: _rate_over,
    Condition.SPIKE: _spike_over,
    Condition.NO_DATA: _silence_over,
    Condition.ECHO_CHAMBER: _echo_over,
}
_NUMBERS: Final = {
    Condition.THRESHOLD: _rate_numbers,
    Condition.CHANGE: _rate_numbers,
    Condition.SPIKE: _spike_numbers,
    Condition.NO_DATA: _silence_numbers,
    Condition.ECHO_CHAMBER: _echo_numbers,
}
