"""The churn score: a probability whose reasons are its contributions, and alerts that nobody drowns in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.churn import ChurnRule
from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.rule import Rules
from stream_app.alerts.rules import RulesError, load_rules
from stream_app.churn.facts import ChurnFacts
from stream_app.churn.features import BUYER, READER, feature_names
from stream_app.churn.fit import Example, fit_head
from stream_app.churn.learning import begin_learning
from stream_app.churn.model import (
    SHIPPED_MODEL,
    ModelError,
    assess,
    contributions,
    load_model,
    model_text,
    shipped_model,
)
from stream_app.churn.quality import auc, brier, calibration
from stream_app.clock import DAY_MS, HOUR_MS, SECOND_MS
from stream_app.settings import SettingsError, load_settings
from stream_app.state.customers import Customer
from stream_app.state.habits import PERIOD_MS, PERIODS, Habits
from stream_app.state.prediction import Prediction
from stream_app.state.review import AT_ONCE, Review
from stream_app.state.shelf import Shelf
from stream_app.stations.customer_watch import CustomerWatch
from stream_app.worker import check_learning

CHURN = load_rules().churn or pytest.fail("the shipped rules have no churn table")
MODEL = shipped_model()
START = 1_700_000_000_000 // HOUR_MS * HOUR_MS
SERVICE = ("tickets_open", "tickets_reopened", "carts_abandoned", "chats_missed", "rating_low")
READING = ChurnFacts(
    answered_before=True,
    received=12,
    answered=9,
    recently_received=6.0,
    recently_answered=4.5,
    months_known=12.0,
)
SILENT = READING._replace(unanswered=9, received=15, answered=5, recently_received=8.0, recently_answered=0.5)
BUYING = ChurnFacts(purchases=12, months_since_purchase=0.5, months_buying=11.0)
small = st.integers(0, 15)
months = st.floats(0, 12).map(lambda number: round(number, 1))
anyone = st.builds(
    ChurnFacts, small, st.booleans(), small, small, small, small, small, small, small, months, months,
    months, months, small, months, months,
)  # fmt: skip


def more(facts: ChurnFacts, sign: str) -> ChurnFacts:
    return ChurnFacts(**{**facts._asdict(), sign: getattr(facts, sign) + 1})


# --- The score ---


def test_who_reads_is_no_risk_and_who_stopped_is_one() -> None:
    assert CHURN.band_for(assess(READING, MODEL)) is None
    assert CHURN.rank(CHURN.band_for(assess(SILENT, MODEL))) >= CHURN.rank(CHURN.alert_from)


def test_the_same_silence_says_more_of_who_bought_often() -> None:
    often = BUYING._replace(months_since_purchase=6.0, months_buying=5.0)
    seldom = often._replace(purchases=2)
    rise = [
        assess(facts, MODEL).score - assess(facts._replace(months_since_purchase=0.0), MODEL).score
        for facts in (often, seldom)
    ]
    assert rise[0] > rise[1] > 0


@pytest.mark.parametrize("sign", SERVICE)
@pytest.mark.parametrize("facts", [READING, BUYING], ids=["reader", "buyer"])
def test_trouble_raises_the_score_and_is_told(facts: ChurnFacts, sign: str) -> None:
    with_trouble = more(facts, sign)
    troubled = assess(with_trouble, MODEL)
    assert troubled.score > assess(facts, MODEL).score
    assert BUYER[sign].words(with_trouble) in troubled.reasons


@given(anyone, st.sampled_from(SERVICE))
def test_more_trouble_never_lowers_the_score(facts: ChurnFacts, sign: str) -> None:
    assert assess(more(facts, sign), MODEL).score >= assess(facts, MODEL).score


@given(anyone)
def test_a_score_is_a_share_and_its_reasons_are_the_largest_contributions(facts: ChurnFacts) -> None:
    score, reasons, is_silent, _, _ = assess(facts, MODEL)
    factors = MODEL.head_of(facts)[1]
    parts = contributions(facts, MODEL)
    told = sorted((part for part in parts.values() if part >= 0.1), reverse=True)[:3]
    assert 0 <= score <= 1
    assert not is_silent or facts.answered_before or facts.purchases > 0
    assert len(reasons) == len(told)
    by_words = {factors[name].words(facts): part for name, part in parts.items()}
    assert [by_words[reason] for reason in reasons] == pytest.approx(told)


def test_a_reason_is_words_and_numbers() -> None:
    facts = ChurnFacts(unanswered=9, answered_before=True, received=17, answered=6)
    assert READER["mail"].words(facts) == "no open or click in the last 9 messages, before that 6 of 8"
    silent = ChurnFacts(purchases=5, months_since_purchase=6.0, months_buying=4.0)
    assert BUYER["buying"].words(silent) == "no purchase for 6.0 months, before that 5, one every 1.0 months"


# --- The model's file ---


def test_a_model_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(model_text(MODEL, "of a test"), "utf-8")
    held = load_model(path)
    assert (held.horizon_ms, held.reader, held.buyer) == (MODEL.horizon_ms, MODEL.reader, MODEL.buyer)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('horizon = "90d"', 'horizon = "3 months"', "is no number of days"),
        ("overdue", "overdo", "overdo, overdue"),
        ("intercept", "begin", "is no churn model"),
        ("[reader]", "[reader", "is no churn model"),
    ],
)
def test_a_wrong_model_is_named_with_the_mend(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "model.toml"
    path.write_text(SHIPPED_MODEL.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_a_rules_file_names_its_model(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    table = '[churn]\nname = "c"\nbands = { gone = 0.5 }\nalert_from = "gone"\nresolve = 0.4\nseverity = { gone = "warning" }\n'
    rules.write_text(table + 'model = "mine.toml"\n', "utf-8")
    with pytest.raises(RulesError, match=r"rules\.toml:7: .*mine\.toml: cannot be read"):
        load_rules(rules)
    (tmp_path / "mine.toml").write_text(
        model_text(MODEL, "mine").replace('horizon = "90d"', 'horizon = "30d"'), "utf-8"
    )
    churn = load_rules(rules).churn
    assert churn is not None and churn.model.horizon_ms * 3 == MODEL.horizon_ms


# --- Fitting ---


def test_fitted_weights_follow_the_examples_and_keep_what_these_say_nothing_about() -> None:
    examples = [
        Example(
            str(number),
            READING._replace(unanswered=number % 10),
            was_silent=number % 10 + number // 10 % 3 > 6,
        )
        for number in range(300)
    ]
    head = fit_head(examples, READER, MODEL.reader)
    scores = [
        (assess(one.facts, MODEL.__class__(1, head, MODEL.buyer)).score, one.was_silent) for one in examples
    ]
    assert (auc(scores) or 0) > 0.9
    assert sum(score for score, _ in scores) == pytest.approx(sum(silent for _, silent in scores), rel=0.001)
    assert head.weights["tickets_reopened"] == MODEL.reader.weights["tickets_reopened"]
    assert fit_head([], READER, MODEL.reader) is MODEL.reader


scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40
)


@given(scored)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[float, bool]]) -> None:
    silent = [score for score, came_true in pairs if came_true]
    others = [score for score, came_true in pairs if not came_true]
    wins = [(a > b) + (a == b) / 2 for a in silent for b in others]
    assert auc(pairs) == (pytest.approx(sum(wins) / len(wins)) if wins else None)


@given(scored)
def test_a_calibration_table_holds_everyone_once(pairs: list[tuple[float, bool]]) -> None:
    table = calibration(pairs)
    assert sum(held.customers for held in table) == len(pairs)
    assert all(held.low - 1e-9 <= held.mean_score <= held.high for held in table)
    assert 0 <= brier(pairs) <= 1


# --- What is remembered ---


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30), st.randoms())
def test_habits_do_not_depend_on_the_order_and_are_bounded(
    happened: list[tuple[int, bool]], chance: object
) -> None:
    def told(order: list[tuple[int, bool]]) -> Habits:
        habits = Habits()
        for period, answered in order:
            if answered:
                habits.answer(period * PERIOD_MS, 1)
            else:
                habits.receive(period * PERIOD_MS)
        return habits

    shuffled = list(happened)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    habits = told(happened)
    assert habits == told(shuffled)
    assert len(habits.received) == len(habits.answered) <= PERIODS
    newest = max((period for period, _ in happened), default=0)
    kept = [answered for period, answered in happened if period > newest - PERIODS]
    assert habits.totals() == (len(kept) - sum(kept), sum(kept))


def test_everyone_at_rest_has_a_turn_in_a_round_and_no_flush_takes_more_than_its_share() -> None:
    shelf = Shelf()
    names = {f"c-{number}" for number in range(3_000)}
    for name in names:
        shelf.changed(f"u:{name}", 1)
        shelf.changed(f"t:{name}", 1)
    shelf.write_down()
    review = Review(shelf.slices, "u:")
    assert not review.is_due(-1), "nothing is known of the time"
    for day in (20_000, 20_001):
        taken = []
        while review.is_due(day):
            taken.append(review.take(day))
        assert max(map(len, taken)) <= AT_ONCE
        assert sorted(name for turn in taken for name in turn) == sorted(names)


def test_a_day_that_ends_amid_a_round_begins_another_for_all() -> None:
    shelf = Shelf()
    for number in range(AT_ONCE + 1):
        shelf.changed(f"u:c-{number}", 1)
    shelf.write_down()
    review = Review(shelf.slices, "u:")
    assert len(review.take(20_000)) == AT_ONCE
    assert [len(review.take(20_001)) for _ in range(4)] == [1, AT_ONCE, 1, 0]


# --- Alerts ---


def capped(most_per_hour: int) -> ChurnRule:
    return ChurnRule(
        "churn-risk", CHURN.bands, CHURN.alert_from, CHURN.resolve, CHURN.severities, None, 0, most_per_hour
    )


def test_what_is_over_the_hours_limit_waits_and_the_worst_goes_first_also_after_a_restart() -> None:
    shelf = Shelf()
    desk = AlertDesk(shelf, Rules((), capped(4)), shards=2)
    for number in range(6):
        facts = SILENT._replace(unanswered=6 + number, tickets_open=1)
        assert desk.judge_customer(f"c-{number}", assess(facts, MODEL), opted_out=False, as_of_ms=START) == []
    assert [change.key for change in desk.begin_waiting(START)] == ["c-5", "c-4"]
    assert desk.held_back == 4
    shelf.write_down()
    desk = AlertDesk(shelf, Rules((), capped(4)), shards=2)
    assert desk.begin_waiting(START + HOUR_MS - 1) == [], "the hour is full"
    assert [change.key for change in desk.firing()] and desk.held_back == 4
    desk.judge_customer("c-3", assess(READING, MODEL), opted_out=False, as_of_ms=START + HOUR_MS)
    later = desk.begin_waiting(START + HOUR_MS)
    assert [(change.key, change.started_at_ms) for change in later] == [
        ("c-2", START + HOUR_MS),
        ("c-1", START + HOUR_MS),
    ]


def test_who_opts_out_while_waiting_is_never_told_of() -> None:
    desk = AlertDesk(Shelf(), Rules((), capped(1)))
    at_risk = assess(SILENT._replace(tickets_open=2), MODEL)
    desk.judge_customer("c", at_risk, opted_out=False, as_of_ms=START)
    desk.judge_customer("c", at_risk, opted_out=True, as_of_ms=START + 1)
    assert desk.held_back == 0
    assert desk.begin_waiting(START + HOUR_MS) == []


def test_each_head_has_a_weight_for_every_feature() -> None:
    assert set(MODEL.reader.weights) == set(feature_names(READER))
    assert set(MODEL.buyer.weights) == set(feature_names(BUYER))


# --- Learning from outcomes, as a rules file asks for it ---

LEARNS = (
    '[churn]\nname = "c"\nbands = { gone = 0.5 }\nalert_from = "gone"\nresolve = 0.4\n'
    'severity = { gone = "warning" }\nlearn_from_outcomes = true\n'
)


def test_learning_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert not CHURN.learns
    rules = tmp_path / "rules.toml"
    rules.write_text(LEARNS, "utf-8")
    churn = load_rules(rules).churn
    assert churn is not None and churn.learns


def test_a_worker_that_forgets_too_soon_to_learn_says_so(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(LEARNS, "utf-8")
    with pytest.raises(SettingsError, match=r"RETENTION='30d': learn_from_outcomes .* needs 92d"):
        check_learning(load_settings(), load_rules(rules))
    check_learning(load_settings(retention="92d"), load_rules(rules))
    check_learning(load_settings(), load_rules())


def test_what_is_told_of_a_customer_goes_through_what_was_learned() -> None:
    customer = Customer()
    customer.mail.make_good(START - 30 * DAY_MS)
    for days in range(20, 0, -1):
        customer.mail.add(START - days * DAY_MS)
        customer.used_to().receive(START - days * DAY_MS)
    customer.see(START - DAY_MS, "new")
    shelf = Shelf()
    learning = begin_learning(shelf, MODEL, 400 * DAY_MS, START - 100 * DAY_MS)
    assert learning is not None
    watches = [
        CustomerWatch(Rules((), CHURN), AlertDesk(Shelf(), Rules((), CHURN)), load_settings(), one)
        for one in (None, learning)
    ]
    before = [watch.assess({"c": customer}, START).risks for watch in watches]
    assert before[0] == before[1] and before[0][0].segment == "new"
    for number in range(500):
        as_of_s = (START - 91 * DAY_MS) // SECOND_MS
        gone = Customer(prediction=Prediction(as_of_s, 4, is_buyer=False, engaged=True))
        assert learning.review({f"c-{number}": gone}, START) == [f"c-{number}"]
    (after,) = watches[1].assess({"c": customer}, START).risks
    assert after.score < before[0][0].score / 2
    assert watches[0].assess({"c": customer}, START).risks == before[0]
