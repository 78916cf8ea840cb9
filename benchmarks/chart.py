"""A chart of bars as SVG: one for each contestant, its length the median, a line from the least to the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import Spread

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 860, 300, 110, 30, 46
_COLOURS = {"ours": "#2f6f9f", "peer": "#8a8a8a", "limit": "#c9b26b"}


@dataclass(frozen=True)
class Bar:
    """One contestant's figure."""

    title: str
    kind: str
    value: Spread


def chart(title: str, bars: Sequence[Bar]) -> str:
    """The chart as an SVG document."""
    longest = max(bar.value.most for bar in bars)
    height = _TOP + _ROW * len(bars) + 10
    rows = [_row(number, bar, (_WIDTH - _LEFT - _RIGHT) / longest) for number, bar in enumerate(bars)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            "<style>text{font:13px sans-serif;fill:#222}.t{font-size:15px;font-weight:bold}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            f'<text class="t" x="12" y="26">{escape(title)}</text>',
            *rows,
            "</svg>",
            "",
        ]
    )


def _row(number: int, bar: Bar, scale: float) -> str:
    top = _TOP + number * _ROW
    middle = top + 10
    length, least, most = (value * scale for value in (bar.value.median, bar.value.least, bar.value.most))
    return "\n".join(
        [
            f'<text x="{_LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(bar.title.replace("`", ""))}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="20" fill="{_COLOURS[bar.kind]}"/>',
            f'<path d="M{_LEFT + least:.1f} {middle}H{_LEFT + most:.1f}" stroke="#222" stroke-width="2"/>',
            f'<text x="{_LEFT + most + 8:.1f}" y="{top + 15}">{bar.value.median:,.0f}</text>',
        ]
    )
