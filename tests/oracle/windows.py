"""What comes out of the oracle: contributions by dimension value, and their totals, windows and rates."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""A dimension and its key, as in a snapshot: ("campaign", "spring-sale")."""
Value: TypeAlias = int | float | dict[str, Decimal]
Counts: TypeAlias = dict[str, Value]

ALL: Key = ("all", "all")
PANE_MS = 10_000

_EMAIL = [
    "deliveries",
    "bounces",
    "opens",
    "clicks",
    "machine_opens",
    "machine_clicks",
    "unique_opens",
    "unique_clicks",
    "unique_engaged",
    "optouts",
    "complaints",
    "machine_by_flag",
    "machine_by_agent",
    "machine_by_haste",
    "machine_by_burst",
    "optouts_suspected",
]
_CUSTOMERS = ["reached", "disengaged"]
_STAGES = [
    f"{word}_{stage}"
    for word in ("stage", "became")
    for stage in ("new", "active", "cooling", "dormant", "left", "returned")
]
_CARTS = [
    "carts_started",
    "carts_purchased",
    "carts_abandoned",
    "carts_recovered",
    "purchased_value",
    "abandoned_value",
]
_SUPPORT = [
    "chats_started",
    "chats_answered",
    "chats_missed",
    "chats_ended",
    "chat_wait_seconds",
    "tickets_opened",
    "tickets_resolved",
    "tickets_reopened",
    "tickets_first_contact",
    "ticket_resolution_seconds",
    "ticket_reply_seconds",
    "tickets_replied",
    "ratings",
    "ratings_positive",
]

COUNTS: dict[str, list[str]] = {
    "campaign": [*_EMAIL, "lost_before"],
    "campaign_segment": _EMAIL,
    "segment": [*_EMAIL, *_CUSTOMERS, *_CARTS, *_SUPPORT, *_STAGES],
    "channel": _SUPPORT,
    "all": [*_EMAIL, *_CUSTOMERS, *_CARTS, *_SUPPORT, *_STAGES],
}
"""Every count of every dimension; each of them is in each window, 0 included."""

MONEY = frozenset({"purchased_value", "abandoned_value"})
SECONDS = frozenset({"chat_wait_seconds", "ticket_resolution_seconds", "ticket_reply_seconds"})

RATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "open_rate": ("unique_opens", ("deliveries",)),
    "ctr": ("unique_clicks", ("deliveries",)),
    "ctor": ("unique_clicks", ("unique_engaged",)),
    "optout_rate": ("optouts", ("deliveries",)),
    "complaint_rate": ("complaints", ("deliveries",)),
    "bounce_rate": ("bounces", ("deliveries", "bounces")),
    "ctr_adjusted": ("unique_clicks", ("deliveries", "lost_before")),
    "disengagement_rate": ("disengaged", ("reached",)),
    "abandonment_rate": ("carts_abandoned", ("carts_abandoned", "carts_purchased")),
    "recovery_rate": ("carts_recovered", ("carts_abandoned",)),
    "missed_chat_rate": ("chats_missed", ("chats_started",)),
    "mean_chat_wait": ("chat_wait_seconds", ("chats_answered",)),
    "reopen_rate": ("tickets_reopened", ("tickets_resolved",)),
    "first_contact_rate": ("tickets_first_contact", ("tickets_resolved",)),
    "mean_resolution_time": ("ticket_resolution_seconds", ("tickets_resolved",)),
    "mean_reply_time": ("ticket_reply_seconds", ("tickets_replied",)),
    "csat": ("ratings_positive", ("ratings",)),
}
"""A rate's numerator, and the counts whose sum is its denominator."""

WITHOUT_INTERVAL = frozenset({"mean_chat_wait", "mean_resolution_time", "mean_reply_time"})

