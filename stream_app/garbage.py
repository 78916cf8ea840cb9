"""Garbage collection, kept out of the way of the state. Stands at the bottom; a worker's matter.

Python looks through all objects again and again for cycles, which at some hundred thousand objects blocks the event
loop for a second. The state has no cycles, so its objects are never looked through: the oldest generation is
left alone while partitions are held, and collected when they are let go and little is left.
"""

from __future__ import annotations

import gc

_YOUNG = 10_000
_MIDDLE = 10
_NEVER = 1_000_000_000


def spare_the_old() -> None:
    """From now on only young objects are looked through."""
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)


def state_is_loaded() -> None:
    """Partitions have been taken over: what is there now stays."""
    gc.freeze()


def state_is_let_go() -> None:
    """Partitions have been let go: look through all that is left."""
    gc.unfreeze()
    gc.collect()
