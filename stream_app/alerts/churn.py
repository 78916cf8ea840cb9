"""How likely a customer is to slip away, in 0..1, and why; the bands of the score. Stands beside the rules.

A logistic score over a few facts: ``1 / (1 + exp(-(BASE + sum of contributions)))``. The weights are one
visible table, chosen by hand so that the worked cases of docs/alerts.md come out as a person would judge
them; they are no fitted probabilities. The reasons are the largest contributions themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import Final, NamedTuple

MAX_UNANSWERED: Final = 12
"""Deliveries without an answer are counted up to here; more say nothing new."""

BASE: Final = -3.0
"""The log-odds of a customer without any sign: a score of 0.047."""

_HABIT = 6  # so many unopened newsletters are a changed habit; each further one adds less


class Weight(NamedTuple):
    """What one more of a fact adds to the log-odds, and how many of it count."""

    each: float
    most: int


WEIGHTS: Final = {
    # The first six unanswered deliveries of a customer who used to answer, and those after them: six reach
    # 0.5 by themselves (6 x 0.52 > 3), all twelve just reach 0.7.
    "unanswered": Weight(0.52, _HABIT),
    "unanswered_beyond": Weight(0.125, MAX_UNANSWERED - _HABIT),
    # Who never opened may read without images, or not at all: silence is no change, and weighs half.
    "never_answered": Weight(0.26, _HABIT),
    "never_answered_beyond": Weight(0.0625, MAX_UNANSWERED - _HABIT),
    # With six unanswered, one open ticket is enough for 0.7.
    "tickets_open": Weight(0.75, 2),
    # Triples the odds. Dixon, Toman and DeLisi (The Effortless Experience, 2013) found customers who had to
    # make contact again 2.5 times as likely to be disloyal.
    "tickets_reopened": Weight(1.1, 2),
    "carts_abandoned": Weight(0.25, 4),
    "chats_missed": Weight(0.35, 3),
    "rating_low": Weight(0.6, 3),
}


_WORDS = {
    "tickets_open": ("1 ticket is unresolved", "{} tickets are unresolved"),
    "tickets_reopened": ("a ticket had to be reopened", "tickets had to be reopened {} times"),
    "carts_abandoned": ("1 cart left since the last purchase", "{} carts left since the last purchase"),
    "chats_missed": ("1 chat was not answered in time", "{} chats were not answered in time"),
    "rating_low": ("1 poor rating since the last good one", "{} poor ratings since the last good one"),
}


class ChurnFacts(NamedTuple):
    """What is known of a customer. All counts are of events by people, none is negative.

    ``unanswered``: deliveries since the customer last opened or clicked, up to 12.
    ``answered_before``: has ever opened or clicked. ``tickets_open``: opened or reopened, not resolved.
    ``tickets_reopened``: reopenings that still count against us (the caller says for how long).
    ``carts_abandoned``: since the last purchase. ``chats_missed``: as ``tickets_reopened``.
    ``rating_low``: ratings of 1 or 2 since the last of 4 or 5.
    """

    unanswered: int = 0
    answered_before: bool = False
    tickets_open: int = 0
    tickets_reopened: int = 0
    carts_abandoned: int = 0
    chats_missed: int = 0
    rating_low: int = 0


@dataclass(frozen=True, slots=True)
class ChurnRule:
    """Bands of the churn score. ``bands`` are (name, lowest score) from mild to severe; bands from
    ``alert_from`` on raise an alert of their severity, which resolves below the score ``resolve``."""

    name: str
    bands: tuple[tuple[str, float], ...]
    alert_from: str
    resolve: float
    severities: tuple[tuple[str, str], ...]
    runbook: str | None

    def band_of(self, score: float) -> str | None:
        """The highest band a score reaches, or None below all of them."""
        reached = [band for band, lowest in self.bands if score >= lowest]
        return reached[-1] if reached else None

    def rank(self, band: str | None) -> int:
        """A band's place from mild to severe, from 0; -1 for none and for a band the rule does not know."""
        names = [name for name, _ in self.bands]
        return names.index(band) if band in names else -1


class Assessment(NamedTuple):
    """The score, rounded to four digits, and up to three reasons, the weightiest first."""

    score: float
    reasons: tuple[str, ...]


@lru_cache(maxsize=10_000)  # nearly all customers share a few hundred combinations of facts
def assess(facts: ChurnFacts) -> Assessment:
    """Score a customer and say what raised the score most."""
    parts = contributions(facts)
    log_odds = BASE + sum(parts.values())
    score = round(1 / (1 + exp(-log_odds)), 4)
    heaviest = sorted((name for name in parts if parts[name] > 0), key=lambda name: -parts[name])
    return Assessment(score, tuple(_words(name, facts) for name in heaviest[:3]))


def fewest_unanswered(score: float) -> int:
    """From how many unanswered deliveries on a customer can reach a score by these alone; more than are counted where
    none do."""
    for count in range(MAX_UNANSWERED + 1):
        if max(assess(ChurnFacts(count, answered)).score for answered in (True, False)) >= score:
            return count
    return MAX_UNANSWERED + 1


def contributions(facts: ChurnFacts) -> dict[str, float]:
    """What each fact adds to the log-odds, by the fact's name."""
    silence = "unanswered" if facts.answered_before else "never_answered"
    beyond = facts.unanswered - _HABIT
    return {
        "unanswered": _part(silence, facts.unanswered) + _part(f"{silence}_beyond", beyond),
        "tickets_open": _part("tickets_open", facts.tickets_open),
        "tickets_reopened": _part("tickets_reopened", facts.tickets_reopened),
        "carts_abandoned": _part("carts_abandoned", facts.carts_abandoned),
        "chats_missed": _part("chats_missed", facts.chats_missed),
        "rating_low": _part("rating_low", facts.rating_low),
    }


def _part(name: str, count: int) -> float:
    weight = WEIGHTS[name]
    return weight.each * min(max(count, 0), weight.most)


def _words(name: str, facts: ChurnFacts) -> str:
    """One contribution in words and numbers, for a person."""
    if name == "unanswered":
        return _silence(facts)
    count = getattr(facts, name)
    one, many = _WORDS[name]
    return one if count == 1 else many.format(count)


def _silence(facts: ChurnFacts) -> str:
    count = facts.unanswered
    number = f"{MAX_UNANSWERED} or more" if count >= MAX_UNANSWERED else str(count)
    messages = "message" if count == 1 else "messages"
    before = "opened or clicked before" if facts.answered_before else "has never opened or clicked"
    return f"no open or click in the last {number} {messages}; {before}"
