"""A model out of examples, and an honest word on how good it is. Pure.

Stands behind ``fit``: the customers are split in two by a hash of their ids; what is said of the model is measured on
the half that it was not fitted on, and the model that is kept is fitted on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from stream_app.churn.features import BUYER, READER
from stream_app.churn.fit import Example, fit_head
from stream_app.churn.model import ChurnModel, assess
from stream_app.churn.quality import Bin, auc, brier, calibration


class Quality(NamedTuple):
    """Of one head, on customers that it was not fitted on: how many, how many of them fell silent, and the figures."""

    head: str
    customers: int
    silent: int
    auc: float | None
    brier: float
    calibration: list[Bin]


def fit_model(examples: Sequence[Example], start: ChurnModel, horizon_ms: int) -> ChurnModel:
    """Both heads, fitted to the examples; one without examples stays as it was."""
    readers = [example for example in examples if not example.facts.is_buyer]
    buyers = [example for example in examples if example.facts.is_buyer]
    return ChurnModel(
        horizon_ms, fit_head(readers, READER, start.reader), fit_head(buyers, BUYER, start.buyer)
    )


def held_out(examples: Sequence[Example], start: ChurnModel, horizon_ms: int) -> list[Quality]:
    """How good a model fitted on half of the customers is on the other half."""
    halves: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        halves[is_held_out(example.customer_id)].append(example)
    return quality(halves[True], fit_model(halves[False], start, horizon_ms))


def quality(examples: Sequence[Example], model: ChurnModel) -> list[Quality]:
    """How good a model is on examples, by head; a head without examples is left out."""
    found = []
    for head, is_buyer in (("reader", False), ("buyer", True)):
        scored = [
            (assess(example.facts, model).score, example.was_silent)
            for example in examples
            if example.facts.is_buyer == is_buyer
        ]
        if scored:
            silent = sum(was_silent for _, was_silent in scored)
            found.append(Quality(head, len(scored), silent, auc(scored), brier(scored), calibration(scored)))
    return found


def is_held_out(customer_id: str) -> bool:
    """Which half a customer belongs to."""
    return crc32(customer_id.encode()) % 2 == 1
