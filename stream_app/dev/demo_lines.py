"""The demo's words: one line for a change, one for the state of things, and the summary at the end.

Used where standard output is no terminal, and by the screen for what both say alike. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stream_app.dev.demo_reading import Numbers, Seen
from stream_app.metrics.catalogue import TOTAL
from stream_app.metrics.rates import RateValue
from stream_app.output import printable

LONGEST_SUMMARY = 400


@dataclass(frozen=True)
class Moment:
    """How far the demo has come: seconds since its start, what was sent and acknowledged, and how fast."""

    seconds: float
    sent: int
    a_second: float
    now_in_shop: str


def percent(rate: RateValue, digits: int = 1) -> str:
    """A proportion in percent; a dash where there is none."""
    return "–" if rate.value is None else f"{100 * rate.value:.{digits}f} %"


def percent_and_interval(rate: RateValue, digits: int = 2) -> str:
    """A proportion in percent, with its 95 % interval."""
    if rate.low is None or rate.high is None:
        return percent(rate, digits)
    return f"{percent(rate, digits)} ({100 * rate.low:.{digits}f}–{100 * rate.high:.{digits}f})"


def duration(rate: RateValue) -> str:
    """A mean in its largest unit; a dash where there is none."""
    if rate.value is None:
        return "–"
    if rate.value < 120:
        return f"{rate.value:.0f} s"
    return f"{rate.value / 60:.0f} min" if rate.value < 7200 else f"{rate.value / 3600:.1f} h"


def money(amounts: dict[str, float]) -> str:
    """Sums of money, each with its currency."""
    return (
        ", ".join(f"{amount:,.0f} {currency}".strip() for currency, amount in sorted(amounts.items())) or "0"
    )


def hour_and_minute(time: Any) -> str:
    """The time of day of an RFC 3339 time: ``10:05``."""
    return printable(str(time or "?"))[11:16] or "--:--"


def summary_of(alert: dict[str, Any]) -> str:
    """The sentence that an alert bears."""
    return printable(str(alert.get("summary", "")), LONGEST_SUMMARY)


def change_line(alert: dict[str, Any]) -> str:
    """One change of an alert's state."""
    state, kind = printable(str(alert.get("state"))), printable(str(alert.get("kind")))
    return f"{hour_and_minute(alert.get('as_of'))}  ALERT {state:<8} {kind:<11}  {summary_of(alert)}"


def status_line(seen: Seen, moment: Moment) -> str:
    """The state of things in one line."""
    numbers = seen.everything
    if not numbers.as_of:
        return f"--:--  {moment.sent:,} events sent; waiting for the worker's first numbers"
    return (
        f"{hour_and_minute(numbers.as_of)}  {moment.sent:,} events sent ({moment.a_second:,.0f}/s), "
        f"{numbers.count(TOTAL, 'deliveries'):,.0f} deliveries, open rate {percent(numbers.rate(TOTAL, 'open_rate'))}, "
        f"CTR {percent(numbers.rate(TOTAL, 'ctr'), 2)}, opt-outs {percent(numbers.rate(TOTAL, 'optout_rate'), 2)}, "
        f"carts abandoned in 1h {percent(numbers.rate('1h', 'abandonment_rate'))}, {len(seen.firing)} firing, "
        f"dead letters {seen.dead_letters.total()}"
    )


def cart_words(numbers: Numbers, window: str) -> str:
    """The carts of a window."""
    count = numbers.count
    return (
        f"{count(window, 'carts_started'):,.0f} started, {count(window, 'carts_purchased'):,.0f} bought "
        f"({money(numbers.amounts(window, 'purchased_value'))}), {count(window, 'carts_abandoned'):,.0f} abandoned "
        f"({percent(numbers.rate(window, 'abandonment_rate'))}), {count(window, 'carts_recovered'):,.0f} recovered"
    )


def chat_words(numbers: Numbers, window: str) -> str:
    """The chats of a window."""
    count = numbers.count
    return (
        f"{count(window, 'chats_started'):,.0f} started, {count(window, 'chats_answered'):,.0f} answered after "
        f"{duration(numbers.rate(window, 'mean_chat_wait'))}, {count(window, 'chats_missed'):,.0f} missed "
        f"({percent(numbers.rate(window, 'missed_chat_rate'))})"
    )


def ticket_words(numbers: Numbers, window: str) -> str:
    """The tickets of a window."""
    count = numbers.count
    return (
        f"{count(window, 'tickets_opened'):,.0f} opened, {count(window, 'tickets_resolved'):,.0f} resolved after "
        f"{duration(numbers.rate(window, 'mean_resolution_time'))}, {count(window, 'tickets_reopened'):,.0f} reopened, "
        f"first contact {percent(numbers.rate(window, 'first_contact_rate'))}, "
        f"satisfied {percent(numbers.rate(window, 'csat'))}"
    )


def counted(counter: Counter[str]) -> str:
    """Counts by name, the largest first."""
    return ", ".join(f"{printable(name)} {count:,}" for name, count in counter.most_common()) or "none"


def summary_lines(seen: Seen, moment: Moment, first_numbers_after: float | None) -> Iterator[str]:
    """What was seen in the whole run."""
    numbers = seen.everything
    after = (
        "no numbers came"
        if first_numbers_after is None
        else f"first numbers after {first_numbers_after:.1f} s"
    )
    yield f"The demo ran for {moment.seconds:.0f} s; {after}."
    yield f"  events        {moment.sent:,} sent and acknowledged"
    yield f"  snapshots     {seen.snapshots:,}"
    for kind in sorted(seen.fired | seen.resolved):
        yield f"  alerts        {kind:<12} {seen.fired[kind]} fired, {seen.resolved[kind]} resolved"
    yield f"  dead letters  {counted(seen.dead_letters)}"
    if numbers.as_of:
        total = numbers.count
        yield (
            f"  e-mail        {total(TOTAL, 'deliveries'):,.0f} delivered, {total(TOTAL, 'unique_opens'):,.0f} opened, "
            f"{total(TOTAL, 'unique_clicks'):,.0f} clicked, {total(TOTAL, 'optouts'):,.0f} opted out"
        )
        yield f"  carts         {cart_words(numbers, TOTAL)}"
        yield f"  chats         {chat_words(numbers, TOTAL)}"
        yield f"  tickets       {ticket_words(numbers, TOTAL)}"
