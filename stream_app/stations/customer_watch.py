"""The watch over a shard's customers: whose risk of leaving is assessed, and what there is to tell. Pure.

Stands between the shard and its alert desk, as ``alerts/watch.py`` does for the merged numbers: in a worker's shard
station, and in a backtest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import Rules
from stream_app.churn.facts import facts_of, last_engaged_ms, may_be_silent
from stream_app.churn.learning import Learning
from stream_app.churn.model import Assessment, assess, shipped_model
from stream_app.clock import DAY_MS
from stream_app.settings import Settings
from stream_app.sinks.redis_commands import CustomerRisk
from stream_app.state.customers import Customer
from stream_app.state.stage_counts import stage_on
from stream_app.state.stages import Limits


class Assessed(NamedTuple):
    """What changed of the customers' alerts, and the risks that a view must show."""

    changes: list[AlertChange]
    risks: list[CustomerRisk]


class CustomerWatch:
    """Holds customers against the churn rule."""

    def __init__(
        self, rules: Rules, desk: AlertDesk, settings: Settings, learning: Learning | None = None
    ) -> None:
        """``learning``: what scores go through, where the rule learns from outcomes."""
        self._rule = rules.churn
        self._learning = learning
        self._desk = desk
        self._limits = Limits.of(settings)
        self._in_band: set[str] = set()
        self._model = self._rule.model if self._rule else shipped_model()

    def assess(self, customers: Mapping[str, Customer], watermark_ms: int) -> Assessed:
        """Assess the customers that events or time have touched, or whose turn it is to be looked at."""
        changes: list[AlertChange] = []
        risks: list[CustomerRisk] = []
        told, in_band = self._desk.customers, self._in_band
        for customer_id in sorted(customers):
            customer = customers[customer_id]
            was_in_band = customer_id in in_band
            if not (was_in_band or customer_id in told or may_be_silent(customer)):
                continue
            as_of_ms = max(customer.last_seen_ms, watermark_ms)
            assessment = self._assess(customer, as_of_ms)
            risk = self._risk(customer_id, customer, assessment)
            if risk.band is not None or customer_id in told:
                changes += self._desk.judge_customer(customer_id, assessment, customer.opted_out, as_of_ms)
            if risk.band is not None:
                in_band.add(customer_id)
            else:
                in_band.discard(customer_id)
            if risk.band is not None or was_in_band:
                risks.append(self._with_stage(risk, customer, as_of_ms))
        changes += self._desk.begin_waiting(watermark_ms)
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

    def look_again(self, customer_id: str, customer: Customer, watermark_ms: int) -> CustomerRisk | None:
        """The risk of a customer in a band, for a view that has to be filled again; None for all others."""
        if not may_be_silent(customer):
            return None
        as_of_ms = max(customer.last_seen_ms, watermark_ms)
        risk = self._risk(customer_id, customer, self._assess(customer, as_of_ms))
        if risk.band is None:
            return None
        self._in_band.add(customer_id)
        return self._with_stage(risk, customer, as_of_ms)

    def _assess(self, customer: Customer, as_of_ms: int) -> Assessment:
        facts = facts_of(customer, as_of_ms)
        score, reasons, is_silent, _, _ = assess(facts, self._model)
        if self._learning is not None:
            score = self._learning.calibration(facts.is_buyer).apply(score)
        return Assessment(score, reasons, is_silent, last_engaged_ms(customer), customer.segment)

    def _risk(self, customer_id: str, customer: Customer, assessment: Assessment) -> CustomerRisk:
        score, reasons, _, _, segment = assessment
        rule = self._rule
        band = None if rule is None or customer.opted_out else rule.band_for(assessment)
        return CustomerRisk(customer_id, score, band, reasons, customer.last_seen_ms, segment)

    def _with_stage(self, risk: CustomerRisk, customer: Customer, as_of_ms: int) -> CustomerRisk:
        """The stage is that of the day, as far as it is known before its end."""
        return risk._replace(stage=stage_on(customer, as_of_ms // DAY_MS, self._limits).word)
