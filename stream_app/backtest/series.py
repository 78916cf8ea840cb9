"""The short notation for a series of counts in a rule test, as ``promtool test rules`` has it. Pure.

===========  ====================================================
``5``        a five
``5x3``      a five, and three more of it: 5 5 5 5
``0+10x3``   a nought, and three more, each ten larger: 0 10 20 30
``30-10x3``  the same downwards: 30 20 10 0
``_``        nothing, like 0; ``_x3`` is nothing three times
===========  ====================================================

Source: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series.
"""

from __future__ import annotations

import re

LONGEST = 100_000
"""So many numbers a series may have: ten weeks of minutes."""

_PART = re.compile(
    r"(?P<gap>_)(?:x(?P<gaps>\d+))?"
    r"|(?P<first>\d+(?:\.\d+)?)(?:(?P<sign>[+-])(?P<step>\d+(?:\.\d+)?))?(?:x(?P<more>\d+))?"
)


def expand(text: str) -> list[float]:
    """The numbers of a series.

    Raises:
        ValueError: it is not written like this; the message names the part and the mend.
    """
    numbers: list[float] = []
    for part in text.split():
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f'"{part}" is no number and no row of them; write 5, 5x3, 0+10x3, 30-10x3 or _')
        if match["sign"] and match["more"] is None:
            raise ValueError(f'"{part}" does not say how often; write {part}x3 for three more')
        length = int(match["gaps"] or 1) if match["gap"] else int(match["more"] or 0) + 1
        if len(numbers) + length > LONGEST:
            raise ValueError(f"is longer than {LONGEST:,} numbers; choose a longer interval")
        numbers += _row(match, part, length)
    return numbers


def _row(match: re.Match[str], part: str, length: int) -> list[float]:
    if match["gap"]:
        return [0.0] * length
    first = float(match["first"])
    step = float(f"{match['sign']}{match['step']}") if match["sign"] else 0.0
    last = first + step * (length - 1)
    if last < 0:
        raise ValueError(f'"{part}" falls to {last:g}; counts are never below 0')
    return [first + step * place for place in range(length)]
