"""The watch over a shard's customers: whose risk of leaving is assessed, and what there is to tell. Pure.

Stands between the shard and its alert desk, as ``alerts/watch.py`` does for the merged numbers: in a worker's shard
station, and in a backtest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream_app.alerts.churn import ChurnFacts, assess, fewest_unanswered
from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import Rules
from stream_app.sinks.redis_commands import CustomerRisk
from stream_app.state.customers import Customer

_NEVER = 2.0
"""Above every score."""


class Assessed(NamedTuple):
    """What changed of the customers' alerts, and the risks that a view must show."""

    changes: list[AlertChange]
    risks: list[CustomerRisk]


class CustomerWatch:
    """Holds customers against the churn rule."""

    def __init__(self, rules: Rules, desk: AlertDesk) -> None:
        self._rule = rules.churn
        self._desk = desk
        self._in_band: set[str] = set()
        self._lowest_band = self._rule.bands[0][1] if self._rule else _NEVER
        self._fewest_unanswered = fewest_unanswered(self._lowest_band)

    def assess(self, customers: Mapping[str, Customer], watermark_ms: int) -> Assessed:
        """Assess the customers that events or time have touched."""
        changes: list[AlertChange] = []
        risks: list[CustomerRisk] = []
        told, in_band, unremarkable = self._desk.customers, self._in_band, self._unremarkable
        for customer_id in sorted(
            name
            for name, customer in customers.items()
            if name in told or name in in_band or not unremarkable(customer)
        ):
            customer = customers[customer_id]
            as_of_ms = max(customer.last_seen_ms, watermark_ms)
            changes += self._desk.judge_customer(
                customer_id, facts_of(customer), customer.opted_out, as_of_ms
            )
            risk = self._risk(customer_id, customer)
            if risk.band is not None:
                in_band.add(customer_id)
                risks.append(risk)
            elif customer_id in in_band:
                in_band.discard(customer_id)
                risks.append(risk)
        return Assessed(changes, risks)

    def forget(self, customer_ids: Iterable[str], watermark_ms: int) -> Assessed:
        """End what is told of customers who were silent for the retention."""
        changes: list[AlertChange] = []
        risks: list[CustomerRisk] = []
        for customer_id in customer_ids:
            changes += self._desk.forget_customer(customer_id, watermark_ms)
            if customer_id in self._in_band:
                self._in_band.discard(customer_id)
                risks.append(CustomerRisk(customer_id, 0.0, None, (), 0))
        return Assessed(changes, risks)

    def look_again(self, customer_id: str, customer: Customer) -> CustomerRisk | None:
        """The risk of a customer in a band, for a view that has to be filled again; None for all others."""
        risk = self._risk(customer_id, customer)
        if risk.band is None:
            return None
        self._in_band.add(customer_id)
        return risk

    def _unremarkable(self, customer: Customer) -> bool:
        """Whether a customer's score is below every band, by a look that spares nearly all of them the whole sum."""
        if customer.signs is None and len(customer.mail.times) < self._fewest_unanswered:
            return True
        return assess(facts_of(customer)).score < self._lowest_band

    def _risk(self, customer_id: str, customer: Customer) -> CustomerRisk:
        score, reasons = assess(facts_of(customer))
        rule = self._rule
        band = None if rule is None or customer.opted_out else rule.band_of(score)
        return CustomerRisk(customer_id, score, band, tuple(reasons), customer.last_seen_ms)


def facts_of(customer: Customer) -> ChurnFacts:
    """What the churn score asks of a customer."""
    signs = customer.signs
    unanswered, answered_before = customer.unanswered()
    if signs is None:
        return ChurnFacts(unanswered, answered_before)
    return ChurnFacts(
        unanswered=unanswered,
        answered_before=answered_before,
        tickets_open=signs.tickets_open,
        tickets_reopened=signs.tickets_reopened,
        carts_abandoned=len(signs.carts.times),
        chats_missed=len(signs.chats.times),
        rating_low=len(signs.ratings.times),
    )
