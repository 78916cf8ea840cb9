"""The ledger of all campaigns: where each stands over all shards, and which came before it in its segment. Pure.

Stands in one merger, beside the metrics. A campaign belongs to the segment that most of its deliveries went to; its
predecessors are the campaigns of that segment whose first delivery came earlier. A shard's word is absolute, so that
a repeat overwrites and never adds.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.standings import DELIVERIES, LOST_BEFORE, UNIQUE_CLICKS, Standing

STANDING_KIND = "c:"
_SEPARATOR = "\0"


class Campaign(NamedTuple):
    """A campaign over all shards, or several taken together. Times are milliseconds of event time.

    ``audience`` is whom it would have reached, had nobody left before: its deliveries and those lost before.
    """

    segment: str
    newest_ms: int
    first_delivery_ms: int
    deliveries: int
    unique_clicks: int
    lost_before: int

    @property
    def audience(self) -> int:
        """Deliveries and those lost before."""
        return self.deliveries + self.lost_before


class Ledger:
    """All campaigns that the shards have told of."""

    def __init__(self, shelf: Shelf) -> None:
        self._drawer = Drawer(shelf, STANDING_KIND, Standing)
        self._by_shard: dict[str, dict[int, Standing]] = {}
        self._merged: dict[str, Campaign] = {}
        self._lines: dict[str, list[tuple[int, str]]] = {}
        """By segment: first delivery and name of its campaigns, in that order."""
        self._changed: set[str] = set()
        for name, standing in self._drawer.items():
            self._by_shard.setdefault(standing.campaign, {})[int(name.rpartition(_SEPARATOR)[2])] = standing
        for campaign in self._by_shard:
            self._merge(campaign)
        self._changed.update(self._by_shard)  # what the last owner had not judged yet is not known

    def apply(self, shard: int, standing: Standing) -> None:
        """Take over a shard's word."""
        self._by_shard.setdefault(standing.campaign, {})[shard] = standing
        self._drawer.put(f"{standing.campaign}{_SEPARATOR}{shard}", standing)
        self._changed.add(standing.campaign)

    def take_changed(self) -> set[str]:
        """Bring the ledger up to date; returns the campaigns that changed since the last call."""
        changed, self._changed = self._changed, set()
        for campaign in changed:
            self._merge(campaign)
        return changed & self._merged.keys()

    def campaign(self, name: str) -> Campaign | None:
        """Where a campaign stood when the ledger was last brought up to date."""
        return self._merged.get(name)

    def predecessors(self, name: str, most: int) -> Campaign | None:
        """The last campaigns before this one in its segment, at most so many, taken together; None if there are none."""
        held = self._merged[name]
        line = self._lines[held.segment]
        place = bisect_left(line, (held.first_delivery_ms, name))
        before = [self._merged[earlier] for _, earlier in line[max(0, place - most) : place]]
        if not before:
            return None
        return Campaign(
            held.segment,
            max(campaign.newest_ms for campaign in before),
            before[0].first_delivery_ms,
            sum(campaign.deliveries for campaign in before),
            sum(campaign.unique_clicks for campaign in before),
            sum(campaign.lost_before for campaign in before),
        )

    def expired(self, name: str, value: bytes, horizon_ms: int) -> bool:
        """Whether a shard's word is older than the horizon; it is then forgotten."""
        campaign, _, shard = name.rpartition(_SEPARATOR)
        if self._drawer.decode(value).newest_ms >= horizon_ms:
            return False
        self._by_shard.get(campaign, {}).pop(int(shard), None)
        self._changed.add(campaign)
        return True

    def _merge(self, campaign: str) -> None:
        old = self._merged.pop(campaign, None)
        if old is not None:
            line = self._lines[old.segment]
            del line[bisect_left(line, (old.first_delivery_ms, campaign))]
            if not line:
                del self._lines[old.segment]
        words = self._by_shard.get(campaign)
        if not words:
            self._by_shard.pop(campaign, None)
            return
        merged = self._merged[campaign] = _together(list(words.values()))
        insort(self._lines.setdefault(merged.segment, []), (merged.first_delivery_ms, campaign))


def _together(words: list[Standing]) -> Campaign:
    segments: dict[str, int] = {}
    for word in words:
        for segment, number in word.segments.items():
            segments[segment] = segments.get(segment, 0) + number
    most = max(segments.values(), default=0)
    return Campaign(
        min((segment for segment, number in segments.items() if number == most), default=""),
        max(word.newest_ms for word in words),
        min(word.first_delivery_ms for word in words),
        sum(word.total.get(DELIVERIES, 0) for word in words),
        sum(word.total.get(UNIQUE_CLICKS, 0) for word in words),
        sum(word.total.get(LOST_BEFORE, 0) for word in words),
    )
