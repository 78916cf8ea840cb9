"""Tickets: opened, replied, resolved, reopened, rated. Pure; see METRICS for the definitions.

One of the three lifecycles. A first resolution with at most one agent reply counts as solved at first
contact; it is taken back, in its pane, when the ticket is reopened.
"""

from __future__ import annotations

from enum import IntEnum

from stream_app.ingest.events import (
    TicketEvent,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketReplied,
    TicketResolved,
)
from stream_app.metrics.cells import slot_of
from stream_app.state.lifecycle import Emit, Step
from stream_app.state.service import ServiceState

_OPENED = slot_of("tickets_opened")
_RESOLVED = slot_of("tickets_resolved")
_REOPENED = slot_of("tickets_reopened")
_FIRST_CONTACT = slot_of("tickets_first_contact")
_RESOLUTION = slot_of("ticket_resolution_seconds")
_REPLY = slot_of("ticket_reply_seconds")
_REPLIED = slot_of("tickets_replied")


class TicketAction(IntEnum):
    """What a ticket event does."""

    OTHER = 0
    OPENED = 1
    REPLIED = 2
    RESOLVED = 3
    REOPENED = 4
    RATED = 5


class TicketState(ServiceState, array_like=True):
    """How far a ticket has come. ``first_contact_ms`` is where a first contact is counted, if it is."""

    replies: int = 0
    replied: bool = False
    resolved: bool = False
    first_contact_ms: int | None = None
    is_open: bool = False
    reopened: int = 0

    def burden(self) -> tuple[int, int]:
        """What the ticket is to its customer: 1 while it is open, and how often it was reopened."""
        return (1, self.reopened) if self.is_open else (0, 0)


_ACTIONS: dict[type[TicketEvent], TicketAction] = {
    TicketOpened: TicketAction.OPENED,
    TicketResolved: TicketAction.RESOLVED,
    TicketReopened: TicketAction.REOPENED,
    TicketRated: TicketAction.RATED,
}


def ticket_step(event: TicketEvent, time_ms: int) -> Step:
    """What the automaton needs of a ticket event."""
    action = _ACTIONS.get(type(event), TicketAction.OTHER)
    if isinstance(event, TicketReplied) and event.author == "agent":
        action = TicketAction.REPLIED
    rating = event.rating if isinstance(event, TicketRated) else None
    opens = action == TicketAction.OPENED
    return Step(time_ms, action, event.segment or None, event.channel or None, rating, None, opens)


class Tickets:
    """The automaton of a ticket; nothing in it waits for time."""

    def fresh(self) -> TicketState:
        """A ticket without events."""
        return TicketState()

    def advance(self, state: TicketState, step: Step, emit: Emit) -> None:
        """Take the next event of the ticket."""
        state.see(step)
        if step.action == TicketAction.OPENED:
            if state.open(step, emit):
                state.is_open = True
                state.count(step.time_ms, _OPENED, 1, emit)
        elif step.action == TicketAction.REPLIED:
            self._reply(state, step, emit)
        elif step.action == TicketAction.RESOLVED:
            self._resolve(state, step, emit)
        elif step.action == TicketAction.REOPENED:
            state.is_open = True
            state.reopened += 1
            state.count(step.time_ms, _REOPENED, 1, emit)
            if state.first_contact_ms is not None:
                state.count(state.first_contact_ms, _FIRST_CONTACT, -1, emit)
                state.first_contact_ms = None
        elif step.action == TicketAction.RATED:
            state.rate(step, emit)

    def deadline_ms(self, state: TicketState) -> int | None:
        """Nothing waits."""
        return None

    def come_true(self, state: TicketState, emit: Emit) -> None:
        """Nothing waits, so nothing comes true."""

    def _reply(self, state: TicketState, step: Step, emit: Emit) -> None:
        state.replies += 1
        if state.opened_ms is not None and not state.replied:
            state.replied = True
            state.count(step.time_ms, _REPLIED, 1, emit)
            state.count(step.time_ms, _REPLY, step.time_ms - state.opened_ms, emit)

    def _resolve(self, state: TicketState, step: Step, emit: Emit) -> None:
        state.is_open = False
        state.count(step.time_ms, _RESOLVED, 1, emit)
        if state.opened_ms is not None:
            state.count(step.time_ms, _RESOLUTION, step.time_ms - state.opened_ms, emit)
        if not state.resolved:
            state.resolved = True
            if state.replies <= 1:
                state.first_contact_ms = step.time_ms
                state.count(step.time_ms, _FIRST_CONTACT, 1, emit)
