"""A cell: the counts of one key in one pane, or its total, as a sparse mapping of slots to integers.

Used by the shards, the partials and the merger. A slot is a count's place in the catalogue; an amount
has a slot for each currency. Seconds are kept as milliseconds, amounts as ten-thousandths (no currency
of ISO 4217 has a finer unit), so that sums are exact and cells can be added and taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stream_app.metrics.catalogue import COUNT_BY_NAME, COUNTS, Dimension, Unit, counts_of

Cell = dict[int, int]

AMOUNT_SCALE: Final = 10_000
_CURRENCY_BASE: Final = 1_000
_SLOTS: Final = {count.name: place for place, count in enumerate(COUNTS)}


def slot_of(name: str, currency: str | None = None) -> int:
    """The slot of a count; for an amount, of its currency (None: unknown)."""
    if not currency:
        return _SLOTS[name]
    code = 0
    for letter in currency:
        code = code * 27 + ord(letter) - 64
    return _SLOTS[name] + _CURRENCY_BASE * code


def to_amount(value: float) -> int:
    """An amount of money in ten-thousandths, rounded to the nearest."""
    return round(value * AMOUNT_SCALE)


def add(cell: Cell, other: Mapping[int, int], sign: int = 1) -> None:
    """Add another cell's counts to a cell, or take them away; slots that become 0 vanish."""
    for slot, number in other.items():
        changed = cell.get(slot, 0) + sign * number
        if changed:
            cell[slot] = changed
        else:
            cell.pop(slot, None)


def shown(dimension: Dimension, cell: Mapping[int, int]) -> dict[str, float | dict[str, float]]:
    """Every count of a dimension as users see it: 0 included, seconds, amounts per currency."""
    result: dict[str, float | dict[str, float]] = {}
    for count in counts_of(dimension):
        number = cell.get(_SLOTS[count.name], 0)
        if count.unit is Unit.SECONDS:
            result[count.name] = number / 1000
        elif count.unit is Unit.AMOUNT:
            result[count.name] = {}
        else:
            result[count.name] = number
    for slot, number in cell.items():
        code, place = divmod(slot, _CURRENCY_BASE)
        count = COUNTS[place]
        amounts = result.get(count.name)
        if isinstance(amounts, dict):
            amounts[_currency(code)] = number / AMOUNT_SCALE
    return result


def numbers(cell: Mapping[int, int]) -> dict[str, float]:
    """Every count of the catalogue that is one number, as users see it; for rates and rules."""
    result: dict[str, float] = {}
    for name, slot in _SLOTS.items():
        if COUNT_BY_NAME[name].unit is not Unit.AMOUNT:
            number = cell.get(slot, 0)
            result[name] = number / 1000 if COUNT_BY_NAME[name].unit is Unit.SECONDS else number
    return result


def _currency(code: int) -> str:
    letters = ""
    while code:
        code, letter = divmod(code, 27)
        letters = chr(letter + 64) + letters
    return letters
