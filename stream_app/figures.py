"""The live metrics of one key as Redis holds them, and the words in which people read them. Pure.

Stands behind the view in Redis: what the demo's screen and ``stream-app top`` say alike is said here. A number that
nobody can know is a dash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from stream_app.metrics.catalogue import COUNT_BY_NAME, RATE_BY_NAME, TOTAL
from stream_app.metrics.rates import RateValue, rate_of
from stream_app.output import printable

LONGEST_SUMMARY = 400
STAGES: Final = tuple(name.removeprefix("stage_") for name in COUNT_BY_NAME if name.startswith("stage_"))
"""The stages of a customer's life, as the catalogue counts them."""
STAGE_MOVES_WINDOW: Final = "24h"
"""Over so long the customers are counted who came to a stage."""


@dataclass(frozen=True)
class Numbers:
    """The live metrics of one key, as its hash in Redis has them."""

    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def as_of(self) -> str:
        """The end of its windows, RFC 3339; empty where there is nothing yet."""
        return self.fields.get("as_of", "")

    def count(self, window: str, name: str) -> float:
        """A count of a window; 0 where it is not known."""
        return float(self.fields.get(f"{window}.{name}") or 0)

    def known(self, window: str, name: str) -> int | None:
        """A whole count of a window; None where the workers do not tell it, as those of an earlier version."""
        return int(self.count(window, name)) if f"{window}.{name}" in self.fields else None

    def amounts(self, window: str, name: str) -> dict[str, float]:
        """A sum of money of a window, by currency."""
        amounts: dict[str, float] = orjson.loads(self.fields.get(f"{window}.{name}") or b"{}")
        return amounts

    def rate(self, window: str, name: str) -> RateValue:
        """A rate of a window, with the interval that its counts give."""
        rate = RATE_BY_NAME[name]
        return rate_of(rate, {part: self.count(window, part) for part in (rate.numerator, *rate.denominator)})


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


def stage_words(numbers: Numbers) -> str:
    """How many customers are in each stage now, and how many came to it within a day; a dash where nobody tells."""
    parts = []
    for stage in STAGES:
        customers = numbers.known(TOTAL, f"stage_{stage}")
        moves = numbers.known(STAGE_MOVES_WINDOW, f"became_{stage}")
        if customers is not None:
            parts.append(f"{customers:,} {stage}" + (f" (+{moves:,})" if moves else ""))
    return ", ".join(parts) or "–"
