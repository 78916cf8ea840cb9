"""Chats: started, answered, missed, ended, rated. Pure; see METRICS for the definitions.

One of the three lifecycles. A chat is missed when no agent answers within the chat timeout of its
start, inclusive; a later answer takes nothing back.
"""

from __future__ import annotations

from enum import IntEnum

from stream_app.ingest.events import ChatAnswered, ChatEnded, ChatEvent, ChatMessage, ChatRated, ChatStarted
from stream_app.metrics.cells import slot_of
from stream_app.state.lifecycle import Emit, Step, advance_past_deadline
from stream_app.state.service import ServiceState

_STARTED = slot_of("chats_started")
_ANSWERED = slot_of("chats_answered")
_MISSED = slot_of("chats_missed")
_ENDED = slot_of("chats_ended")
_WAIT = slot_of("chat_wait_seconds")


class ChatAction(IntEnum):
    """What a chat event does."""

    OTHER = 0
    STARTED = 1
    ANSWERED = 2
    ENDED = 3
    RATED = 4


class ChatState(ServiceState, array_like=True):
    """How far a chat has come."""

    answered: bool = False
    missed: bool = False
    ended: bool = False


def chat_step(event: ChatEvent, time_ms: int) -> Step:
    """What the automaton needs of a chat event."""
    action, number = ChatAction.OTHER, None
    if isinstance(event, ChatStarted):
        action = ChatAction.STARTED
    elif isinstance(event, ChatAnswered) or (isinstance(event, ChatMessage) and event.author == "agent"):
        action = ChatAction.ANSWERED
    elif isinstance(event, ChatEnded):
        action = ChatAction.ENDED
    elif isinstance(event, ChatRated):
        action, number = ChatAction.RATED, event.rating
    opens = action == ChatAction.STARTED
    return Step(time_ms, action, event.segment or None, event.channel or None, number, None, opens)


class Chats:
    """The automaton of a chat."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms

    def fresh(self) -> ChatState:
        """A chat without events."""
        return ChatState()

    def advance(self, state: ChatState, step: Step, emit: Emit) -> None:
        """Take the next event of the chat."""
        advance_past_deadline(self, state, step.time_ms, emit)
        state.see(step)
        if step.action == ChatAction.STARTED:
            if state.open(step, emit):
                state.count(step.time_ms, _STARTED, 1, emit)
        elif step.action == ChatAction.ANSWERED:
            if state.opened_ms is not None and not state.answered:
                state.answered = True
                state.count(step.time_ms, _ANSWERED, 1, emit)
                state.count(step.time_ms, _WAIT, step.time_ms - state.opened_ms, emit)
        elif step.action == ChatAction.ENDED:
            if not state.ended:
                state.ended = True
                state.count(step.time_ms, _ENDED, 1, emit)
        elif step.action == ChatAction.RATED:
            state.rate(step, emit)

    def deadline_ms(self, state: ChatState) -> int | None:
        """A chat that was started waits for an answer until the chat timeout, inclusive."""
        if state.opened_ms is None or state.answered or state.missed:
            return None
        return state.opened_ms + self._timeout_ms

    def come_true(self, state: ChatState, emit: Emit) -> None:
        """The chat is missed, at the end of the timeout."""
        if state.opened_ms is not None:
            state.count(state.opened_ms + self._timeout_ms, _MISSED, 1, emit)
        state.missed = True
