"""Whether Redis holds what is right in the original's layout, and how late each window was written last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.yahoo.world import WINDOW_MS

Seen = Mapping[str, Mapping[str, int]]


def counted(client: Any, campaigns: list[str]) -> int:
    """How many views are shown in all."""
    return sum(count for _, _, count, _ in _windows(client, campaigns))


def problems(client: Any, campaigns: list[str], seen: Seen) -> Iterator[str]:
    """Everything that is missing, wrong or surplus."""
    if client.smembers("campaigns") != set(campaigns):
        yield "the set of campaigns was changed"
    shown: dict[str, dict[str, int]] = {campaign: {} for campaign in campaigns}
    for campaign, window, count, _ in _windows(client, campaigns):
        shown[campaign][window] = count
    for campaign, held in shown.items():
        wanted = seen.get(campaign, {})
        for window in sorted(held.keys() | wanted.keys()):
            if held.get(window) != wanted.get(window):
                yield f"campaign {campaign}, window {window}: {held.get(window)} instead of {wanted.get(window)}"
        windows_id = client.hget(campaign, "windows")
        listed = client.lrange(windows_id, 0, -1) if windows_id else []
        if sorted(listed) != sorted(wanted):
            yield f"campaign {campaign}: its list has {len(listed)} windows instead of {len(wanted)}"


def lateness(client: Any, campaigns: list[str]) -> list[int]:
    """Milliseconds from the end of each window to its last writing, as the original measures it; windows that the
    sender has begun or ended in the middle are left out."""
    written = {(campaign, int(window)): at for campaign, window, _, at in _windows(client, campaigns)}
    edges = {window for _, window in written}
    inner = edges - {min(edges, default=0), max(edges, default=0)}
    return [at - window - WINDOW_MS for (_, window), at in written.items() if window in inner]


def _windows(client: Any, campaigns: list[str]) -> Iterator[tuple[str, str, int, int]]:
    """Campaign, window, views and time of the last writing of everything that is shown."""
    pipeline = client.pipeline(transaction=False)
    for campaign in campaigns:
        pipeline.hgetall(campaign)
    places = [
        (campaign, window, window_id)
        for campaign, windows in zip(campaigns, pipeline.execute(), strict=True)
        for window, window_id in windows.items()
        if window != "windows"
    ]
    for *_, window_id in places:
        pipeline.hmget(window_id, "seen_count", "time_updated")
    for (campaign, window, _), (count, at) in zip(places, pipeline.execute(), strict=True):
        yield campaign, window, int(count or 0), int(at or 0)
