"""A shard's counts per dimension key: by pane of event time, and in total.

Stands under the lifecycles and customers, which say what to count where, and over the partials, which
carry the absolute numbers to the merger. Between flushes only differences are gathered, by the place that an event
names (campaign, segment, channel, pane); ``fold`` spreads them over the keys and adds them to the cells, so that an
event costs one look-up, whatever keys it bears. Pure; times are milliseconds of event time.

Campaigns are counted by segment as well where that is wanted, and it may be switched on amid a stream. A unique count can
then move from an event of before to a still earlier one, and must not be taken back where it was never counted. So the
breakdown begins with the first pane that nothing has reached: of what happens from there on it holds everything, of
what happened before nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from stream_app.metrics.catalogue import LONGEST_WINDOW_MS, PANE_MS, Dimension, campaign_segment
from stream_app.metrics.cells import Cell, add
from stream_app.state.shelf import Drawer, Shelf

KEY_KIND = "n:"
PANE_KIND = "p:"
BREAKDOWN_KIND = "x:"
NO_SLOT = -1
"""Gathers nothing but that an event was here."""
_SEPARATOR = "\0"
_EVERYTHING = "all:all"
_NEVER = 1 << 62

Gathered = tuple[int, str | None, str | None, str | None, int]
"""A slot, a campaign, a segment, a channel and a pane."""


class KeyTally(msgspec.Struct, array_like=True, gc=False):
    """The total of a key, and the newest event time that reached it."""

    newest_ms: int
    total: Cell


class KeyChange(NamedTuple):
    """What a flush changed of one key: absolute numbers, ready to be published."""

    key: str
    tally: KeyTally
    panes: dict[int, Cell]


def pane_name(key: str, pane: int) -> str:
    """The name of a key's pane on the shelf."""
    return f"{key}{_SEPARATOR}{pane}"


def split_pane_name(name: str) -> tuple[str, int]:
    """Key and pane number of a pane's name."""
    key, _, pane = name.rpartition(_SEPARATOR)
    return key, int(pane)


def oldest_pane(newest_ms: int) -> int:
    """The first pane that a window of this key, or any later one, can reach back to."""
    return (newest_ms - LONGEST_WINDOW_MS) // PANE_MS


