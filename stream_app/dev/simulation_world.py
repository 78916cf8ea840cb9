"""The simulated people and the dice: what the parts of the simulator share.

Stands between the story (`simulation_story.py`) and what makes events of it (`simulation_mail.py`,
`simulation_service.py`). Pure: everything follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, NamedTuple

from stream_app.clock import DAY_MS, HOUR_MS
from stream_app.dev.simulation_story import ADA, PRICE_WATCH, PRICE_WATCHERS, SEGMENTS

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
)
_MOST_KEEN = 3.0
_USES_PROXY, _HAS_SCANNER = 0.15, 0.03


class Person(NamedTuple):
    """A customer. ``keen`` is how much more than others one reads (1 is usual); a ``proxy`` fetches their
    mail's images ahead of them, a ``scanner`` follows the links."""

    name: str
    segment: str
    keen: float
    proxy: bool
    scanner: bool
    browser: str


class Happening(NamedTuple):
    """Something happens: an event of a type, at a time, by a customer, with the fields of its own."""

    time_ms: int
    event_type: str
    person: Person
    fields: dict[str, Any]


@dataclass
class World:
    """The people, the dice, and what has to be remembered: who opted out when, and the last number given."""

    dice: random.Random
    audiences: dict[str, list[Person]]
    shoppers: list[Person]
    ada: Person
    opted_out: dict[str, int] = field(default_factory=dict)
    _last_number: int = 0

    def number(self) -> int:
        """A number that was never given before, for the ids of carts, chats and tickets."""
        self._last_number += 1
        return self._last_number

    def chance(self, probability: float) -> bool:
        """True as often as the probability says."""
        return self.dice.random() < probability

    def shopper(self) -> Person:
        """Somebody who shops, the loyal more often than others; never Ada, whose story is told."""
        return self.dice.choice(self.shoppers)

    def around(self, median_ms: float, spread: float) -> int:
        """A delay that is short for most and long for a few: log-normal around its median."""
        return int(self.dice.lognormvariate(log(median_ms), spread))

    def between(self, least_ms: int, most_ms: int) -> int:
        """Any time between two, inclusive."""
        return self.dice.randint(least_ms, most_ms)


def create_world(seed: int) -> World:
    """The people of a seed; the same seed gives the same people and the same dice."""
    dice = random.Random(seed)
    ada = Person(ADA, "loyal", 1.0, proxy=False, scanner=False, browser=_BROWSERS[0])
    audiences: dict[str, list[Person]] = {}
    shoppers: list[Person] = []
    for segment in SEGMENTS:
        people = [
            _born(dice, f"customer-{segment.name}-{n:04d}", segment.name) for n in range(segment.customers)
        ]
        audiences[segment.name] = people
        shoppers += people[: int(len(people) * min(segment.shopping, 1.0))] * max(1, round(segment.shopping))
    audiences["loyal"].append(ada)
    audiences[PRICE_WATCH] = [*_watchers(dice, audiences["loyal"] + audiences["regular"]), ada]
    return World(dice, audiences, shoppers, ada)


def _born(dice: random.Random, name: str, segment: str) -> Person:
    keen = min(dice.gammavariate(2.0, 0.5), _MOST_KEEN)
    proxy, scanner = dice.random() < _USES_PROXY, dice.random() < _HAS_SCANNER
    return Person(name, segment, keen, proxy, scanner, dice.choice(_BROWSERS))


def _watchers(dice: random.Random, people: Sequence[Person]) -> list[Person]:
    """Those who asked for the price watch: keen readers whose mail no proxy opens."""
    keen = [person for person in people if person.keen > 1.0 and not person.proxy and person.name != ADA]
    return dice.sample(keen, PRICE_WATCHERS)


def hour_of_day(time_ms: int) -> float:
    """The hour of the day in UTC, with its fraction."""
    return time_ms % DAY_MS / HOUR_MS


def at_hour(day_ms: int, hour: float) -> int:
    """The time of an hour of a day; ``day_ms`` is the day's midnight."""
    return day_ms + round(hour * HOUR_MS)
