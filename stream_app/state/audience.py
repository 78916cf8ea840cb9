"""The audience a campaign no longer had: who had opted out before its first delivery. Pure.

Stands beside the customers; feeds ``lost_before``. Keeps the first opt-out of every customer and the
first delivery of every campaign in this shard. Both can still move to an earlier time when an older
event arrives, so the count of each campaign concerned is settled once per flush.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from stream_app.metrics.cells import slot_of
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.tallies import Tallies

_LOST_BEFORE = slot_of("lost_before")
OPTOUT_KIND = "o:"
CAMPAIGN_KIND = "f:"


class FirstDelivery(msgspec.Struct, array_like=True):
    """When a campaign was first delivered in this shard, and how many are counted as lost before that."""

    time_ms: int
    lost: int = 0


class Audience:
    """First opt-outs and first deliveries of one shard; times are milliseconds of event time."""

    def __init__(self, shelf: Shelf, retention_ms: int) -> None:
        self._retention_ms = retention_ms
        self._optouts = Drawer(shelf, OPTOUT_KIND, int)
        self._campaigns = Drawer(shelf, CAMPAIGN_KIND, FirstDelivery)
        self._times: list[int] = sorted(time_ms for _, time_ms in self._optouts.items())
        self._firsts = {campaign: first.time_ms for campaign, first in self._campaigns.items()}
        self._starts = sorted((time_ms, campaign) for campaign, time_ms in self._firsts.items())
        self._earliest_change: int | None = None
        self._moved: set[str] = set()

    def delivered(self, campaign: str, time_ms: int) -> None:
        """A campaign was delivered to somebody at this time."""
        first = self._firsts.get(campaign)
        if first is None or time_ms < first:
            self._forget_start(campaign)
            insort(self._starts, (time_ms, campaign))
            self._firsts[campaign] = time_ms
            self._moved.add(campaign)

    def opted_out(self, customer_id: str, time_ms: int) -> None:
        """A customer opted out at this time; the earliest time counts."""
        held = self._optouts.get(customer_id)
        if held is not None and held <= time_ms:
            return
        if held is not None:
            del self._times[bisect_left(self._times, held)]
        insort(self._times, time_ms)
        self._optouts.put(customer_id, time_ms)
        if self._earliest_change is None or time_ms < self._earliest_change:
            self._earliest_change = time_ms

    def first_delivery_ms(self, campaign: str) -> int | None:
        """When a campaign was first delivered in this shard, as of the last time that the counts were settled."""
        first = self._campaigns.get(campaign)
        return None if first is None else first.time_ms

    def settle(self, tallies: Tallies) -> None:
        """Count the lost of every campaign whose first delivery or whose earlier opt-outs changed."""
        concerned = set(self._moved)
        if self._earliest_change is not None:
            later = bisect_left(self._starts, (self._earliest_change + 1, ""))
            concerned.update(campaign for _, campaign in self._starts[later:])
        for campaign in concerned:
            self._count(campaign, tallies)
        self._moved.clear()
        self._earliest_change = None

    def forget_optout(self, time_ms: int) -> None:
        """An opt-out of this time is older than the retention and has left the shelf."""
        place = bisect_left(self._times, time_ms)
        if place < len(self._times) and self._times[place] == time_ms:
            del self._times[place]

    def forget_campaign(self, campaign: str) -> None:
        """A campaign was silent for longer than the retention and has left the shelf."""
        self._forget_start(campaign)
        self._firsts.pop(campaign, None)

    def _forget_start(self, campaign: str) -> None:
        time_ms = self._firsts.get(campaign)
        if time_ms is not None:
            del self._starts[bisect_left(self._starts, (time_ms, campaign))]

    def _count(self, campaign: str, tallies: Tallies) -> None:
        time_ms = self._firsts[campaign]
        lost = bisect_left(self._times, time_ms) - bisect_left(self._times, time_ms - self._retention_ms)
        held = self._campaigns.get(campaign) or FirstDelivery(time_ms)
        if held != FirstDelivery(time_ms, lost):
            key = f"campaign:{campaign}"
            tallies.count(key, held.time_ms, _LOST_BEFORE, -held.lost)
            tallies.count(key, time_ms, _LOST_BEFORE, lost)
        self._campaigns.put(campaign, FirstDelivery(time_ms, lost))
