"""What is remembered of each customer: uniques by campaign, first contacts, recent mail, signs of churn, and their stage.
Pure.

Stands under the events' handlers (``mail.py``, ``lifecycles.py``), which change it. Times are milliseconds of event
time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from stream_app.state.firsts import First, Firsts, earlier
from stream_app.state.habits import Habits
from stream_app.state.prediction import Prediction
from stream_app.state.signs import Signs, Streak
from stream_app.state.stages import Course
from stream_app.state.suspicion import Click, Delivered, Recent


class Customer(msgspec.Struct, array_like=True, gc=False):
    """One customer. Most have no more than deliveries, so that what is rarer is None until it is there.

    ``reached`` and ``disengaged`` map segments, and ``""`` for all of them, to the first delivery and the first
    opt-out or complaint. ``mail``: deliveries since the last open or settled click by the person. ``clicks``: the
    first settled click by the person; what is not settled yet is in ``recent``. ``segment``: the latest by event time
    that an event bore; ``segment_age_ms``: how long before the last event that was.
    ``prediction``: only where the churn rule learns from outcomes.
    """

    last_seen_ms: int = 0
    reached: dict[str, int] | None = None
    mail: Streak = msgspec.field(default_factory=Streak)
    opens: Firsts | None = None
    clicks: Firsts | None = None
    optouts: Firsts | None = None
    complaints: Firsts | None = None
    disengaged: dict[str, int] | None = None
    signs: Signs | None = None
    delivered: Delivered | None = None
    recent: Recent | None = None
    habits: Habits | None = None
    segment: str | None = None
    segment_age_ms: int = 0
    prediction: Prediction | None = None
    stages: Course = msgspec.field(default_factory=Course)

    def see(self, time_ms: int, segment: str | None) -> None:
        """An event came, which may bear a segment. Of segments borne at the same time the one last by name stays, so that
        it does not matter which came first."""
        ahead_ms = time_ms - self.last_seen_ms
        if ahead_ms > 0:
            self.last_seen_ms = time_ms
            if segment:
                self.segment, self.segment_age_ms = segment, 0
            elif self.segment is not None:
                self.segment_age_ms += ahead_ms
        elif segment:
            held, older_ms = self.segment, self.segment_age_ms + ahead_ms
            if held is None or older_ms > 0 or (older_ms == 0 and segment > held):
                self.segment, self.segment_age_ms = segment, -ahead_ms

    @property
    def opted_out(self) -> bool:
        """Whether the customer has ever opted out or called a message spam."""
        return self.signs is not None and self.signs.opted_out

    def felt(self) -> Signs:
        """The signs, to be changed."""
        if self.signs is None:
            self.signs = Signs()
        return self.signs

    def used_to(self) -> Habits:
        """The habits, to be changed."""
        if self.habits is None:
            self.habits = Habits()
        return self.habits

    def last_answer_ms(self) -> int:
        """When the person last opened or clicked a message; -1 for never."""
        clicked = (click.time_ms for click in self.recent.clicks if click.is_person) if self.recent else ()
        return max(self.mail.made_good_ms, *clicked, -1)

    def unanswered(self) -> tuple[int, bool]:
        """Deliveries since the last open or click by the person, and whether there ever was one."""
        made_good_ms = self.mail.made_good_ms
        clicked = [click.time_ms for click in self.recent.clicks if click.is_person] if self.recent else []
        if not clicked or clicked[-1] <= made_good_ms:
            return len(self.mail.times_s), made_good_ms >= 0
        return self.mail.number_since(clicked[-1]), True

    def first_click(self, campaign: str) -> First | None:
        """The earliest click by the person in a campaign, hasty ones that a later one stands for among them."""
        if self.recent is None:
            return self.clicks.get(campaign) if self.clicks else None
        return self.first_of(campaign, self.recent, *self.recent.clicks_of(campaign))

    def first_of(self, campaign: str, recent: Recent, clicks: list[Click], last_ms: int) -> First | None:
        """The same, given the unsettled clicks of the campaign and the time of the latest by the person."""
        first = self.clicks.get(campaign) if self.clicks else None
        for held in recent.hasty.get(campaign, ()):
            if held.time_ms <= last_ms:
                first = earlier(first, First(held.time_ms, held.segment))
        for click in clicks:
            if click.is_counted(last_ms):
                return earlier(first, First(click.time_ms, click.segment))
        return first

    def first_engagement(self, campaign: str) -> First | None:
        """The earliest open or click by the person in a campaign; at the same time, the open."""
        return earlier(self.opens.get(campaign) if self.opens else None, self.first_click(campaign))


Handler = Callable[[Customer, Any, int], None]
"""Applies an event, of the type it is for, to its customer and to the counts; the time is in milliseconds."""


class LastSeen(msgspec.Struct, array_like=True):
    """The beginning of a ``Customer`` at rest, which tells whether the rest is still of interest."""

    last_seen_ms: int
