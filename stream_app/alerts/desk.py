"""The alert desk: holds the rules against the numbers and keeps each alert's state. Pure.

Stands in the merger (metrics of dimension keys) and beside the shard (churn of customers). States live
on the same shelf as the numbers they rest on, so that a crash can neither lose nor repeat a change.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nlargest

import msgspec

from stream_app.alerts.detection import may_fire, observe
from stream_app.alerts.echo_chamber import observe_echo
from stream_app.alerts.lifecycle import (
    CUSTOMER,
    FIRING,
    PENDING,
    AlertChange,
    AlertState,
    advance,
    advance_churn,
    hold_back,
    let_go,
    retire,
)
from stream_app.alerts.observation import Look, Observation
from stream_app.alerts.rule import Condition, Rule, Rules
from stream_app.alerts.silence import observe_silence, silence_due_ms
from stream_app.alerts.spike_watch import SpikeWatch
from stream_app.churn.model import Assessment
from stream_app.clock import HOUR_MS
from stream_app.metrics.catalogue import PANE_MS, Dimension
from stream_app.metrics.ledger import Ledger
from stream_app.state.shelf import Drawer, Shelf

ALERT_KIND = "a:"
_QUOTA_KIND = "b:"
_SEPARATOR = "\0"
_WAKING = (Condition.NO_DATA, Condition.SPIKE)
"""What can come true without an event."""


class _Quota(msgspec.Struct, array_like=True):
    """How many churn alerts began in an hour, which is told by its number since 1970."""

    hour: int = 0
    begun: int = 0


class AlertDesk:
    """All alerts of one shelf, by rule and key (``dimension:key``)."""

    def __init__(self, shelf: Shelf, rules: Rules, shards: int = 1) -> None:
        """``shards``: how many desks share the churn rule's ``most_per_hour``."""
        self._rules = rules
        self._quotas = Drawer(shelf, _QUOTA_KIND, _Quota)
        self._shards = shards
        self._drawer = Drawer(shelf, ALERT_KIND, AlertState)
        self._echoes = tuple(rule for rule in rules.rules if rule.condition is Condition.ECHO_CHAMBER)
        self._by_dimension = {
            dimension: tuple(rule for rule in rules.for_dimension(dimension) if rule not in self._echoes)
            for dimension in Dimension
        }
        self._waking = {
            dimension: tuple(rule for rule in held if rule.condition in _WAKING)
            for dimension, held in self._by_dimension.items()
        }
        self._spikes = SpikeWatch(shelf)
        self._active: dict[str, AlertState] = {}
        """Of dimension keys; those of customers may be many, and stay on the shelf."""
        self.customers: set[str] = set()
        """The customers with a churn alert, one that waits for its turn, or one in its cool-off."""
        self._waiting: dict[str, float] = {}
        """The scores of those who wait."""
        for name, state in self._drawer.items():
            self._note(name, state)

    def judge(
        self, dimension: Dimension, key: str, look: Look, as_of_ms: int, may_begin: bool = True
    ) -> list[AlertChange]:
        """Hold a key's numbers against every rule of its dimension; returns what changed. ``may_begin``: an alert over a
        rate that is not active yet."""
        changes: list[AlertChange] = []
        for rule in self._by_dimension[dimension]:
            if not rule.matches(key):
                continue
            name = _name(rule.name, dimension, key)
            is_over_rate = rule.condition not in _WAKING
            if is_over_rate and name not in self._active and not (may_begin and may_fire(rule, look)):
                continue
            for seen_ms, seen in self._observations(rule, f"{dimension}:{key}", look, as_of_ms):
                state = self._active.get(name)
                changes += self._keep(name, state, *advance(rule, state, seen, dimension, key, seen_ms))
        return changes

    def _observations(
        self, rule: Rule, full_key: str, look: Look, as_of_ms: int
    ) -> list[tuple[int, Observation]]:
        """What a rule sees of a key, each with its time."""
        if rule.condition is Condition.SPIKE:
            return self._spikes.observe(rule, full_key, look)
        if rule.condition is Condition.NO_DATA:
            return [(as_of_ms, observe_silence(rule, look, as_of_ms))]
        return [(as_of_ms, observe(rule, look))]

    def judge_campaign(self, campaign: str, ledger: Ledger, now_ms: int) -> list[AlertChange]:
        """Hold a campaign against its predecessors; returns what changed."""
        changes = []
        held = ledger.campaign(campaign)
        for rule in self._echoes:
            name = _name(rule.name, rule.dimension, campaign)
            state = self._active.get(name)
            if held is None:
                changes += self._keep(name, state, None, retire(state, now_ms) if state else None)
            elif rule.matches(campaign) and (state or held.lost_before):
                before = ledger.predecessors(campaign, rule.predecessors)
                seen = observe_echo(rule, campaign, held, before, now_ms)
                as_of_ms = max(held.newest_ms // PANE_MS + 1, now_ms // PANE_MS) * PANE_MS
                changes += self._keep(
                    name, state, *advance(rule, state, seen, rule.dimension, campaign, as_of_ms)
                )
        return changes

    def active_campaigns(self) -> set[str]:
        """The campaigns with a pending or firing alert of an echo chamber; they are looked at as time goes on."""
        return {state.last.key for state in self._active.values() if _is_echo(state)}

    def due_ms(self, dimension: Dimension, key: str, look: Look, now_ms: int) -> int | None:
        """When a key without an alert is to be judged again although no event comes; None where nothing can come true."""
        due = []
        for rule in self._waking[dimension]:
            if rule.matches(key):
                if rule.condition is Condition.SPIKE:
                    due.append(self._spikes.due_ms(rule, f"{dimension}:{key}", look))
                else:
                    due.append(silence_due_ms(rule, look, now_ms))
        return min((time_ms for time_ms in due if time_ms is not None and time_ms > now_ms), default=None)

    def judge_customer(
        self, customer_id: str, assessment: Assessment, opted_out: bool, as_of_ms: int
    ) -> list[AlertChange]:
        """Hold the risk that a customer leaves against the churn rule; returns what changed. An alert that begins waits for
        ``begin_waiting``."""
        rule = self._rules.churn
        if rule is None:
            return []
        name = _name(rule.name, CUSTOMER, customer_id)
        state = self._drawer.get(name) if customer_id in self.customers else None
        new, change = advance_churn(rule, state, assessment, customer_id, as_of_ms, opted_out)
        if new is not None and change is not None and (state is None or state.last.state != FIRING):
            new, change = hold_back(new), None
        return self._keep(name, state, new, change)

    def begin_waiting(self, as_of_ms: int) -> list[AlertChange]:
        """Let the churn alerts that wait begin, the worst first, as many as the hour still has room for."""
        rule = self._rules.churn
        if rule is None or not self._waiting:
            return []
        hour = as_of_ms // HOUR_MS
        quota = self._quotas.get(rule.name)
        begun = quota.begun if quota is not None and quota.hour >= hour else 0
        room = len(self._waiting)
        if rule.most_per_hour is not None:
            room = min(room, max(0, -(-rule.most_per_hour // self._shards) - begun))
        worst = nlargest(room, self._waiting.items(), key=lambda item: (item[1], item[0]))
        changes: list[AlertChange] = []
        for customer_id, _ in worst:
            name = _name(rule.name, CUSTOMER, customer_id)
            state = self._drawer.get(name)
            if state is not None:
                changes += self._keep(name, state, *let_go(state, as_of_ms))
        if worst and rule.most_per_hour is not None:
            self._quotas.put(rule.name, _Quota(max(hour, quota.hour if quota else 0), begun + len(worst)))
        return changes

    @property
    def held_back(self) -> int:
        """How many churn alerts wait for their turn."""
        return len(self._waiting)

    def forget_customer(self, customer_id: str, as_of_ms: int) -> list[AlertChange]:
        """End what is told of a customer who was silent for longer than the retention."""
        rule = self._rules.churn
        if rule is None or customer_id not in self.customers:
            return []
        name = _name(rule.name, CUSTOMER, customer_id)
        state = self._drawer.get(name)
        return [] if state is None else self._keep(name, state, None, retire(state, as_of_ms))

    def retire_unwatched(self, as_of_ms: int) -> list[AlertChange]:
        """End the alerts that no rule watches over any more, as after a change of the rules file; to be called before
        anything is judged."""
        changes: list[AlertChange] = []
        for name, state in list(self._drawer.items()):
            if not self._is_watched(state.last):
                changes += self._keep(name, state, None, retire(state, as_of_ms))
        return changes

    def _is_watched(self, last: AlertChange) -> bool:
        if last.dimension == CUSTOMER:
            return self._rules.churn is not None and self._rules.churn.name == last.rule
        watching = (rule for rule in self._rules.for_dimension(last.dimension) if rule.matches(last.key))
        return any(rule.name == last.rule for rule in watching)

    def active_keys(self) -> set[str]:
        """The dimension keys with a pending or firing alert over their numbers; they are looked at as time goes on."""
        return {
            f"{state.last.dimension}:{state.last.key}"
            for state in self._active.values()
            if not _is_echo(state)
        }

    def active(self) -> Iterator[AlertChange]:
        """The last change of every pending or firing alert of dimension keys."""
        return (state.last for state in self._active.values())

    def firing(self) -> Iterator[AlertChange]:
        """The last change of every firing alert, as of the last time the shelf was written down."""
        return (state.last for _, state in self._drawer.items() if state.last.state == FIRING)

    def _note(self, name: str, state: AlertState) -> None:
        if state.last.dimension == CUSTOMER:
            self.customers.add(state.last.key)
            self._waiting.pop(state.last.key, None)
            if state.last.state == PENDING:
                self._waiting[state.last.key] = state.last.value or 0.0
        else:
            self._active[name] = state

    def _keep(
        self, name: str, old: AlertState | None, new: AlertState | None, change: AlertChange | None
    ) -> list[AlertChange]:
        if new is None and old is not None:
            self._active.pop(name, None)
            if old.last.dimension == CUSTOMER:
                self.customers.discard(old.last.key)
                self._waiting.pop(old.last.key, None)
            self._drawer.delete(name)
        elif new is not None and new is not old:
            self._note(name, new)
            self._drawer.put(name, new)
        return [] if change is None else [change]


def _is_echo(state: AlertState) -> bool:
    return state.last.condition == Condition.ECHO_CHAMBER


def _name(rule: str, dimension: str, key: str) -> str:
    return _SEPARATOR.join((rule, dimension, key))
