"""What the model makes of the facts: one number per feature, and words for what they say. Pure.

Stands between the facts and the model. A feature is a function of the facts; its weight stands in the model's file
under its name. Features that only make sense together are one *factor*: their contributions are added up, and what a
person is told is about the factor.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, log1p
from typing import Final, NamedTuple

from stream_app.churn.facts import MAX_UNANSWERED, MOST_MONTHS, ChurnFacts

Feature = Callable[[ChurnFacts], float]


class Factor(NamedTuple):
    """Features that are told of together, by name, and how."""

    features: dict[str, Feature]
    words: Callable[[ChurnFacts], str]


def _engagement(facts: ChurnFacts) -> float:
    """The log-odds of an answer, lately; a quarter of one and a half of none are added, for who has few messages. Of a
    customer whose habits are not known, those unanswered are all there is."""
    received = facts.recently_received or float(facts.unanswered)
    unheard = max(0.0, received - facts.recently_answered)
    return log((facts.recently_answered + 0.25) / (unheard + 0.5))


def _sparse(facts: ChurnFacts) -> float:
    """How far there is less than one message a month: mail that stays away goes before its reader does."""
    return max(0.0, log1p(facts.months_known) - log(max(1, facts.received)))


def _overdue(facts: ChurnFacts) -> float:
    """The silence in units of the customer's own gap between purchases. Of who bought once or twice the gap is not known
    yet: four months are assumed, and count as one more purchase. So the same silence says the more the more often
    somebody used to buy (the interplay that BG/NBD models; Fader, Hardie and Lee, 2005)."""
    known = facts.months_buying + facts.months_since_purchase
    return log1p(facts.months_since_purchase * facts.purchases / (known + 4))


def _mail_words(facts: ChurnFacts) -> str:
    count = facts.unanswered
    number = f"{MAX_UNANSWERED} or more" if count >= MAX_UNANSWERED else str(count)
    messages = "message" if count == 1 else "messages"
    if not facts.answered_before:
        return f"no open or click in the last {number} {messages}; has never opened or clicked"
    if facts.received <= count:
        return f"no open or click in the last {number} {messages}; opened or clicked before"
    if count == 0:
        return f"opened or clicked {facts.answered} of {facts.received} messages"
    before = facts.received - count
    return f"no open or click in the last {number} {messages}, before that {min(facts.answered, before)} of {before}"


def _buying_words(facts: ChurnFacts) -> str:
    silence = f"{_most(facts.months_since_purchase)} months"
    if facts.purchases == 1:
        return f"1 purchase, {silence} ago"
    gap = facts.months_buying / (facts.purchases - 1)
    return f"no purchase for {silence}, before that {facts.purchases}, one every {gap:.1f} months"


def _most(months: float) -> str:
    return f"{months:.0f} or more" if months >= MOST_MONTHS else f"{months:.1f}"


def _capped(name: str, most: int) -> Feature:
    """A count, up to so many."""
    return lambda facts: float(min(getattr(facts, name), most))


def _counted(name: str, one: str, many: str) -> Callable[[ChurnFacts], str]:
    def words(facts: ChurnFacts) -> str:
        count = getattr(facts, name)
        return one if count == 1 else many.format(count)

    return words


_SERVICE: Final = {
    name: Factor({name: _capped(name, most)}, _counted(name, one, many))
    for name, most, one, many in (
        ("tickets_open", 2, "1 ticket is unresolved", "{} tickets are unresolved"),
        ("tickets_reopened", 2, "a ticket had to be reopened", "tickets had to be reopened {} times"),
        (
            "carts_abandoned",
            4,
            "1 cart left since the last purchase",
            "{} carts left since the last purchase",
        ),
        ("chats_missed", 3, "1 chat was not answered in time", "{} chats were not answered in time"),
        ("rating_low", 3, "1 poor rating since the last good one", "{} poor ratings since the last good one"),
    )
}
READER: Final = {
    "mail": Factor(
        {
            "engagement": _engagement,
            "unanswered": lambda facts: log1p(min(facts.unanswered, MAX_UNANSWERED)),
            "never_answered": lambda facts: float(not facts.answered_before),
        },
        _mail_words,
    ),
    "sparse": Factor(
        {"sparse": _sparse},
        lambda facts: f"only {facts.received} messages in {_most(facts.months_known)} months",
    ),
    "months_known": Factor(
        {"months_known": lambda facts: log1p(facts.months_known)},
        lambda facts: f"a reader for {_most(facts.months_known)} months",
    ),
    **_SERVICE,
}
"""What is asked of who gets mail and has not bought."""
BUYER: Final = {
    "buying": Factor(
        {"overdue": _overdue, "purchases": lambda facts: log(max(1, facts.purchases))}, _buying_words
    ),
    "unread": Factor(
        {
            "unread": lambda facts: (
                log1p(min(facts.unanswered, MAX_UNANSWERED)) if facts.answered_before else 0.0
            )
        },
        _mail_words,
    ),
    **_SERVICE,
}
"""What is asked of who has bought."""


def feature_names(factors: dict[str, Factor]) -> tuple[str, ...]:
    """The names of all features, in their order."""
    return tuple(name for factor in factors.values() for name in factor.features)


def values_of(factors: dict[str, Factor], facts: ChurnFacts) -> dict[str, float]:
    """Every feature's value."""
    return {name: feature(facts) for factor in factors.values() for name, feature in factor.features.items()}
