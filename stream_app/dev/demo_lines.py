"""The demo's words: one line for a change, one for the state of things, and the summary at the end.

Used where standard output is no terminal, and by the screen for what both say alike. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stream_app.dev.demo_reading import Seen
from stream_app.figures import cart_words, chat_words, hour_and_minute, percent, summary_of, ticket_words
from stream_app.metrics.catalogue import TOTAL
from stream_app.output import printable


@dataclass(frozen=True)
class Moment:
    """How far the demo has come: seconds since its start, what was sent and acknowledged, and how fast."""

    seconds: float
    sent: int
    a_second: float
    now_in_shop: str


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
