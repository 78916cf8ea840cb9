"""Where each campaign stands in this shard: its totals, when it began, and to which segments it went. Pure.

Stands beside the counts; told to the one merger that keeps the ledger of all campaigns (``metrics/ledger.py``), because
a campaign can be held against its predecessors in its segment only where all of them are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from stream_app.metrics.cells import Cell, slot_of
from stream_app.state.audience import Audience
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.tallies import Tallies

SEGMENTS_KIND = "l:"
CAMPAIGN_PREFIX: Final = "campaign:"
DELIVERIES: Final = slot_of("deliveries")
UNIQUE_CLICKS: Final = slot_of("unique_clicks")
LOST_BEFORE: Final = slot_of("lost_before")


class Standing(msgspec.Struct, array_like=True, gc=False):
    """A campaign's absolute numbers in one shard. Times are milliseconds of event time.

    ``total`` has the slots of deliveries, unique clicks and those lost before; ``segments`` the deliveries by segment,
    ``""`` for none.
    """

    campaign: str
    newest_ms: int
    first_delivery_ms: int
    total: Cell
    segments: dict[str, int]


class Standings:
    """The campaigns of one shard."""

    def __init__(self, shelf: Shelf, tallies: Tallies, audience: Audience) -> None:
        self._segments = Drawer(shelf, SEGMENTS_KIND, dict[str, int])
        self._tallies = tallies
        self._audience = audience

    def note_deliveries(self) -> None:
        """Take over, by campaign and segment, the deliveries that were gathered since the last fold."""
        for campaign, segment, number in self._tallies.gathered(DELIVERIES):
            held = self._segments.get(campaign) or {}
            held[segment] = held.get(segment, 0) + number
            self._segments.put(campaign, held)

    def campaigns(self) -> list[str]:
        """All campaigns with a delivery, as of the last time the shelf was written down."""
        return [campaign for campaign, _ in self._segments.items()]

    def of(self, campaigns: Iterable[str]) -> list[Standing]:
        """Where campaigns stand as of the last flush; those without a delivery stand nowhere."""
        found = []
        for campaign in campaigns:
            tally = self._tallies.keys.get(CAMPAIGN_PREFIX + campaign)
            first_ms = self._audience.first_delivery_ms(campaign)
            if tally is not None and first_ms is not None:
                total = {
                    slot: tally.total[slot]
                    for slot in (DELIVERIES, UNIQUE_CLICKS, LOST_BEFORE)
                    if slot in tally.total
                }
                segments = self._segments.get(campaign) or {}
                found.append(Standing(campaign, tally.newest_ms, first_ms, total, segments))
        return found


def campaigns_among(keys: Iterable[str]) -> list[str]:
    """The campaigns among dimension keys."""
    skip = len(CAMPAIGN_PREFIX)
    return [key[skip:] for key in keys if key.startswith(CAMPAIGN_PREFIX)]
