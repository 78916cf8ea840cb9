"""Learning from outcomes: what was foretold is held against what came true, and the scores follow. Pure.

Stands between the model and the churn rule, in a worker's shard, where the rule asks for it. At the daily review a customer
who is silent, and of whom nothing is foretold yet, gets a *prediction*; at the first review after its horizon it is known
whether they stayed silent, and the outcome is counted by head and by what the log-odds were. Of these counts, and of
nothing else, a *calibration* is made that scores go through: an intercept and a slope of the log-odds (Platt, 1999), the
most likely ones given the counts and a Gaussian prior around "as the model says". So it does not depend on the order of
outcomes, a crash changes nothing because the counts are journalled with the predictions they came from, and few
outcomes move little. The ranking of customers by one head stays what it was: the slope is never negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from stream_app.churn.facts import engaged_ms_of, facts_of, may_be_silent
from stream_app.churn.fit import PRECISION, most_likely
from stream_app.churn.model import ChurnModel, assess, model_text
from stream_app.clock import DAY_MS, SECOND_MS
from stream_app.state.customers import Customer
from stream_app.state.prediction import Prediction
from stream_app.state.shelf import Drawer, Shelf

MOST_OUTCOMES: Final = 20_000
"""Of a head in a shard; when there are more, all counts are halved, so that what is long past counts ever less."""
STEPS_A_UNIT: Final = 4
FARTHEST_STEP: Final = 6 * STEPS_A_UNIT
"""Log-odds are told in quarters, up to six on either side."""
LEEWAY_MS: Final = 2 * DAY_MS
"""From the end of a horizon until the review has come round."""
_LEARNED_KIND, _NAME = "y:", "churn"
_FARTHEST_INTERCEPT = 5.0
_SLOPES = (0.2, 5.0)
_SMALLEST_SCORE = 1e-4


class Calibration(NamedTuple):
    """Log-odds as they came true: the intercept, and so many times those of the model."""

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, score: float) -> float:
        """A score after it; four digits, as all scores."""
        if self == AS_THE_MODEL_SAYS:
            return score
        return round(_probability(self.intercept + self.slope * _log_odds(score)), 4)


AS_THE_MODEL_SAYS: Final = Calibration()


class Outcomes(msgspec.Struct, array_like=True):
    """How many were silent and how many engaged, by the step of their log-odds, from the lowest to the highest."""

    silent: list[int] = msgspec.field(default_factory=lambda: [0] * (2 * FARTHEST_STEP + 1))
    engaged: list[int] = msgspec.field(default_factory=lambda: [0] * (2 * FARTHEST_STEP + 1))

    def count(self, step: int, was_silent: bool) -> None:
        """An outcome is known."""
        (self.silent if was_silent else self.engaged)[step + FARTHEST_STEP] += 1
        if sum(self.silent) + sum(self.engaged) > MOST_OUTCOMES:
            self.silent = [number // 2 for number in self.silent]
            self.engaged = [number // 2 for number in self.engaged]

    def calibration(self) -> Calibration:
        """The calibration that they make likely."""
        rows, shares, numbers = [], [], []
        for place, (silent, engaged) in enumerate(zip(self.silent, self.engaged, strict=True)):
            if silent + engaged:
                rows.append((1.0, (place - FARTHEST_STEP) / STEPS_A_UNIT))
                shares.append(silent / (silent + engaged))
                numbers.append(silent + engaged)
        if not rows:
            return AS_THE_MODEL_SAYS
        intercept, slope = most_likely(rows, shares, AS_THE_MODEL_SAYS, (PRECISION, PRECISION), numbers)
        lowest, highest = _SLOPES
        return Calibration(
            max(-_FARTHEST_INTERCEPT, min(_FARTHEST_INTERCEPT, intercept)),
            max(lowest, min(highest, slope)),
        )


class Learned(msgspec.Struct, array_like=True):
    """The outcomes of each head, of predictions by one model (told by its number) from a time on."""

    model: int
    since_s: int
    reader: Outcomes = msgspec.field(default_factory=Outcomes)
    buyer: Outcomes = msgspec.field(default_factory=Outcomes)


def shortest_retention_ms(model: ChurnModel) -> int:
    """The shortest retention that can be learned with: who is forgotten before the horizon is over has no outcome, and it
    would be the silent who have none."""
    return model.horizon_ms + LEEWAY_MS


def begin_learning(
    shelf: Shelf, model: ChurnModel | None, retention_ms: int, as_of_ms: int
) -> Learning | None:
    """Take up, or begin, what a shard has learned of a model; without a model what was learned is forgotten, so that
    predictions of before are never held against what was not watched."""
    drawer = Drawer(shelf, _LEARNED_KIND, Learned)
    held = drawer.get(_NAME)
    if model is None:
        if held is not None:
            drawer.delete(_NAME)
        return None
    number = crc32(f"{STEPS_A_UNIT} {FARTHEST_STEP} {model_text(model, '')}".encode())
    if held is None or held.model != number:
        held = Learned(number, as_of_ms // SECOND_MS)
        drawer.put(_NAME, held)
    return Learning(drawer, held, model, retention_ms)


class Learning:
    """What one shard foretells and learns."""

    def __init__(self, drawer: Drawer[Learned], held: Learned, model: ChurnModel, retention_ms: int) -> None:
        self._drawer = drawer
        self._held = held
        self._model = model
        self._retention_ms = retention_ms
        self._calibrate()

    def calibration(self, is_buyer: bool) -> Calibration:
        """What the scores of a head go through now."""
        return self._calibrations[is_buyer]

    def words(self) -> str:
        """What was learned so far, for a log."""
        return "; ".join(
            f"{head}: {sum(held.silent):,} silent and {sum(held.engaged):,} engaged, intercept {found.intercept:.2f}, "
            f"slope {found.slope:.2f}"
            for head, held, found in zip(
                ("readers", "buyers"), (self._held.reader, self._held.buyer), self._calibrations, strict=True
            )
        )

    def note(self, customers: Iterable[Customer]) -> None:
        """Note who has engaged, of customers that events or time have touched; they are changed in place."""
        for customer in customers:
            if customer.prediction is not None:
                self._note(customer, customer.prediction)

    def review(self, customers: Mapping[str, Customer], watermark_ms: int) -> list[str]:
        """Count the outcomes that are known, and foretell anew; returns the customers that this has changed."""
        changed, outcomes = [], 0
        for customer_id in sorted(customers):
            customer = customers[customer_id]
            before = customer.prediction
            if before is not None and self._is_over(before, watermark_ms):
                outcomes += self._count(customer, before)
                customer.prediction = None
            if customer.prediction is None:
                customer.prediction = self._foretell(customer, watermark_ms)
            if customer.prediction is not before:
                changed.append(customer_id)
        if outcomes:
            self._drawer.put(_NAME, self._held)
            self._calibrate()
        return changed

    def _calibrate(self) -> None:
        self._calibrations = (self._held.reader.calibration(), self._held.buyer.calibration())

    def _is_over(self, prediction: Prediction, watermark_ms: int) -> bool:
        """Whether the horizon has passed, or the prediction is another model's."""
        end_ms = prediction.as_of_s * SECOND_MS + self._model.horizon_ms
        return watermark_ms > end_ms or prediction.as_of_s < self._held.since_s

    def _note(self, customer: Customer, prediction: Prediction) -> None:
        begin_ms = prediction.as_of_s * SECOND_MS
        engaged_ms = engaged_ms_of(customer, prediction.is_buyer)
        if begin_ms < engaged_ms <= begin_ms + self._model.horizon_ms:
            prediction.engaged = True

    def _count(self, customer: Customer, prediction: Prediction) -> bool:
        """Count an outcome; tells whether it is one of this model's."""
        if prediction.as_of_s < self._held.since_s:
            return False
        self._note(customer, prediction)
        outcomes = self._held.buyer if prediction.is_buyer else self._held.reader
        outcomes.count(prediction.step, was_silent=not prediction.engaged)
        return True

    def _foretell(self, customer: Customer, watermark_ms: int) -> Prediction | None:
        """What is to be expected of a customer whose score is told, if they are remembered to the end of the horizon
        even if nothing more comes of them: with others, the silent would be forgotten and only the rest be counted."""
        as_of_ms = max(customer.last_seen_ms, watermark_ms)
        is_remembered = customer.last_seen_ms + self._retention_ms >= as_of_ms + shortest_retention_ms(
            self._model
        )
        if not is_remembered or customer.opted_out or not may_be_silent(customer):
            return None
        facts = facts_of(customer, as_of_ms)
        found = assess(facts, self._model)
        if not found.is_silent:
            return None
        step = round(_log_odds(found.score) * STEPS_A_UNIT)
        within = max(-FARTHEST_STEP, min(FARTHEST_STEP, step))
        return Prediction(as_of_ms // SECOND_MS, within, facts.is_buyer)


def _log_odds(score: float) -> float:
    share = max(_SMALLEST_SCORE, min(1 - _SMALLEST_SCORE, score))
    return log(share / (1 - share))


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
