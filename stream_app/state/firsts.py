"""The earliest event of its kind, by campaign: what a unique count goes by. Pure.

Stands under the customers. A unique count belongs to its earliest event, in that event's pane and segment; when an
earlier one arrives later, or the earliest turns out to be a machine's, the count moves. Times are milliseconds of
event time.
"""

from __future__ import annotations

from typing import NamedTuple

CAMPAIGNS_KEPT = 16
"""Of more campaigns than these a customer forgets those that are older than the retention."""


class First(NamedTuple):
    """The earliest event of its kind: its time and its segment."""

    time_ms: int
    segment: str | None


Firsts = dict[str, First]
"""By campaign; ``""`` stands for events without one."""


def earlier(one: First | None, other: First | None) -> First | None:
    """The earlier of two; at the same time, the one."""
    if one is None or (other is not None and other.time_ms < one.time_ms):
        return other
    return one


def keep_bounded(firsts: Firsts, horizon_ms: int) -> None:
    """Keep a customer's memory bounded: of many campaigns, forget those engaged in before a time."""
    if len(firsts) > CAMPAIGNS_KEPT:
        for campaign in [name for name, first in firsts.items() if first.time_ms < horizon_ms]:
            del firsts[campaign]
