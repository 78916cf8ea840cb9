"""The table of campaigns: its columns, their order, and the filter. Pure; stands between the reading and the screen.

A column is data: what it is called, what it is sorted by, and how it reads. A number that nobody can know yet is a
dash, and comes last in either direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stream_app.figures import Numbers, percent, percent_and_interval
from stream_app.metrics.catalogue import TOTAL, WINDOWS
from stream_app.output import printable

CHOSEN_WINDOWS = (*WINDOWS, TOTAL)
LONGEST_NAME = 40


class Column(NamedTuple):
    """A column. ``value`` is what it is sorted by, ``cell`` its text; both of a campaign's name, numbers and window."""

    name: str
    title: str
    value: Callable[[str, Numbers, str], float | str | None]
    cell: Callable[[str, Numbers, str], str]


class Row(NamedTuple):
    """A campaign as it is shown; ``severity`` is that of the worst alert on it that fires, empty without any."""

    campaign: str
    cells: tuple[str, ...]
    severity: str = ""


@dataclass(frozen=True)
class View:
    """What a person wants to see of the campaigns: in which window, sorted by which column, with which text in
    their names."""

    window: str = "24h"
    sort: str = "deliveries"
    ascending: bool = False
    text: str = ""


def machine_share(numbers: Numbers, window: str) -> float | None:
    """Of all opens and clicks, those by machines; None without any."""
    machines = numbers.count(window, "machine_opens") + numbers.count(window, "machine_clicks")
    people = numbers.count(window, "opens") + numbers.count(window, "clicks")
    return machines / (machines + people) if machines + people else None


def _machine_cell(numbers: Numbers, window: str) -> str:
    share = machine_share(numbers, window)
    return "–" if share is None else f"{share:.0%}"


def _rate(name: str, title: str, digits: int = 2) -> Column:
    return Column(
        name,
        title,
        lambda _, numbers, window: numbers.rate(window, name).value,
        lambda _, numbers, window: percent(numbers.rate(window, name), digits).replace(" %", "%"),
    )


COLUMNS = (
    Column("name", "campaign", lambda name, *_: name, lambda name, *_: printable(name, LONGEST_NAME)),
    Column(
        "deliveries",
        "delivered",
        lambda _, numbers, window: numbers.count(window, "deliveries"),
        lambda _, numbers, window: f"{numbers.count(window, 'deliveries'):,.0f}",
    ),
    _rate("open_rate", "open", 1),
    _rate("ctr", "CTR"),
    _rate("ctor", "CTOR", 1),
    Column(
        "optout_rate",
        "opt-out (95 %)",
        lambda _, numbers, window: numbers.rate(window, "optout_rate").value,
        lambda _, numbers, window: percent_and_interval(numbers.rate(window, "optout_rate")).replace(
            " %", "%"
        ),
    ),
    _rate("ctr_adjusted", "adjusted"),
    Column(
        "machines",
        "machines",
        lambda _, numbers, window: machine_share(numbers, window),
        lambda _, numbers, window: _machine_cell(numbers, window),
    ),
)
COLUMN_BY_NAME = {column.name: column for column in COLUMNS}


def chosen_campaigns(campaigns: Mapping[str, Numbers], view: View) -> list[str]:
    """The names of the campaigns that are wanted, sorted; those alike by name."""
    value = COLUMN_BY_NAME[view.sort].value
    text = view.text.casefold()
    known: list[tuple[float | str, str]] = []
    unknown: list[str] = []
    for name in sorted(name for name in campaigns if text in name.casefold()):
        found = value(name, campaigns[name], view.window)
        if found is None:
            unknown.append(name)
        else:
            known.append((found, name))
    known.sort(key=_first, reverse=not view.ascending)
    return [name for _, name in known] + unknown


def rows_of(
    campaigns: Mapping[str, Numbers], view: View, severities: Mapping[str, str] | None = None
) -> list[Row]:
    """The rows of the table; ``severities`` are those of the firing alerts, by campaign."""
    known = severities or {}
    return [
        Row(
            name,
            tuple(column.cell(name, campaigns[name], view.window) for column in COLUMNS),
            known.get(name, ""),
        )
        for name in chosen_campaigns(campaigns, view)
    ]


def _first(pair: tuple[float | str, str]) -> float | str:
    return pair[0]
