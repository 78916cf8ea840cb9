"""What learning from outcomes is worth: a history replayed with weights that are off. Part of ``python -m benchmarks.churn``.

Events go through the worker's shard, a day is reviewed when it is over, and every prediction is judged by what came true,
with the score as it was told at the time: with what had been learned by then, and as the model alone says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from stream_app.backtest.arrivals import Arrival, ArrivalClock
from stream_app.backtest.intake import Intake
from stream_app.backtest.tidy_shelf import TidyShelf
from stream_app.churn.facts import facts_of
from stream_app.churn.learning import Learning, begin_learning
from stream_app.churn.model import ChurnModel, assess
from stream_app.churn.quality import brier
from stream_app.clock import DAY_MS, HOUR_MS, SECOND_MS
from stream_app.settings import Settings
from stream_app.state.customers import Customer
from stream_app.state.shard import Shard


class Told(NamedTuple):
    """A prediction: when, by which head, and the score with and without what had been learned."""

    as_of_s: int
    is_buyer: bool
    learned: float
    plain: float


class Judged(NamedTuple):
    """A prediction and whether it came true."""

    told: Told
    was_silent: bool


def off(model: ChurnModel, horizon_ms: int, intercept: float, slope: float) -> ChurnModel:
    """A model whose readers' log-odds are off by an intercept and a slope."""
    reader = model.reader
    wrong = msgspec.structs.replace(
        reader,
        intercept=intercept + slope * reader.intercept,
        weights={name: slope * weight for name, weight in reader.weights.items()},
    )
    return ChurnModel(horizon_ms, wrong, model.buyer)


def judged(settings: Settings, arrivals: Sequence[Arrival], model: ChurnModel) -> list[Judged]:
    """Every prediction of the history whose horizon was over."""
    run = _Run(settings, model, arrivals[0].time_ms)
    clock = ArrivalClock(settings.allowed_lateness)
    for arrival in arrivals:
        for known, clock_ms in clock.take(arrival):
            run.take(known, clock_ms)
    for known, clock_ms in clock.rest():
        run.take(known, clock_ms)
    return run.judged


def learning_lines(settings: Settings, arrivals: Sequence[Arrival], model: ChurnModel) -> list[str]:
    """How good the scores were with and without what was learned, of readers, since the first outcomes were known."""
    found = judged(settings, arrivals, model)
    first_s = min((one.told.as_of_s for one in found), default=0)
    since_s = first_s + (model.horizon_ms + DAY_MS) // SECOND_MS
    some = [one for one in found if not one.told.is_buyer and one.told.as_of_s >= since_s]
    if not some:
        return ["no prediction has come to its outcome; the history is too short"]
    silent = sum(one.was_silent for one in some) / len(some)
    lines = [f"{len(some):,} predictions of readers after the first outcomes; {silent:.1%} were silent"]
    for name, scores in (
        ("as the model says", [one.told.plain for one in some]),
        ("with what was learned", [one.told.learned for one in some]),
    ):
        error = brier([(score, one.was_silent) for score, one in zip(scores, some, strict=True)])
        lines.append(f"  {name:22}  mean score {sum(scores) / len(scores):.3f}  Brier {error:.4f}")
    return lines


class _Run:
    """One shard for all customers, flushed once an hour of event time, and its reviews."""

    def __init__(self, settings: Settings, model: ChurnModel, start_ms: int) -> None:
        self._shelf = TidyShelf()
        self._shard = Shard(self._shelf, None, settings, start_ms)
        learning = begin_learning(self._shelf, model, settings.retention, start_ms)
        assert learning is not None
        self._learning: Learning = learning
        self._model = model
        self._intake = Intake()
        self._until_ms = start_ms + HOUR_MS
        self._told: dict[str, Told] = {}
        self.judged: list[Judged] = []

    def take(self, arrival: Arrival, clock_ms: int) -> None:
        """The next event."""
        if clock_ms >= self._until_ms:
            self._flush(clock_ms)
        self._intake.take(arrival)

    def _flush(self, clock_ms: int) -> None:
        self._until_ms = clock_ms + HOUR_MS
        self._intake.apply(self._shard, clock_ms)
        self._shard.tick(clock_ms)
        self._learning.note(self._shard.flush().customers.values())
        self._shelf.tidy(self._shard.expired)
        while self._shard.review_is_due():
            self._review()
        self._shelf.tidy(self._shard.expired)

    def _review(self) -> None:
        watermark_ms = self._shard.watermark.current_ms
        reviewed = self._shard.take_reviewed()
        before = {name: customer.prediction for name, customer in reviewed.items()}
        for name in self._learning.review(reviewed, watermark_ms):
            customer, outcome = reviewed[name], before[name]
            told = self._told.pop(name, None)
            if told is not None and outcome is not None:
                self.judged.append(Judged(told, not outcome.engaged))
            if customer.prediction is not None:
                self._told[name] = self._tell(name, customer, watermark_ms)
            self._shard.customers.put(name, customer)

    def _tell(self, name: str, customer: Customer, watermark_ms: int) -> Told:
        facts = facts_of(customer, max(customer.last_seen_ms, watermark_ms))
        plain = assess(facts, self._model).score
        learned = self._learning.calibration(facts.is_buyer).apply(plain)
        return Told(watermark_ms // SECOND_MS, facts.is_buyer, learned, plain)
