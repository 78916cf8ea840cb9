"""One rules file on trial: what a worker with these rules would have told of the same events. Pure.

Stands behind the replay's shards, and behind the series of a rule test: their absolute counts go into a merger, and
its keys and the customers are held against the rules by the worker's own watches. One merger does for the worker's
several, as each key's numbers are its own, and each hears of the watermarks of all shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stream_app.alerts.desk import ALERT_KIND, AlertDesk
from stream_app.alerts.lifecycle import AlertChange, AlertState
from stream_app.alerts.rules import Rules
from stream_app.alerts.watch import MetricWatch
from stream_app.backtest.tidy_shelf import TidyShelf
from stream_app.churn.facts import ChurnFacts
from stream_app.churn.model import assess, shipped_model
from stream_app.clock import HOUR_MS
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import Partial
from stream_app.settings import Settings
from stream_app.state.customers import Customer
from stream_app.state.shelf import Drawer
from stream_app.state.stage_counts import MOVES
from stream_app.stations.customer_watch import CustomerWatch

_EMPTY_EVERY_MS = HOUR_MS
"""How often, in event time, the merger empties the windows of keys that had nothing new."""


class Judge:
    """Holds counts and customers against the rules of one file."""

    def __init__(self, rules: Rules, settings: Settings) -> None:
        self._shelf = TidyShelf()
        self._merger = Merger(self._shelf, None, settings)
        self._desk = AlertDesk(self._shelf, rules)
        self._watch = MetricWatch(self._merger, self._desk)
        # Shelves of their own: those of the shards may serve several judges.
        self._customer_shelf = TidyShelf()
        self._customer_desk = AlertDesk(self._customer_shelf, rules)
        self._customer_watch = CustomerWatch(rules, self._customer_desk, settings)
        self._model = rules.churn.model if rules.churn else shipped_model()
        self._emptied_at_ms = 0
        self._changes: list[AlertChange] = []
        self.asks_for_stages = any(rule.metric in MOVES for rule in rules.rules)
        """Whether a rule is about the moves of customers between stages."""

    def hear(self, word: Partial) -> None:
        """Take in what a shard tells."""
        self._merger.process([(self._merger.next_offset, word)])

    def assess(self, customers: Mapping[str, Customer], watermark_ms: int) -> None:
        """Assess the customers of one shard that events or time have touched."""
        self._changes += self._customer_watch.assess(customers, watermark_ms).changes

    def assess_facts(self, customer_id: str, facts: ChurnFacts, opted_out: bool, as_of_ms: int) -> None:
        """Assess one customer by what is known of them."""
        assessment = assess(facts, self._model)
        self._changes += self._customer_desk.judge_customer(customer_id, assessment, opted_out, as_of_ms)
        self._changes += self._customer_desk.begin_waiting(as_of_ms)

    def forget(self, customer_ids: Iterable[str], watermark_ms: int) -> None:
        """End what is told of customers who were silent for the retention."""
        self._changes += self._customer_watch.forget(customer_ids, watermark_ms).changes

    def look(self) -> list[AlertChange]:
        """Judge what has to be judged now; returns all that changed since the last look."""
        self._changes += self._watch.judge()
        self._tidy()
        changes, self._changes = self._changes, []
        return changes

    def active(self) -> Iterator[AlertChange]:
        """Every alert that was pending or firing at the last look, as it was told last."""
        for shelf in (self._shelf, self._customer_shelf):
            yield from (state.last for _, state in Drawer(shelf, ALERT_KIND, AlertState).items())

    def wakes_in_ms(self) -> int | None:
        """How far the watermark has to go on until a look may find something although nothing came; None where only an
        event can change anything."""
        due_ms = self._watch.next_due_ms
        return None if due_ms is None else max(0, due_ms - self._merger.watermark_ms)

    def _tidy(self) -> None:
        """Keep memory as small as a worker does."""
        self._shelf.tidy(self._merger.expired)
        self._customer_shelf.tidy(_keep)
        now_ms = self._merger.watermark_ms
        if now_ms - self._emptied_at_ms >= _EMPTY_EVERY_MS:
            self._emptied_at_ms = now_ms
            self._merger.owe_nothing()
            self._merger.flush(now_ms)


def _keep(key: str, value: bytes) -> bool:
    """Alerts are kept until they end."""
    return False
