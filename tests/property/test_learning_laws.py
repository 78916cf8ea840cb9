"""Learning from outcomes: scores come to be what comes true, whatever the order and whoever restarts."""

from __future__ import annotations

from math import exp
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.churn.learning import (
    AS_THE_MODEL_SAYS,
    FARTHEST_STEP,
    LEEWAY_MS,
    MOST_OUTCOMES,
    STEPS_A_UNIT,
    Calibration,
    Outcomes,
    begin_learning,
    shortest_retention_ms,
)
from stream_app.churn.model import ChurnModel, shipped_model
from stream_app.clock import DAY_MS
from stream_app.state.customers import Customer
from stream_app.state.shelf import Drawer, Shelf

MODEL = ChurnModel(5 * DAY_MS, shipped_model().reader, shipped_model().buyer)
RETENTION_MS = 60 * DAY_MS
START_DAY = 20_000
OUTCOMES = 3_000

seeds = st.integers(0, 2**32 - 1)
steps = st.integers(-FARTHEST_STEP, FARTHEST_STEP)


def probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))


@settings(max_examples=10, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(0.5, 1.6), seeds)
def test_scores_converge_to_a_shifted_truth(intercept: float, slope: float, seed: int) -> None:
    chance, outcomes = Random(seed), Outcomes()
    for _ in range(OUTCOMES):
        step = chance.randint(-3 * STEPS_A_UNIT, 3 * STEPS_A_UNIT)
        truth = probability(intercept + slope * step / STEPS_A_UNIT)
        outcomes.count(step, chance.random() < truth)
    learned = outcomes.calibration()
    for step in range(-3 * STEPS_A_UNIT, 3 * STEPS_A_UNIT + 1, STEPS_A_UNIT):
        told = learned.apply(round(probability(step / STEPS_A_UNIT), 4))
        assert abs(told - probability(intercept + slope * step / STEPS_A_UNIT)) < 0.08


@given(st.lists(st.tuples(steps, st.booleans()), max_size=60), st.randoms())
def test_the_order_of_outcomes_is_of_no_matter(happened: list[tuple[int, bool]], chance: Random) -> None:
    shuffled = list(happened)
    chance.shuffle(shuffled)
    one, other = Outcomes(), Outcomes()
    for outcomes, order in ((one, happened), (other, shuffled)):
        for step, was_silent in order:
            outcomes.count(step, was_silent)
    assert one == other
    assert one.calibration() == other.calibration()
    if not happened:
        assert one.calibration() is AS_THE_MODEL_SAYS


@given(
    st.lists(st.tuples(steps, st.booleans()), max_size=60), st.lists(st.floats(0, 1), min_size=2, max_size=5)
)
def test_a_calibration_is_bounded_and_keeps_the_ranking(
    happened: list[tuple[int, bool]], scores: list[float]
) -> None:
    outcomes = Outcomes()
    for step, was_silent in happened:
        outcomes.count(step, was_silent)
    learned = outcomes.calibration()
    told = [learned.apply(round(score, 4)) for score in sorted(scores)]
    assert told == sorted(told)
    assert told[0] >= 0 and told[-1] <= 1


def test_one_outcome_moves_little_and_what_is_long_past_counts_less() -> None:
    outcomes = Outcomes()
    outcomes.count(0, was_silent=True)
    assert 0.5 < outcomes.calibration().apply(0.5) < 0.7
    for _ in range(MOST_OUTCOMES):
        outcomes.count(0, was_silent=True)
    assert sum(outcomes.silent) <= MOST_OUTCOMES
    for _ in range(MOST_OUTCOMES):
        outcomes.count(0, was_silent=False)
    assert outcomes.calibration().apply(0.5) < 0.4


def test_as_the_model_says_changes_no_score() -> None:
    scores = [number / 10_000 for number in range(10_001)]
    assert [Calibration().apply(score) for score in scores] == scores


# --- Over days, with reviews, engagements and restarts ---


