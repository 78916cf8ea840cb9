"""How many customers are at each stage, and how many moved to it: what ``stages.py`` finds, in the counts. Pure.

Stands between the shard and the tallies. A move counts in the pane that begins with the day after it, like all that
waits for time and comes true. Whoever is counted at a stage is taken back before their customer is forgotten
(``Course.is_over``), and before their segment is (``holds_customers``); so ``total`` is always how many there are.
"""

from __future__ import annotations

from typing import Final

from stream_app.clock import DAY_MS
from stream_app.metrics.cells import Cell, slot_of
from stream_app.settings import Settings
from stream_app.state.customers import Customer
from stream_app.state.stages import Limits, Move, Stage, advance
from stream_app.state.tallies import Tallies

_AT: Final = {stage: slot_of(f"stage_{stage.word}") for stage in Stage if stage}
_MOVE_NAMES: Final = {stage: f"became_{stage.word}" for stage in Stage if stage}
_BECAME: Final = {stage: slot_of(name) for stage, name in _MOVE_NAMES.items()}
MOVES: Final = frozenset(_MOVE_NAMES.values())
"""The counts of moves to a stage, by name."""


def holds_customers(total: Cell) -> bool:
    """Whether anybody is counted at a stage, given the total of a key."""
    return any(slot in total for slot in _AT.values())


def stage_on(customer: Customer, day: int, limits: Limits) -> Stage:
    """The stage as of a day that may not be over, by what is known so far."""
    return Stage(advance(customer.stages, day, limits, _clicked_on(customer))[0].stage)


class StageCounts:
    """Decides the stages of one shard's customers, and counts them."""

    def __init__(self, tallies: Tallies, settings: Settings) -> None:
        self._tallies = tallies
        self._limits = Limits.of(settings)

    def advance(self, customer: Customer, through: int) -> bool:
        """Decide a customer's stages up to and including a day that is over; tells whether that changed any count."""
        customer.stages, moves = advance(customer.stages, through, self._limits, _clicked_on(customer))
        for move in moves:
            self._count(move)
        return bool(moves)

    def _count(self, move: Move) -> None:
        """Count a move in all, and in its segments; one from a segment to another is none in all."""
        time_ms, gather = (move.day + 1) * DAY_MS, self._tallies.gather
        if move.stage_before is not Stage.NONE:
            gather(_AT[move.stage_before], None, move.segment_before, None, time_ms, -1)
        if move.stage is not Stage.NONE:
            gather(_AT[move.stage], None, move.segment, None, time_ms)
            if move.stage is not move.stage_before:
                gather(_BECAME[move.stage], None, move.segment, None, time_ms)


def _clicked_on(customer: Customer) -> frozenset[int]:
    """The days of clicks by the person that are not settled yet."""
    if customer.recent is None:
        return frozenset()
    return frozenset(click.time_ms // DAY_MS for click in customer.recent.clicks if click.is_person)
