"""What the churn model may know of a customer, as of a time. Pure.

Stands between the state and the model: a worker, a backtest and the fitting all ask here, so that what the weights were
fitted on is what they are used on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from stream_app.clock import DAY_MS
from stream_app.state.customers import Customer

MONTH_MS: Final = 30 * DAY_MS
MOST_MONTHS: Final = 12.0
"""Older than that is just old."""
MAX_UNANSWERED: Final = 12
"""Deliveries without an answer are counted up to here; more say nothing new."""


class ChurnFacts(NamedTuple):
    """What is known of a customer. None is negative; months are of 30 days, to a tenth, up to 12.

    ``unanswered``: deliveries since the person last opened or clicked, up to 12. ``answered_before``: ever did.
    ``received`` and ``answered``: messages of the last twelve months; ``recently_*``: the same, each counting half as
    much for every 120 days that it is old. ``months_known``: since the first delivery. ``months_silent``: since the last
    open or click, 0 for who never did.
    ``purchases``, ``months_since_purchase``, ``months_buying`` (from the first to the last).
    ``tickets_open``: opened or reopened, not resolved. ``tickets_reopened``: reopenings of those. ``carts_abandoned``:
    since the last purchase. ``chats_missed``: since the last answered one. ``rating_low``: ratings of 1 or 2 since the
    last of 4 or 5.
    """

    unanswered: int = 0
    answered_before: bool = False
    tickets_open: int = 0
    tickets_reopened: int = 0
    carts_abandoned: int = 0
    chats_missed: int = 0
    rating_low: int = 0
    received: int = 0
    answered: int = 0
    recently_received: float = 0.0
    recently_answered: float = 0.0
    months_known: float = 0.0
    months_silent: float = 0.0
    purchases: int = 0
    months_since_purchase: float = 0.0
    months_buying: float = 0.0

    @property
    def is_buyer(self) -> bool:
        """Whether it is purchases that must not end; of all others, opens and clicks."""
        return self.purchases > 0

    @property
    def is_silent(self) -> bool:
        """Whether there is a silence to speak of: of somebody who opened or clicked once and has not answered since, or
        who bought once and not for a month. Who never did was never with us, and who just did is here."""
        if self.is_buyer:
            return self.months_since_purchase >= 1
        return self.answered_before and self.unanswered > 0


def facts_of(customer: Customer, as_of_ms: int) -> ChurnFacts:
    """What is known of a customer as of a time that none of their events lies after."""
    unanswered, answered_before = customer.unanswered()
    received, answered, recent = 0, 0, (0.0, 0.0)
    if customer.habits is not None:
        received, answered = customer.habits.totals()
        recent = customer.habits.recent(as_of_ms)
    reached = customer.reached or {}
    facts = ChurnFacts(
        unanswered=unanswered,
        answered_before=answered_before,
        received=received,
        answered=answered,
        recently_received=round(recent[0], 1),
        recently_answered=round(recent[1], 1),
        months_known=_months(min(reached.values(), default=-1), as_of_ms),
        months_silent=_months(customer.last_answer_ms(), as_of_ms),
    )
    signs = customer.signs
    if signs is None:
        return facts
    return facts._replace(
        tickets_open=signs.tickets_open,
        tickets_reopened=signs.tickets_reopened,
        carts_abandoned=len(signs.carts.times_s),
        chats_missed=len(signs.chats.times_s),
        rating_low=len(signs.ratings.times_s),
        purchases=signs.purchases,
        months_since_purchase=_months(signs.last_purchase_ms, as_of_ms),
        months_buying=_months(signs.first_purchase_ms, signs.last_purchase_ms),
    )


def last_engaged_ms(customer: Customer) -> int:
    """When the customer last did what the score is about: bought, or opened or clicked; -1 for never."""
    signs = customer.signs
    if signs is not None and signs.purchases > 0:
        return signs.last_purchase_ms
    return customer.last_answer_ms()


def engaged_ms_of(customer: Customer, is_buyer: bool) -> int:
    """When a customer last did what they were scored for; -1 for never. A reader who has bought meanwhile is a reader still:
    it is opens and clicks that were foretold."""
    return last_engaged_ms(customer) if is_buyer else customer.last_answer_ms()


def may_be_silent(customer: Customer) -> bool:
    """Whether there may be a silence to speak of, by a look that spares all others the whole sum."""
    mail = customer.mail
    if mail.times_s and (mail.made_good_s >= 0 or customer.recent is not None):
        return True
    return customer.signs is not None and customer.signs.purchases > 0


def _months(since_ms: int, until_ms: int) -> float:
    """The months between two times, the first -1 for never, which makes 0."""
    if since_ms < 0:
        return 0.0
    return round(min(max(0, until_ms - since_ms) / MONTH_MS, MOST_MONTHS), 1)
