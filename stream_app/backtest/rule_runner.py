"""Runs rule tests: series of counts through a merger and the worker's own judgement, and what was expected of it. Pure.

The n-th number of a series is what was counted in the n-th interval, and is seen at its end: it lies in the last ten
seconds of it. Rules are held against the counts at the end of every interval, and at every time that something is
expected of. The watermark is that time: nothing is late in a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stream_app.alerts.lifecycle import RESOLVED, AlertChange
from stream_app.backtest.judge import Judge
from stream_app.backtest.rule_tests import Expectation, ExpectedAlert, RuleTest, RuleTests, Series
from stream_app.metrics.catalogue import COUNT_BY_NAME, PANE_MS, Unit
from stream_app.metrics.cells import Cell, add, slot_of
from stream_app.metrics.partials import KeyPartial, Partial
from stream_app.settings import Settings
from stream_app.state.standings import CAMPAIGN_PREFIX, DELIVERIES, LOST_BEFORE, UNIQUE_CLICKS, Standing

_OF_STANDINGS = (DELIVERIES, UNIQUE_CLICKS, LOST_BEFORE)


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation: the alerts that were expected and not found so, each with what there was instead
    (None: nothing), and those that were not expected."""

    test: RuleTest
    expectation: Expectation
    missed: tuple[tuple[ExpectedAlert, AlertChange | None], ...]
    unexpected: tuple[AlertChange, ...]

    @property
    def is_met(self) -> bool:
        """Whether all was as expected."""
        return not (self.missed or self.unexpected)


def run_tests(tests: RuleTests, settings: Settings) -> Iterator[Outcome]:
    """The outcomes of a file's expectations, test by test, each in order of time."""
    for test in tests.tests:
        yield from _Run(test, Judge(tests.rules, settings)).outcomes()


class _Run:
    """One test as it goes."""

    def __init__(self, test: RuleTest, judge: Judge) -> None:
        self._test = test
        self._judge = judge
        self._keys = [_Key(series) for series in test.series]
        self._customers = list(test.customers)
        self._told: dict[str, AlertChange] = {}
        self._looked_at_ms = 0
        self._heard = 0

    def outcomes(self) -> Iterator[Outcome]:
        """Let time pass from one expectation to the next."""
        for expectation in self._test.expectations:
            self._pass_time(expectation.at_ms)
            yield self._outcome(expectation)

    def _pass_time(self, until_ms: int) -> None:
        """Look at the end of every interval up to a time at which there is anything to see, and at that time."""
        interval_ms = self._test.interval_ms
        at_ms = self._looked_at_ms
        while at_ms < until_ms:
            at_ms = min(until_ms, (at_ms // interval_ms + 1) * interval_ms)
            counted = self._counted(at_ms // interval_ms - 1) if at_ms % interval_ms == 0 else []
            wakes_ms = self._judge.wakes_in_ms()
            is_due = wakes_ms is not None and wakes_ms <= at_ms - self._looked_at_ms
            is_assessed = any(one.at_ms <= at_ms for one in self._customers)
            if counted or is_due or is_assessed or at_ms == until_ms:
                self._look(at_ms, counted)

    def _counted(self, interval: int) -> list[_Key]:
        """The keys that count something in an interval; their numbers are then those at its end."""
        end_ms = self._test.start_ms + (interval + 1) * self._test.interval_ms
        return [key for key in self._keys if key.count(interval, end_ms)]

    def _look(self, at_ms: int, counted: list[_Key]) -> None:
        now_ms = self._test.start_ms + at_ms
        self._heard += 1
        standings = [key.standing() for key in counted if key.is_campaign]
        self._judge.hear(Partial(0, 0, self._heard, now_ms, [key.word() for key in counted], standings))
        while self._customers and self._customers[0].at_ms <= at_ms:
            known = self._customers.pop(0)
            as_of_ms = self._test.start_ms + known.at_ms
            self._judge.assess_facts(known.customer_id, known.facts, known.opted_out, as_of_ms)
        self._told |= {change.fingerprint: change for change in self._judge.look()}
        self._looked_at_ms = at_ms

    def _outcome(self, expectation: Expectation) -> Outcome:
        active = {change.fingerprint: change for change in self._judge.active()}
        ended = [
            change for name, change in self._told.items() if change.state == RESOLVED and name not in active
        ]
        missed = []
        for alert in expectation.alerts:
            got = next((change for change in (*active.values(), *ended) if alert.is_about(change)), None)
            if got is None or not alert.fits(got, self._test.start_ms):
                missed.append((alert, got))
        unexpected = [
            change
            for change in active.values()
            if expectation.rule in (None, change.rule)
            and not any(alert.is_about(change) for alert in expectation.alerts)
        ]
        return Outcome(self._test, expectation, tuple(missed), tuple(unexpected))


class _Key:
    """One key's absolute numbers, as a shard that counts its series would tell them."""

    def __init__(self, series: Series) -> None:
        self._key = series.key
        self._segment = series.segment
        self._counts = [
            (slot_of(name), 1000 if COUNT_BY_NAME[name].unit is Unit.SECONDS else 1, numbers)
            for name, numbers in series.counts.items()
        ]
        self._total: Cell = {}
        self._last: Cell = {}
        self._end_ms = 0
        self._first_delivery_ms: int | None = None

    @property
    def is_campaign(self) -> bool:
        """Whether it is a campaign that was delivered to somebody."""
        return self._key.startswith(CAMPAIGN_PREFIX) and self._first_delivery_ms is not None

    def count(self, interval: int, end_ms: int) -> bool:
        """Count an interval that ends then; tells whether there was anything to count."""
        self._last = {
            slot: round(numbers[interval] * scale)
            for slot, scale, numbers in self._counts
            if interval < len(numbers) and numbers[interval]
        }
        add(self._total, self._last)
        self._end_ms = end_ms
        if self._first_delivery_ms is None and DELIVERIES in self._last:
            self._first_delivery_ms = end_ms - 1
        return bool(self._last)

    def word(self) -> KeyPartial:
        """What is told of the key."""
        return KeyPartial(
            self._key, self._end_ms - 1, dict(self._total), {self._end_ms // PANE_MS - 1: self._last}
        )

    def standing(self) -> Standing:
        """What is told of the campaign to the ledger of all campaigns."""
        total = {slot: number for slot, number in self._total.items() if slot in _OF_STANDINGS}
        segments = {self._segment: total.get(DELIVERIES, 0)}
        name = self._key.removeprefix(CAMPAIGN_PREFIX)
        return Standing(name, self._end_ms - 1, self._first_delivery_ms or 0, total, segments)
