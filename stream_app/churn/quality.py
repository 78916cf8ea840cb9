"""How good scores are, by what became of those who were scored: ranking, error and calibration. Pure.

Stands beside the fitting, and under ``benchmarks/churn``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

Scored = Sequence[tuple[float, bool]]
"""Scores, each with whether it came true."""


class Bin(NamedTuple):
    """Those with a score from ``low`` to below ``high``, in the last up to 1: how many customers, their mean score, and the share it came true of."""

    low: float
    high: float
    customers: int
    mean_score: float
    share: float


def auc(scored: Scored) -> float | None:
    """The chance that one of whom it came true has a higher score than one of whom it did not, ties counting half (the
    area under the ROC curve, by ranks; Hanley and McNeil, 1982). None where there are only some of one kind."""
    ordered = sorted(scored)
    silent = sum(came_true for _, came_true in ordered)
    others = len(ordered) - silent
    if not silent or not others:
        return None
    ranks, begin = 0.0, 0
    for _, tied in groupby(ordered, key=lambda pair: pair[0]):
        group = list(tied)
        ranks += (begin + (len(group) + 1) / 2) * sum(came_true for _, came_true in group)
        begin += len(group)
    return (ranks - silent * (silent + 1) / 2) / (silent * others)


def brier(scored: Scored) -> float:
    """The mean squared difference between score and outcome (Brier, 1950): 0 is perfect, and always saying the share it
    comes true of gets that share times its complement."""
    return sum((score - came_true) ** 2 for score, came_true in scored) / len(scored)


def calibration(scored: Scored, bins: int = 10) -> list[Bin]:
    """Scores against outcomes, in bins of equal width; empty ones are left out."""
    held: dict[int, list[tuple[float, bool]]] = {}
    for score, came_true in scored:
        held.setdefault(min(int(score * bins), bins - 1), []).append((score, came_true))
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            len(pairs),
            sum(score for score, _ in pairs) / len(pairs),
            sum(came_true for _, came_true in pairs) / len(pairs),
        )
        for place, pairs in sorted(held.items())
    ]
