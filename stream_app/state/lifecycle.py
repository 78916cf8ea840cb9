"""Lifecycles in event-time order: what carts, chats and tickets have in common. Pure.

Stands between the shard and the three kinds. The counts of an entity are a function of its events in
event-time order; at the same time its opening comes first, other ties go by offset. A kind is an automaton: ``advance`` takes a state one step further
and emits what is counted. Events older than the watermark can no longer be overtaken and are folded
into ``settled``; the younger ones are kept, so that when an older event arrives after a younger one
the counts before and after it are compared and only the difference is applied.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from stream_app.metrics.cells import Cell


class Step(msgspec.Struct, array_like=True, frozen=True):
    """What an entity's automaton needs of one event. ``action`` is a kind's own small enumeration.

    ``opens`` marks an opening event: of events at the same time, it comes first.
    """

    time_ms: int
    action: int
    segment: str | None = None
    channel: str | None = None
    number: int | None = None
    currency: str | None = None
    opens: bool = False

    def order(self) -> tuple[int, bool]:
        """Where the step stands in event time; ties go by offset, the order of arrival."""
        return self.time_ms, not self.opens


class Place(NamedTuple):
    """Where something is counted: at a time, in a segment and a channel (None: in neither)."""

    time_ms: int
    segment: str | None
    channel: str | None


class Emit(Protocol):
    """Counts a number in a slot at a place, negative to take it back."""

    def __call__(self, place: Place, slot: int, number: int) -> None: ...


StateT = TypeVar("StateT", bound=msgspec.Struct)


class Automaton(Protocol[StateT]):
    """A kind of lifecycle. Both methods change the state in place; lists in it are immutable tuples."""

    def fresh(self) -> StateT:
        """The state of an entity without events."""

    def advance(self, state: StateT, step: Step, emit: Emit) -> None:
        """Take the next event in event-time order, after what came true before its time."""

    def deadline_ms(self, state: StateT) -> int | None:
        """Until when, inclusive, an event can prevent what waits for time; None if nothing waits."""

    def come_true(self, state: StateT, emit: Emit) -> None:
        """What waited for time has come true: the deadline passed without an event."""


class Entity(msgspec.Struct, Generic[StateT], array_like=True):
    """One cart, chat or ticket. ``tip`` is the state after all events, None where it is ``settled``."""

    settled: StateT
    touched_ms: int = 0
    recent: list[Step] = []
    tip: StateT | None = None

    def state(self) -> StateT:
        """The state after all events seen."""
        return self.settled if self.tip is None else self.tip


class Touched(msgspec.Struct, array_like=True):
    """The beginning of an ``Entity`` at rest, which tells whether the rest is still of interest."""

    settled: msgspec.Raw
    touched_ms: int


def apply(
    automaton: Automaton[StateT], entity: Entity[StateT], step: Step, watermark_ms: int, emit: Emit
) -> None:
    """Add one event to an entity and emit the difference that it makes."""
    settle(automaton, entity, watermark_ms)
    entity.touched_ms = max(entity.touched_ms, step.time_ms)
    recent = entity.recent
    if not recent or step.order() >= recent[-1].order():
        if entity.tip is None:
            entity.tip = copy.copy(entity.settled)
        automaton.advance(entity.tip, step, emit)
        recent.append(step)
        return
    before = _counts_of(automaton, entity.settled, recent)[1]
    recent.insert(bisect_right(recent, step.order(), key=Step.order), step)
    entity.tip, after = _counts_of(automaton, entity.settled, recent)
    for place, cell in after.items():
        held = before.pop(place, {})
        for slot in {**held, **cell}:
            difference = cell.get(slot, 0) - held.get(slot, 0)
            if difference:
                emit(place, slot, difference)
    for place, cell in before.items():
        for slot, number in cell.items():
            emit(place, slot, -number)


def settle(automaton: Automaton[StateT], entity: Entity[StateT], watermark_ms: int) -> None:
    """Fold the events that nothing can precede any more into the settled state; counts stay."""
    recent = entity.recent
    if not recent or recent[0].time_ms >= watermark_ms:
        return
    if recent[-1].time_ms < watermark_ms and entity.tip is not None:
        entity.settled, entity.tip, entity.recent = entity.tip, None, []
        return
    settled_until = next(i for i, step in enumerate(recent) if step.time_ms >= watermark_ms)
    for step in recent[:settled_until]:
        automaton.advance(entity.settled, step, _ignore)
    entity.recent = recent[settled_until:]


def pass_time(automaton: Automaton[StateT], entity: Entity[StateT], watermark_ms: int, emit: Emit) -> None:
    """The watermark has moved: settle, and let come true what waited for a deadline now passed."""
    settle(automaton, entity, watermark_ms)
    deadline = automaton.deadline_ms(entity.state())
    if deadline is not None and deadline < watermark_ms:
        automaton.come_true(entity.state(), emit)


def advance_past_deadline(automaton: Automaton[StateT], state: StateT, time_ms: int, emit: Emit) -> None:
    """Before an event of this time: let come true what it came too late to prevent."""
    deadline = automaton.deadline_ms(state)
    if deadline is not None and time_ms > deadline:
        automaton.come_true(state, emit)


def _counts_of(
    automaton: Automaton[StateT], settled: StateT, steps: Iterable[Step]
) -> tuple[StateT, dict[Place, Cell]]:
    state = copy.copy(settled)
    counts: dict[Place, Cell] = {}

    def note(place: Place, slot: int, number: int) -> None:
        cell = counts.setdefault(place, {})
        cell[slot] = cell.get(slot, 0) + number

    for step in steps:
        automaton.advance(state, step, note)
    return state, counts


def _ignore(place: Place, slot: int, number: int) -> None:
    """Emits nothing: these counts were emitted when the events came."""
