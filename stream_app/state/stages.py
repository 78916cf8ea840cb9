"""At which stage of their life with the company a customer is, day by day. Pure.

Stands beside the customers; ``stage_counts.py`` counts what is found here. A stage is decided at the end of each UTC day
of event time, once nothing can come any more that bears on the day: so it is the same in whatever order events arrive,
and however late somebody looks. All times here are days, by their number since 1970. What each stage means, and why it
is decided so: docs/decisions/0017-stages.md.
"""

from __future__ import annotations

from collections.abc import Set
from copy import copy
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from stream_app.clock import DAY_MS, MINUTE_MS
from stream_app.settings import Settings

VERDICTS_AFTER_MS: Final = MINUTE_MS
"""So long after its end a day is over: the click of its last second has its verdict then (``machine_click_within`` is no
longer than that)."""


class Stage(IntEnum):
    """The stages. ``NONE``: nobody knows the customer, or nobody does any more."""

    NONE = 0
    NEW = 1
    ACTIVE = 2
    COOLING = 3
    DORMANT = 4
    LEFT = 5
    RETURNED = 6

    @property
    def word(self) -> str:
        """As it is named in counts and in Redis; empty for none."""
        return self.name.lower() if self else ""


class Mark(IntEnum):
    """What a day brought that bears on the stage; a greater one says more."""

    SEEN = 0
    ENGAGED = 1
    LEFT = 2


class SeenDay(msgspec.Struct, array_like=True, gc=False):
    """A day with events. ``segment`` is that of the latest event that bore one, ``latest_ms`` milliseconds into the day
    (-1: none did)."""

    day: int
    latest_ms: int = -1
    segment: str | None = None
    mark: int = Mark.SEEN


class Course(msgspec.Struct, array_like=True, gc=False):
    """Where a customer stands: the stage and the segment as of the last day decided, and what later days brought.

    ``first``: the first day with an event; ``engaged``: the last one on which they engaged, ``returned``: the last one on
    which they came back from being dormant, each -1 for never; ``seen``: the last one with an event. ``days``, in order,
    are not decided yet.
    """

    stage: int = Stage.NONE
    segment: str | None = None
    first: int = -1
    engaged: int = -1
    returned: int = -1
    seen: int = -1
    days: list[SeenDay] = []

    def see(self, time_ms: int, segment: str | None) -> None:
        """An event of a time came, in a segment if it bears one; of two at the same time, the later name counts."""
        day, at_ms = divmod(time_ms, DAY_MS)
        days = self.days
        held = days[-1] if days and days[-1].day == day else self._day(day)
        if segment and (at_ms, segment) > (held.latest_ms, held.segment or ""):
            held.latest_ms, held.segment = at_ms, segment

    def mark(self, time_ms: int, mark: Mark) -> None:
        """What an event meant that was seen; nothing for a day that is decided."""
        day = time_ms // DAY_MS
        for held in reversed(self.days):
            if held.day <= day:
                if held.day == day and mark > held.mark:
                    held.mark = mark
                return

    def awaits(self, through: int) -> bool:
        """Whether a day with events, up to and including one, is not decided yet."""
        return bool(self.days) and self.days[0].day <= through

    @property
    def is_over(self) -> bool:
        """Whether the customer counts nowhere, and no event of theirs waits for its day to end."""
        return self.stage == Stage.NONE and not self.days

    def _day(self, day: int) -> SeenDay:
        place = len(self.days)
        while place and self.days[place - 1].day >= day:
            place -= 1
        if place == len(self.days) or self.days[place].day != day:
            self.days.insert(place, SeenDay(day))
        return self.days[place]


class Limits(NamedTuple):
    """How many days each stage takes; see the settings ``stage_*``. ``forgotten``: of a silence after which a customer
    is at no stage any more, which is the retention in whole days."""

    new: int
    cooling: int
    dormant: int
    forgotten: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As the settings say."""
        return cls(
            settings.stage_new // DAY_MS,
            settings.stage_cooling // DAY_MS,
            settings.stage_dormant // DAY_MS,
            -(-settings.retention // DAY_MS),
        )


class Move(NamedTuple):
    """At the end of a day a customer's stage, or segment, was another than the day before."""

    day: int
    stage_before: Stage
    segment_before: str | None
    stage: Stage
    segment: str | None


