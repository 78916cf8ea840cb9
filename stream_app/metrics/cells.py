"""A cell: the counts of one key in one pane, or its total, as a sparse mapping of slots to integers.

Used by the shards, the partials and the merger. A slot is a count's place in the catalogue; an amount
has a slot for each currency. Seconds are kept as milliseconds, amounts as ten-thousandths (no currency
of ISO 4217 has a finer unit), so that sums are exact and cells can be added and taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from stream_app.metrics.catalogue import COUNTS, Dimension, Unit, counts_of

Cell = dict[int, int]

AMOUNT_SCALE: Final = 10_000
_CURRENCY_BASE: Final = 1_000
_SLOTS: Final = {count.name: place for place, count in enumerate(COUNTS)}
_PLAIN: Final = {
    count.name: (_SLOTS[count.name], count.unit is Unit.SECONDS)
    for count in COUNTS
    if count.unit is not Unit.AMOUNT
}
"""The counts that are one number: their slots, and whether they are kept in milliseconds."""


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
    get = cell.get
    for slot, number in other.items():
        changed = get(slot, 0) + sign * number
        if changed:
            cell[slot] = changed
        else:
            cell.pop(slot, None)


class Numbers(Mapping[str, float]):
    """The counts of a cell that are one number, as users see them, by name; each is worked out when it is asked for."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Mapping[int, int]) -> None:
        self._cell = cell

    def __getitem__(self, name: str) -> float:
        slot, milliseconds = _PLAIN[name]
        number = self._cell.get(slot, 0)
        return number / 1000 if milliseconds else number

    def __iter__(self) -> Iterator[str]:
        return iter(_PLAIN)

    def __len__(self) -> int:
        return len(_PLAIN)


def shown(dimension: Dimension, cell: Mapping[int, int]) -> dict[str, float | dict[str, float]]:
    """Every count of a dimension as users see it: 0 included, seconds, amounts per currency."""
    plain, amounts = _SHOWN[dimension]
    get = cell.get
    result: dict[str, float | dict[str, float]] = {
        name: get(slot, 0) / 1000 if milliseconds else get(slot, 0) for name, slot, milliseconds in plain
    }
    for name in amounts:
        result[name] = {}
    if amounts:
        for slot, number in cell.items():
            code, place = divmod(slot, _CURRENCY_BASE)
            by_currency = result.get(COUNTS[place].name)
            if isinstance(by_currency, dict):
                by_currency[_currency(code)] = number / AMOUNT_SCALE
    return result


def _shown_in(dimension: Dimension) -> tuple[list[tuple[str, int, bool]], list[str]]:
    """The counts of a dimension that are one number (name, slot, whether it is milliseconds), and the amounts."""
    counts = counts_of(dimension)
    plain = [(c.name, *_PLAIN[c.name]) for c in counts if c.unit is not Unit.AMOUNT]
    return plain, [c.name for c in counts if c.unit is Unit.AMOUNT]


def _currency(code: int) -> str:
    letters = ""
    while code:
        code, letter = divmod(code, 27)
        letters = chr(letter + 64) + letters
    return letters


_SHOWN: Final = {dimension: _shown_in(dimension) for dimension in Dimension}
