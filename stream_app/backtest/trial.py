"""A trial of one rules file, or of two side by side: recorded events in, firings and their differences out. Pure.

Stands before the command. Everything that two rules files have in common is done once: the events go through the
shards one time, whoever judges them.
"""

from __future__ import annotations

from stream_app.alerts.rules import Rules
from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.comparison import Comparison, Pair
from stream_app.backtest.firings import Summary
from stream_app.backtest.judge import Judge
from stream_app.backtest.replay import Change, Replay
from stream_app.settings import Settings


class Trial:
    """One run over recorded events. Where nothing is compared, every pair has the firing by the rules only."""

    def __init__(self, settings: Settings, rules: Rules, compare: Rules | None = None) -> None:
        on_trial = [rules] if compare is None else [rules, compare]
        self.replay = Replay(settings, [Judge(one, settings) for one in on_trial])
        self.summaries = [Summary(one) for one in on_trial]
        self._comparison = Comparison()

    def feed(self, arrival: Arrival) -> list[Pair]:
        """Take the next event; returns the firings that are over."""
        changes = self.replay.feed(arrival)
        return self._take(changes) if changes else []

    def finish(self) -> list[Pair]:
        """No more events; returns the firings that are over now, then those that are not."""
        pairs = self._take(self.replay.finish())
        for summary, still in zip(self.summaries, self._comparison.finish(), strict=False):
            for firing in still:
                summary.end(firing, self.replay.newest_ms)
        return pairs + list(self._comparison.settle())

    @property
    def span_ms(self) -> int:
        """How much event time the events span."""
        return self.replay.newest_ms - self.replay.first_ms

    def _take(self, changes: list[Change]) -> list[Pair]:
        for judge, change in changes:
            self.summaries[judge].tell(change)
            ended = self._comparison.tell(judge, change)
            if ended is not None:
                self.summaries[judge].end(ended, self.replay.newest_ms)
        return list(self._comparison.settle())
