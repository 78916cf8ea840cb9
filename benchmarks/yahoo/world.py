"""Campaigns, ads and events as the original makes them. Needs nothing but Python, as the sender's environment differs."""

from __future__ import annotations

import random
from uuid import UUID

CAMPAIGNS = 100
ADS_A_CAMPAIGN = 10
WINDOW_MS = 10_000
_AD_TYPES = ("banner", "modal", "sponsored-search", "mail", "mobile")
_EVENT_TYPES = ("view", "click", "purchase")
_PEOPLE = 100
_PAGES = 100
_LATE = 100_000  # one of so many events is late, with skew
_LATE_MS = 60_000
_SKEW_MS = 50


class World:
    """What there is to see; the same for the same seed."""

    def __init__(self, seed: int, skew: bool = False) -> None:
        self._chance = random.Random(seed)
        self._skew = skew
        self.campaigns = self._identities(CAMPAIGNS)
        self.ads = {ad: campaign for campaign in self.campaigns for ad in self._identities(ADS_A_CAMPAIGN)}
        self._names = list(self.ads)
        self._people = self._identities(_PEOPLE)
        self._pages = self._identities(_PAGES)
        self.seen: dict[str, dict[str, int]] = {}
        """What is right: campaign → start of the window → views."""

    def event(self, at_ms: int) -> bytes:
        """One more event of about this time; a view is counted."""
        chance = self._chance
        ad, kind = chance.choice(self._names), chance.choice(_EVENT_TYPES)
        if self._skew:
            at_ms += _SKEW_MS - chance.randrange(2 * _SKEW_MS)
            at_ms -= chance.randrange(_LATE_MS) if chance.randrange(_LATE) == 0 else 0
        if kind == "view":
            windows = self.seen.setdefault(self.ads[ad], {})
            window = str(at_ms // WINDOW_MS * WINDOW_MS)
            windows[window] = windows.get(window, 0) + 1
        return (
            f'{{"user_id": "{chance.choice(self._people)}", "page_id": "{chance.choice(self._pages)}", '
            f'"ad_id": "{ad}", "ad_type": "{chance.choice(_AD_TYPES)}", "event_type": "{kind}", '
            f'"event_time": "{at_ms}", "ip_address": "1.2.3.4"}}'
        ).encode()

    def _identities(self, count: int) -> list[str]:
        return [str(UUID(int=self._chance.getrandbits(128), version=4)) for _ in range(count)]
