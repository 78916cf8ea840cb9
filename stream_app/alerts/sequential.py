"""Whether a proportion lies beyond a level, by a test that may be looked at as often as one likes. Pure.

Stands under ``detection``. An interval is right 95 times of 100 for *one* look; a number that is looked at after
every pane gets thousands of chances to be wrong. The test here is a bet against the level (an e-value): for
alternatives q beyond the level, the likelihood ratio of q against the level, averaged. At a rate no worse than the
level it is a nonnegative supermartingale that begins at 1, so that the probability that it *ever* reaches ``1 / ERROR``
is at most ``ERROR``, however often one looks (Ville's inequality).

Deliveries come before the opt-outs that they bring. That takes nothing from the promise for ``above``: the value grows
with the numerator, so that what has not happened yet can only make it smaller than it would be if each delivery were
answered at once, and of that one the inequality speaks. For the same reason it holds for a numerator of a shorter
window over the denominator of ``total``.

Sources: J. Ville, Étude critique de la notion de collectif, 1939; H. Robbins, Statistical methods related to the law of
the iterated logarithm, 1970 (mixtures of likelihood ratios); I. Waudby-Smith and A. Ramdas, Estimating means of bounded
random variables by betting, 2023 (hedged bets on both sides of an interval).
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log
from typing import Final

from stream_app.clock import DAY_MS
from stream_app.metrics.catalogue import WINDOWS

ERROR: Final = 0.025
"""How likely a rate exactly at the level ever fires: the judged side of a 95 % interval, for a whole day of looks."""

_ODDS_RATIOS: Final = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)
"""The alternatives: how many times the level's odds (for ``below``, so many times less). The nearest bounds how small a
difference is ever told, about an eighth of the level; the others make large differences quick to tell."""

_LARGEST_EXPONENT = 700.0  # of e, in a float


def is_beyond(level: float, direction: str, numerator: float, denominator: float, window: str) -> bool:
    """Whether a proportion has been shown to lie beyond a level, ``above`` or ``below`` it; none lies beyond a level
    that is not itself between 0 and 1.

    ``window`` is the denominator's. Each window of a day is a chance of its own, so that the evidence asked for grows with
    the number of windows in a day (Bonferroni); ``total`` is one.

    Raises:
        ValueError: there are more successes than trials.
    """
    if not 0 < level < 1:
        return False
    return evidence_against(level, direction, numerator, denominator) >= evidence_needed(window)


def evidence_needed(window: str) -> float:
    """How large an e-value must be for a rule whose denominator has a window."""
    return max(1.0, DAY_MS / WINDOWS.get(window, DAY_MS)) / ERROR


def evidence_against(level: float, direction: str, numerator: float, denominator: float) -> float:
    """The e-value against "the rate is no worse than the level": 1 says nothing, 40 that it is 1 in 40 to ever come so
    far by chance.

    Raises:
        ValueError: the level is not between 0 and 1, or there are more successes than trials.
    """
    if not 0 < level < 1 or not 0 <= numerator <= denominator:
        raise ValueError(f"no proportion and level: {numerator} of {denominator}, {level}")
    failures = denominator - numerator
    bets = _bets(level, direction)
    exponents = (numerator * success + failures * failure for success, failure in bets)
    return sum(exp(min(exponent, _LARGEST_EXPONENT)) for exponent in exponents) / len(bets)


@lru_cache(maxsize=1_000)
def _bets(level: float, direction: str) -> tuple[tuple[float, float], ...]:
    """For each alternative, the logarithm of its likelihood ratio for one success and for one failure."""
    bets = []
    for ratio in _ODDS_RATIOS:
        odds = level / (1 - level) * (ratio if direction == "above" else 1 / ratio)
        share = odds / (1 + odds)
        bets.append((log(share / level), log((1 - share) / (1 - level))))
    return tuple(bets)
