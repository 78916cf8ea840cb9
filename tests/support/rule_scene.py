"""A merger with rules, fed by hand: what a shard tells goes in, changes of alerts come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from stream_app.alerts.desk import AlertDesk
from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import Rule, Rules
from stream_app.alerts.watch import MetricWatch
from stream_app.clock import MINUTE_MS
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import slot_of
from stream_app.metrics.merge import Merger
from stream_app.metrics.partials import KeyPartial, Partial
from stream_app.settings import Settings
from stream_app.state.shelf import Shelf

START = 1_763_683_200_000  # midnight


class Scene:
    """One merger that hears from one shard, and its rules."""

    def __init__(self, *rules: Rule, lag_ms: int = 0) -> None:
        """``lag_ms`` is how far the watermark stays behind the newest event."""
        self._lag_ms = lag_ms
        self.changes: list[AlertChange] = []
        self._rules = Rules(rules, None)
        self._shelf = Shelf()
        self._offset = 0
        self._newest_ms: dict[str, int] = {}
        self._totals: dict[str, Counter[int]] = {}
        self._panes: dict[tuple[str, int], Counter[int]] = {}
        self._open()

    def _open(self) -> None:
        self._merger = Merger(self._shelf, None, Settings())
        self._watch = MetricWatch(self._merger, AlertDesk(self._shelf, self._rules))

    def restart(self, *rules: Rule) -> None:
        """Another worker takes over what is written down, maybe with other rules."""
        self._rules = Rules(rules, None) if rules else self._rules
        self._shelf.write_down()
        self._shelf.drop_hot()
        self._open()
        self._merger.next_offset = self._offset

    def count(self, name: str, number: int, time_ms: int) -> None:
        """So many events of a count of everyone at a time; the watermark follows at once."""
        self.hear(time_ms, [self.counted("all:all", {name: number}, time_ms)])

    def catch_up(self, name: str, number: int, begin_ms: int, end_ms: int, step_ms: int) -> None:
        """So many events at every step, all before the rules are asked again."""
        for time_ms in range(begin_ms, end_ms, step_ms):
            self._take(time_ms, [self.counted("all:all", {name: number}, time_ms)])
        self.hear(end_ms, [])

    def counted(self, key: str, numbers: Mapping[str, int], time_ms: int) -> KeyPartial:
        """A shard's word of a key after so many more events of each count at a time: absolute numbers."""
        total = self._totals.setdefault(key, Counter())
        pane = self._panes.setdefault((key, time_ms // PANE_MS), Counter())
        for name, number in numbers.items():
            total[slot_of(name)] += number
            pane[slot_of(name)] += number
        newest_ms = self._newest_ms[key] = max(time_ms, self._newest_ms.get(key, 0))
        return KeyPartial(key, newest_ms, dict(total), {time_ms // PANE_MS: dict(pane)})

    def move_on(self, time_ms: int, step_ms: int = MINUTE_MS) -> None:
        """Nothing comes but the watermark."""
        for watermark_ms in range(self._merger.watermark_ms + step_ms, time_ms + 1, step_ms):
            self.hear(watermark_ms, [])

    def hear(self, watermark_ms: int, keys: list[KeyPartial]) -> None:
        self._take(watermark_ms, keys)
        self.changes += self._watch.judge()

    def _take(self, watermark_ms: int, keys: list[KeyPartial]) -> None:
        word = Partial(0, 1, self._offset, watermark_ms - self._lag_ms, keys)
        self._merger.process([(self._offset, word)])
        self._offset += 1

    @property
    def told(self) -> list[tuple[str, str]]:
        """The states and severities of all changes."""
        return [(change.state, change.severity) for change in self.changes]
