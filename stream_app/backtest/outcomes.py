"""What was known of every customer at a time, and what became of them: examples for the churn model. Pure.

Stands beside the replay of alert rules, and needs neither rules nor panes: the events go through a shard twice, up to the
time, and up to the horizon after it. So the facts are those that a worker would have had, with duplicates, machines and
late events told apart, and the outcome is the worker's view as well. Nothing of what came after the time can leak into
the facts, because the first run has not seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stream_app.backtest.arrivals import Arrival, ArrivalClock
from stream_app.backtest.intake import Intake
from stream_app.backtest.tidy_shelf import TidyShelf
from stream_app.churn.facts import engaged_ms_of, facts_of
from stream_app.churn.fit import Example
from stream_app.clock import HOUR_MS
from stream_app.settings import Settings
from stream_app.state.customers import Customer
from stream_app.state.shard import Shard

_MOST_WAITING = 1_000
"""Records that are applied at once, at most."""


class _Rerun:
    """One shard for all customers, which takes events in batches as long as an hour, as a worker does that catches up."""

    def __init__(self, settings: Settings, clock_ms: int) -> None:
        self._shelf = TidyShelf()
        self._shard = Shard(self._shelf, None, settings, clock_ms, decides_stages=False)
        self._intake = Intake()
        self._number = 0
        self._until_ms = clock_ms + HOUR_MS

    def take(self, arrival: Arrival, clock_ms: int) -> None:
        """Take the next event, which arrives when the clock shows this."""
        if clock_ms >= self._until_ms or self._number >= _MOST_WAITING:
            self.apply(clock_ms)
        self._intake.take(arrival)
        self._number += 1

    def apply(self, clock_ms: int) -> None:
        """Apply what waits, and let time go on to the clock's."""
        self._number, self._until_ms = 0, clock_ms + HOUR_MS
        self._intake.apply(self._shard, clock_ms)
        self._shard.tick(clock_ms)
        self._shard.flush()
        self._shelf.tidy(self._shard.expired)

    def customers(self) -> dict[str, Customer]:
        """Everyone, as of the last batch."""
        return dict(self._shard.customers.items())


def customers_at(settings: Settings, arrivals: Iterable[Arrival], until_ms: int) -> dict[str, Customer]:
    """Every customer as a worker knows them once all that happened before a time has arrived, and carts and chats of
    before it have ended."""
    clock = ArrivalClock(settings.allowed_lateness)
    rerun: _Rerun | None = None
    clock_ms = 0
    for arrival in arrivals:
        if arrival.time_ms < until_ms:
            for known, clock_ms in clock.take(arrival):
                rerun = rerun or _Rerun(settings, clock_ms)
                rerun.take(known, clock_ms)
    for known, clock_ms in clock.rest():
        rerun = rerun or _Rerun(settings, clock_ms)
        rerun.take(known, clock_ms)
    if rerun is None:
        return {}
    rerun.apply(clock_ms)
    waits_ms = settings.allowed_lateness + settings.idle_timeout
    rerun.apply(clock_ms + waits_ms)
    return rerun.customers()


def examples_at(
    settings: Settings, arrivals: Sequence[Arrival], as_of_ms: int, horizon_ms: int
) -> Iterator[Example]:
    """An example of everyone who could be reached or had bought at a time; those who had opted out are none, as that is
    a fact and no risk."""
    later = customers_at(settings, arrivals, as_of_ms + horizon_ms)
    for customer_id, customer in customers_at(settings, arrivals, as_of_ms).items():
        facts = facts_of(customer, as_of_ms)
        if customer.opted_out or not (facts.received or facts.is_buyer):
            continue
        after = later.get(customer_id)
        engaged_ms = -1 if after is None else engaged_ms_of(after, facts.is_buyer)
        yield Example(customer_id, facts, engaged_ms < as_of_ms)