_EXACT = Context(prec=2000, traps=[Inexact])
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one event, or one deadline, adds to one count: 1, or milliseconds, or an amount of money."""

    time: int
    count: str
    amount: int | Decimal
    currency: str = ""


class Rate(NamedTuple):
    """A rate as a snapshot shows it."""

    value: float | None
    numerator: int | float
    denominator: int | float
    low: float | None
    high: float | None


@dataclass
class Result:
    """Everything that was counted, and the newest time that reached each key."""

    contributions: dict[Key, list[Contribution]] = field(default_factory=lambda: defaultdict(list))
    reached_at: dict[Key, int] = field(default_factory=dict)

    def touch(self, keys: Iterable[Key], time: int) -> None:
        """Note that something of this time reached the keys."""
        for key in keys:
            self.reached_at[key] = max(time, self.reached_at.get(key, time))

    def add(
        self, keys: Iterable[Key], time: int, count: str, amount: int | Decimal = 1, currency: str = ""
    ) -> None:
        """Count something in each of the keys, at the time in which it came true."""
        for key in keys:
            assert count in COUNTS[key[0]], f"{count} is no count of the dimension {key[0]}"
            self.contributions[key].append(Contribution(time, count, amount, currency))
            self.touch([key], time)

    def keys(self) -> list[Key]:
        """Every dimension value that any event bore."""
        return sorted(self.reached_at)

    def newest(self, dimension: str, key: str) -> int | None:
        """The newest time that reached the key: of any event that bears it, any count that came true.

        A count can be newer than every event: a missed chat or an abandoned cart comes true at its deadline.
        It can also reach a key that its own event does not bear: a rating goes to the opening's channel.
        """
        return self.reached_at.get((dimension, key))

    def as_of(self, dimension: str, key: str) -> int | None:
        """The first pane edge after the newest time: an event on an edge belongs to the pane it begins."""
        newest = self.newest(dimension, key)
        return None if newest is None else (newest // PANE_MS + 1) * PANE_MS

    def total(self, dimension: str, key: str) -> Counts:
        """Every count of the key, over all time; the oracle knows no retention."""
        return _summed(dimension, self.contributions.get((dimension, key), []))

    def window(self, dimension: str, key: str, as_of_ms: int, width_ms: int) -> Counts:
        """Every count of the key in as_of - width <= time < as_of; both have to lie on pane edges."""
        assert as_of_ms % PANE_MS == 0 and width_ms % PANE_MS == 0, "a window consists of whole panes"
        inside = [
            contribution
            for contribution in self.contributions.get((dimension, key), [])
            if as_of_ms - width_ms <= contribution.time < as_of_ms
        ]
        return _summed(dimension, inside)


def _summed(dimension: str, contributions: Iterable[Contribution]) -> Counts:
    """Sums by count, 0 included.

    Money is an exact decimal for each currency, without the currencies that sum up to nothing. Seconds are
    summed as whole milliseconds and divided once, which is the float nearest to the true sum.
    """
    whole: dict[str, int] = defaultdict(int)
    money: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for item in contributions:
        if isinstance(item.amount, Decimal):
            sums = money[item.count]
            sums[item.currency] = _EXACT.add(sums.get(item.currency, Decimal(0)), item.amount)
        else:
            whole[item.count] += item.amount
    counts: Counts = {}
    for count in COUNTS[dimension]:
        if count in MONEY:
            counts[count] = {currency: sum_ for currency, sum_ in money[count].items() if sum_}
        elif count in SECONDS:
            counts[count] = whole[count] / 1000
        else:
            counts[count] = whole[count]
    return counts


def rates(counts: Mapping[str, Value]) -> dict[str, Rate]:
    """Every rate whose counts are all there, which are exactly the rates of the counts' dimension."""
    result = {}
    for name, (above, below) in RATES.items():
        if above not in counts or any(count not in counts for count in below):
            continue
        numerator = _number(counts[above])
        denominator = sum(_number(counts[count]) for count in below)
        value = numerator / denominator if denominator else None
        low, high = (None, None) if name in WITHOUT_INTERVAL else wilson(numerator, denominator)
        result[name] = Rate(value, numerator, denominator, low, high)
    return result


def wilson(successes: int | float, trials: int | float) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval; none for no trials, nor where a short window saw more successes than trials.

    At its ends, no success and no failure, the interval touches 0 and 1 exactly.
    """
    if not trials or successes > trials:
        return None, None
    share = successes / trials
    scale = 1 + _Z**2 / trials
    middle = (share + _Z**2 / (2 * trials)) / scale
    half = _Z / scale * sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    low = middle - half if successes else 0.0
    high = middle + half if successes < trials else 1.0
    return low, high


def _number(value: Value) -> int | float:
    """A count that takes part in a rate; sums of money take part in none."""
    assert not isinstance(value, dict), "no rate is made of money"
    return value