def last_day_over(watermark_ms: int) -> int:
    """The last day on which nothing can bear any more."""
    return (watermark_ms - VERDICTS_AFTER_MS) // DAY_MS - 1


def over_at_ms(day: int) -> int:
    """Which watermark has to be reached for a day to be over."""
    return (day + 1) * DAY_MS + VERDICTS_AFTER_MS


def advance(
    course: Course, through: int, limits: Limits, engaged_on: Set[int] = frozenset()
) -> tuple[Course, list[Move]]:
    """A customer's course once a day is over, and the moves up to it. Through one day and then through another is the
    same as through the other at once. ``engaged_on``: days with engagements that are not marked yet."""
    moves: list[Move] = []
    if course.awaits(through):
        course = copy(course)
        decided = [seen for seen in course.days if seen.day <= through]
        course.days = course.days[len(decided) :]
        for seen in decided:
            course = _pass_days(course, seen.day - 1, limits, moves)
            _take_day(course, seen, limits, moves, seen.day in engaged_on)
    return _pass_days(course, through, limits, moves), moves


def _take_day(course: Course, seen: SeenDay, limits: Limits, moves: list[Move], engaged: bool) -> None:
    """A day with events is over; all before it are decided."""
    day, before, segment_before = seen.day, course.stage, course.segment
    if before == _NONE:
        course.first = day
    if engaged or seen.mark == Mark.ENGAGED:
        course.engaged = day
        if before == _DORMANT:
            course.returned = day
    course.seen = day
    course.segment = seen.segment or segment_before
    course.stage = _LEFT if seen.mark == Mark.LEFT else _stage_on(course, day, limits)
    if course.stage != before or course.segment != segment_before:
        moves.append(Move(day, Stage(before), segment_before, Stage(course.stage), course.segment))


def _pass_days(course: Course, through: int, limits: Limits, moves: list[Move]) -> Course:
    """Days without an event are over, up to and including one; the course itself where nothing comes of it."""
    if course.stage == _NONE or course.stage == _stage_on(course, through, limits):
        return course  # without an event no stage comes twice
    path = [(day, _stage_on(course, day, limits)) for day in sorted(_turning_days(course, limits))]
    behind = max((place for place, (_, stage) in enumerate(path, 1) if stage == course.stage), default=0)
    course = copy(course)
    for day, stage in path[behind:]:
        if course.seen < day <= through and stage != course.stage:
            segment = course.segment if stage else None
            moves.append(Move(day, Stage(course.stage), course.segment, Stage(stage), segment))
            course.stage = stage
            if stage == _NONE:
                return Course(days=course.days)
    return course


def _turning_days(course: Course, limits: Limits) -> set[int]:
    """The days at whose end a stage can end by itself."""
    silent_since = course.first if course.engaged < 0 else course.engaged
    return {
        course.first + limits.new,
        course.returned + limits.new,
        silent_since + limits.cooling,
        silent_since + limits.dormant,
        course.seen + limits.forgotten,
    }


def _stage_on(course: Course, day: int, limits: Limits) -> int:
    """The stage at the end of a day from ``course.seen`` on, if no event comes after that."""
    if day - course.seen >= limits.forgotten:
        return _NONE
    if course.stage == _LEFT:
        return _LEFT
    silent_days = day - (course.first if course.engaged < 0 else course.engaged)
    if silent_days >= limits.dormant:
        return _DORMANT
    if silent_days >= limits.cooling:
        return _COOLING
    if course.returned >= 0 and day - course.returned < limits.new:
        return _RETURNED
    return _NEW if day - course.first < limits.new else _ACTIVE


_NONE, _NEW, _ACTIVE, _COOLING, _DORMANT, _LEFT, _RETURNED = (int(stage) for stage in Stage)
"""The same as plain numbers, which are compared in a fraction of the time."""