class Life:
    """Readers over days: each gets a message a day, opens at times, and everyone is reviewed at the end of the day."""

    def __init__(self, people: int, learns: bool = True) -> None:
        self.shelf = Shelf()
        self.learns = learns
        self.names = [f"c-{number}" for number in range(people)]
        self.restart()

    def restart(self) -> None:
        """A new owner takes up what was written down."""
        self.shelf = Shelf(self.shelf.slices)
        self.customers = Drawer(self.shelf, "u:", Customer)
        model = MODEL if self.learns else None
        self.learning = begin_learning(self.shelf, model, RETENTION_MS, START_DAY * DAY_MS)

    def day(self, number: int, opening: set[str]) -> None:
        """A day's events, each flushed by itself, and its review."""
        begin_ms = (START_DAY + number) * DAY_MS
        for name in self.names:
            customer = self.customers.get(name) or Customer()
            customer.see(begin_ms, None)
            customer.mail.add(begin_ms)
            customer.used_to().receive(begin_ms)
            if name in opening:
                customer.see(begin_ms + 1_000, None)
                customer.mail.make_good(begin_ms + 1_000)
                customer.used_to().answer(begin_ms + 1_000, 1)
            if self.learning:
                self.learning.note([customer])
            self.customers.put(name, customer)
        self.shelf.write_down()
        held = {name: known for name in self.names if (known := self.customers.get(name)) is not None}
        if self.learning:
            for name in self.learning.review(held, begin_ms + 2_000):
                self.customers.put(name, held[name])
        self.shelf.write_down()

    def written(self) -> dict[str, bytes]:
        """All that is at rest."""
        return {key: data for kind in ("u:", "y:") for key, data in self.shelf.slices.items(kind)}


openings = st.lists(st.sets(st.sampled_from(["c-0", "c-1", "c-2", "c-3"])), min_size=8, max_size=16)


@settings(max_examples=30, deadline=None)
@given(openings, st.sets(st.integers(0, 15)))
def test_restarts_in_the_middle_change_nothing(days: list[set[str]], restarts: set[int]) -> None:
    one, other = Life(4), Life(4)
    for number, opening in enumerate(days):
        if number in restarts:
            other.restart()
        one.day(number, opening)
        other.day(number, opening)
    assert one.written() == other.written()
    assert one.learning and other.learning
    assert one.learning.calibration(False) == other.learning.calibration(False)


@settings(max_examples=30, deadline=None)
@given(openings)
def test_every_outcome_is_what_became_of_the_customer(days: list[set[str]]) -> None:
    """Of each customer apart: the days they opened on are known, so what a prediction must come to is, too."""
    life = Life(4)
    foretold: dict[str, int] = {}
    silent = engaged = 0
    for number, opening in enumerate(days):
        life.day(number, opening)
        for name in life.names:
            customer = life.customers.get(name)
            assert customer is not None
            began = foretold.get(name)
            if began is not None and number > began + 5:
                came = any(name in days[day] for day in range(began + 1, began + 6))
                engaged, silent = engaged + came, silent + (not came)
                del foretold[name]
            if name not in foretold and customer.prediction is not None:
                foretold[name] = number
    assert life.learning is not None
    reader = life.learning._held.reader
    assert (sum(reader.silent), sum(reader.engaged)) == (silent, engaged)


def test_without_the_option_nothing_is_foretold_and_what_was_learned_is_forgotten() -> None:
    life, plain = Life(4), Life(4, learns=False)
    for number in range(8):
        opening = {"c-0"} if number % 3 == 0 else set[str]()
        plain.day(number, opening)
        life.day(number, opening)
    assert not any(key.startswith("y:") for key in plain.written())
    assert all(customer.prediction is None for _, customer in plain.customers.items())
    assert any(customer.prediction for _, customer in life.customers.items())
    life.learns = False
    life.restart()
    life.shelf.write_down()
    assert not any(key.startswith("y:") for key in life.written())
    life.learns = True
    life.restart()
    assert life.learning and life.learning.calibration(False) == AS_THE_MODEL_SAYS


def test_who_would_be_forgotten_before_the_horizon_is_over_is_not_foretold() -> None:
    life = Life(1)
    life.day(0, {"c-0"})
    life.day(1, set())
    customer = life.customers.get("c-0")
    assert customer is not None and life.learning is not None
    customer.prediction = None
    assert shortest_retention_ms(MODEL) == MODEL.horizon_ms + LEEWAY_MS
    latest_ms = customer.last_seen_ms + RETENTION_MS - shortest_retention_ms(MODEL)
    assert life.learning.review({"c-0": customer}, latest_ms + 1) == []
    assert life.learning.review({"c-0": customer}, latest_ms) == ["c-0"]