class Tallies:
    """The counts of one shard. Keys read ``dimension:key``, such as ``campaign:spring-sale``."""

    def __init__(self, shelf: Shelf, campaign_segments: bool) -> None:
        """Take up the counts on a shelf; ``campaign_segments``: campaigns are counted by segment from now on."""
        self.keys = Drawer(shelf, KEY_KIND, KeyTally)
        self.panes = Drawer(shelf, PANE_KIND, Cell)
        self._breakdown_from = self._begin_breakdown(shelf) if campaign_segments else _end_breakdown(shelf)
        self._gathered: dict[Gathered, list[int]] = {}
        self._differences: dict[str, dict[int, Cell]] = {}
        self._newest: dict[str, int] = {}

    def gather(
        self,
        slot: int,
        campaign: str | None,
        segment: str | None,
        channel: str | None,
        time_ms: int,
        number: int = 1,
    ) -> None:
        """Count a number, negative to take it back, in all the keys that an event of this time bears."""
        name = (slot, campaign, segment, channel, time_ms // PANE_MS)
        held = self._gathered.get(name)
        if held is None:
            self._gathered[name] = [number, time_ms]
            return
        held[0] += number
        if time_ms > held[1]:
            held[1] = time_ms

    def count(self, key: str, time_ms: int, slot: int, number: int = 1) -> None:
        """Count a number in one key, in the pane of a time."""
        cell = self._differences.setdefault(key, {}).setdefault(time_ms // PANE_MS, {})
        cell[slot] = cell.get(slot, 0) + number

    def gathered(self, slot: int) -> Iterator[tuple[str, str, int]]:
        """Campaign, segment (``""`` for none) and number of what was gathered of a slot since the last fold."""
        for (held, campaign, segment, _, _), (number, _) in self._gathered.items():
            if held == slot and campaign:
                yield campaign, segment or "", number

    def has_changes(self) -> bool:
        """Whether anything was counted since the last fold."""
        return bool(self._gathered or self._differences)

    def fold(self) -> list[KeyChange]:
        """Add the gathered differences to the cells; returns what changed, with absolute numbers."""
        self._spread()
        changes = [
            self._fold_key(key, self._differences.get(key, {}))
            for key in {**self._newest, **self._differences}
        ]
        self._differences.clear()
        self._newest.clear()
        return changes

    def _spread(self) -> None:
        """Turn what was gathered by place into differences by key."""
        newest, differences, breakdown_from = self._newest, self._differences, self._breakdown_from
        for (slot, campaign, segment, channel, pane), (number, time_ms) in self._gathered.items():
            keys = _keys(campaign, segment, channel)
            if pane >= breakdown_from and campaign and segment:
                keys = (*keys, _breakdown_key(campaign, segment))
            for key in keys:
                if time_ms > newest.get(key, -1):
                    newest[key] = time_ms
                if slot == NO_SLOT:
                    continue
                panes = differences.get(key)
                if panes is None:
                    panes = differences[key] = {}
                cell = panes.get(pane)
                if cell is None:
                    panes[pane] = {slot: number}
                else:
                    cell[slot] = cell.get(slot, 0) + number
        self._gathered.clear()

    def _begin_breakdown(self, shelf: Shelf) -> int:
        """The pane from which campaigns are counted by segment: as before, or the first that nothing has reached."""
        begins = Drawer(shelf, BREAKDOWN_KIND, int)
        pane = begins.get(Dimension.CAMPAIGN_SEGMENT)
        if pane is None:
            counted = self.keys.get(_EVERYTHING)
            pane = 0 if counted is None else counted.newest_ms // PANE_MS + 1
            begins.put(Dimension.CAMPAIGN_SEGMENT, pane)
        return pane

    def _fold_key(self, key: str, differences: dict[int, Cell]) -> KeyChange:
        tally = self.keys.get(key) or KeyTally(-1, {})
        tally.newest_ms = max(tally.newest_ms, self._newest.get(key, -1))
        oldest = oldest_pane(tally.newest_ms)
        panes: dict[int, Cell] = {}
        for pane, difference in differences.items():
            add(tally.total, difference)
            if pane >= oldest:
                name = pane_name(key, pane)
                cell = self.panes.get(name) or {}
                add(cell, difference)
                self.panes.put(name, cell)
                panes[pane] = cell
        self.keys.put(key, tally)
        return KeyChange(key, tally, panes)

    def changes_of(self, entries: Iterable[tuple[str, bytes | None]]) -> list[KeyChange]:
        """The changes that journal entries hold, as ``fold`` returned them."""
        panes: dict[str, dict[int, Cell]] = {}
        tallies: dict[str, KeyTally] = {}
        for name, value in entries:
            if value is None:
                continue
            if name.startswith(KEY_KIND):
                tallies[name[2:]] = self.keys.decode(value)
            elif name.startswith(PANE_KIND):
                key, pane = split_pane_name(name[2:])
                panes.setdefault(key, {})[pane] = self.panes.decode(value)
        return [KeyChange(key, tally, panes.get(key, {})) for key, tally in tallies.items()]

    def pane_is_expired(self, name: str) -> bool:
        """Whether no window can reach a pane any more."""
        key, pane = split_pane_name(name)
        tally = self.keys.get(key)
        return tally is None or pane < oldest_pane(tally.newest_ms)


def _end_breakdown(shelf: Shelf) -> int:
    """Campaigns are not counted by segment; if they were, and will be again, that begins anew."""
    begins = Drawer(shelf, BREAKDOWN_KIND, int)
    if begins.get(Dimension.CAMPAIGN_SEGMENT) is not None:
        begins.delete(Dimension.CAMPAIGN_SEGMENT)
    return _NEVER


@lru_cache(maxsize=4_096)
def _breakdown_key(campaign: str, segment: str) -> str:
    return f"{Dimension.CAMPAIGN_SEGMENT}:{campaign_segment(campaign, segment)}"


@lru_cache(maxsize=4_096)
def _keys(campaign: str | None, segment: str | None, channel: str | None) -> tuple[str, ...]:
    """The dimension keys of a place; an empty name is none."""
    keys = [_EVERYTHING]
    if campaign:
        keys.append(f"campaign:{campaign}")
    if segment:
        keys.append(f"segment:{segment}")
    if channel:
        keys.append(f"channel:{channel}")
    return tuple(keys)
