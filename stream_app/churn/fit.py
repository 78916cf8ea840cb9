"""How the weights of the churn model are fitted to what became of customers. Pure.

Stands beside the model; ``backtest/outcomes.py`` brings the examples. The weights are the most likely ones given the
examples and the weights of the model one starts from (a Gaussian prior around each, which is the same as a ridge
towards it), found by Newton's method. So what a company's history says little about stays near where it was, and what it
says nothing about (tickets, where there are none) stays exactly there. A sign of trouble never lowers the score: where chance
would have it so, its weight is 0. With so few weights and thousands of examples a
logistic regression is calibrated by itself: over the examples, the mean score is the share of the silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Final, NamedTuple

from stream_app.churn.facts import ChurnFacts
from stream_app.churn.features import Factor, feature_names, values_of
from stream_app.churn.model import Head

PRECISION: Final = 1.0
"""Of the prior around each weight but the intercept: a deviation of 1 from it."""
NEVER_NEGATIVE: Final = frozenset(
    {
        *("unanswered", "never_answered", "sparse", "overdue", "unread"),
        *("tickets_open", "tickets_reopened", "carts_abandoned", "chats_missed", "rating_low"),
    }
)
"""The features that are signs of trouble: the more, the worse."""
_PINNED = 1e9
"""The precision of a prior that leaves a weight no choice."""
_STEPS = 50
_CLOSE_ENOUGH = 1e-6
_FARTHEST = 30.0
_LONGEST_STEP = 5.0


class Example(NamedTuple):
    """What was known of a customer, and whether they were silent over the horizon that followed."""

    customer_id: str
    facts: ChurnFacts
    was_silent: bool


def fit_head(examples: Sequence[Example], factors: dict[str, Factor], start: Head) -> Head:
    """The most likely weights of a head; those it starts from where there are no examples."""
    if not examples:
        return start
    names = feature_names(factors)
    rows = [(1.0, *values_of(factors, example.facts).values()) for example in examples]
    silent = [float(example.was_silent) for example in examples]
    prior = [start.intercept, *(start.weights[name] for name in names)]
    precisions = [1e-6] + [PRECISION] * len(names)
    weights = most_likely(rows, silent, prior, precisions)
    while wrong := [
        place
        for place, name in enumerate(names, 1)
        if name in NEVER_NEGATIVE and weights[place] < 0 and precisions[place] != _PINNED
    ]:
        for place in wrong:
            prior[place], precisions[place] = 0.0, _PINNED
        weights = most_likely(rows, silent, prior, precisions)
    stayed = [row for row, was_silent in zip(rows, silent, strict=True) if not was_silent] or rows
    usual = [sum(column) / len(stayed) for column in zip(*stayed, strict=True)]
    return Head(
        round(weights[0], 4),
        {name: round(weight, 4) + 0.0 for name, weight in zip(names, weights[1:], strict=True)},
        {name: round(mean, 4) for name, mean in zip(names, usual[1:], strict=True)},
    )


def most_likely(
    rows: Sequence[tuple[float, ...]],
    silent: Sequence[float],
    prior: Sequence[float],
    precisions: Sequence[float],
    numbers: Sequence[int] | None = None,
) -> list[float]:
    """The most likely weights of a logistic regression, by Newton's method on the penalised likelihood, which has one
    maximum. ``numbers``: how many each row stands for, of whom ``silent`` is then the share; one each if not given."""
    weights = list(prior)
    standing_for = [1] * len(rows) if numbers is None else numbers
    for _ in range(_STEPS):
        size = len(weights)
        slope = [
            precision * (centre - weight)
            for precision, centre, weight in zip(precisions, prior, weights, strict=True)
        ]
        curvature = [[0.0] * size for _ in range(size)]
        for row, outcome, number in zip(rows, silent, standing_for, strict=True):
            score = _probability(sum(weight * value for weight, value in zip(weights, row, strict=True)))
            spread = number * score * (1 - score)
            for i, value in enumerate(row):
                if value:
                    slope[i] += number * (outcome - score) * value
                    line, scaled = curvature[i], spread * value
                    for j in range(i + 1):
                        line[j] += scaled * row[j]
        for i in range(size):
            curvature[i][i] += precisions[i]
            for j in range(i):
                curvature[j][i] = curvature[i][j]
        step = _solve(curvature, slope)
        longest = max(map(abs, step))
        shorter = min(1.0, _LONGEST_STEP / longest) if longest else 1.0
        weights = [weight + shorter * change for weight, change in zip(weights, step, strict=True)]
        if longest < _CLOSE_ENOUGH:
            break
    return weights


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-max(-_FARTHEST, min(_FARTHEST, log_odds))))


def _solve(matrix: list[list[float]], right: Sequence[float]) -> list[float]:
    """The solution of a system of linear equations that has one (Gauss, with pivots)."""
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda place: abs(rows[place][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for below in rows[i + 1 :]:
            share = below[i] / rows[i][i]
            for j in range(i, size + 1):
                below[j] -= share * rows[i][j]
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solution[j] for j in range(i + 1, size))
        solution[i] = (rows[i][size] - known) / rows[i][i]
    return solution
