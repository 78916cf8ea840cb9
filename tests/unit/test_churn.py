"""The churn score: the cases a person would judge alike, and reasons that are its contributions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.churn import (
    BASE,
    MAX_UNANSWERED,
    WEIGHTS,
    ChurnFacts,
    assess,
    contributions,
    fewest_unanswered,
)
from stream_app.alerts.lifecycle import advance_churn
from stream_app.alerts.rules import load_rules

CHURN = load_rules().churn or pytest.fail("the shipped rules have no churn table")
READER = ChurnFacts(answered_before=True)
small = st.integers(0, 20)
facts_of_anyone = st.builds(ChurnFacts, small, st.booleans(), small, small, small, small, small)


@pytest.mark.parametrize("facts", [ChurnFacts(), READER])
def test_without_any_sign_the_score_is_low(facts: ChurnFacts) -> None:
    assert assess(facts).score < 0.1
    assert assess(facts).reasons == ()


@pytest.mark.parametrize(("unanswered", "band"), [(5, None), (6, "watch"), (11, "watch"), (12, "at_risk")])
def test_silence_alone(unanswered: int, band: str | None) -> None:
    assert CHURN.band_of(assess(READER._replace(unanswered=unanswered)).score) == band


def test_silence_of_who_never_answered_is_no_change() -> None:
    assert CHURN.band_of(assess(ChurnFacts(unanswered=12)).score) is None


@pytest.mark.parametrize("ticket", [ChurnFacts(tickets_open=1), ChurnFacts(tickets_reopened=1)])
def test_silence_and_a_ticket_are_a_risk(ticket: ChurnFacts) -> None:
    facts = ticket._replace(unanswered=6, answered_before=True)
    assert CHURN.band_of(assess(facts).score) == "at_risk"


def test_who_opens_again_drops_below_resolve() -> None:
    """The slipping customer of the demonstration: silent, one ticket open and reopened, a cart left."""
    slipping = READER._replace(unanswered=8, tickets_open=1, tickets_reopened=1, carts_abandoned=1)
    state, fired = advance_churn(CHURN, None, assess(slipping), "c-1", 1_000, opted_out=False)
    assert fired is not None
    assert (fired.state, fired.band) == ("firing", "lost")
    _, over = advance_churn(
        CHURN, state, assess(slipping._replace(unanswered=0)), "c-1", 2_000, opted_out=False
    )
    assert over is not None
    assert over.state == "resolved"


def test_reasons_are_the_three_largest_contributions_in_order() -> None:
    facts = ChurnFacts(
        unanswered=8,
        answered_before=True,
        tickets_open=2,
        tickets_reopened=1,
        carts_abandoned=1,
        rating_low=3,
    )
    assert contributions(facts) == pytest.approx(
        {
            "unanswered": 6 * 0.52 + 2 * 0.125,
            "tickets_open": 1.5,
            "tickets_reopened": 1.1,
            "carts_abandoned": 0.25,
            "chats_missed": 0.0,
            "rating_low": 1.8,
        }
    )
    assert assess(facts).reasons == (
        "no open or click in the last 8 messages; opened or clicked before",
        "3 poor ratings since the last good one",
        "2 tickets are unresolved",
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ChurnFacts(unanswered=1), "no open or click in the last 1 message; has never opened or clicked"),
        (
            ChurnFacts(unanswered=12),
            "no open or click in the last 12 or more messages; has never opened or clicked",
        ),
        (ChurnFacts(tickets_open=1), "1 ticket is unresolved"),
        (ChurnFacts(tickets_reopened=1), "a ticket had to be reopened"),
        (ChurnFacts(tickets_reopened=2), "tickets had to be reopened 2 times"),
        (ChurnFacts(carts_abandoned=2), "2 carts left since the last purchase"),
        (ChurnFacts(chats_missed=1), "1 chat was not answered in time"),
        (ChurnFacts(rating_low=1), "1 poor rating since the last good one"),
    ],
)
def test_each_reason_in_words(facts: ChurnFacts, reason: str) -> None:
    assert assess(facts).reasons == (reason,)


def test_the_base_is_the_score_of_nobody_in_particular() -> None:
    assert BASE == -3.0
    assert assess(ChurnFacts()).score == 0.0474
    assert all(weight.each > 0 and weight.most > 0 for weight in WEIGHTS.values())


@given(facts_of_anyone)
def test_a_score_is_a_share_and_has_at_most_three_reasons(facts: ChurnFacts) -> None:
    score, reasons = assess(facts)
    assert 0 < score < 1
    assert len(reasons) == min(3, sum(part > 0 for part in contributions(facts).values()))


@given(
    facts_of_anyone,
    st.sampled_from(
        ["unanswered", "tickets_open", "tickets_reopened", "carts_abandoned", "chats_missed", "rating_low"]
    ),
)
def test_one_more_bad_sign_never_lowers_the_score(facts: ChurnFacts, sign: str) -> None:
    worse = facts._replace(**{sign: getattr(facts, sign) + 1})
    assert assess(worse).score >= assess(facts).score


@given(score=st.floats(0.01, 1.0), unanswered=st.integers(0, 20), answered=st.booleans())
def test_fewer_unanswered_deliveries_than_are_named_reach_no_score_by_themselves(
    score: float, unanswered: int, answered: bool
) -> None:
    reached = assess(ChurnFacts(min(unanswered, MAX_UNANSWERED), answered)).score >= score
    assert unanswered >= fewest_unanswered(score) or not reached
