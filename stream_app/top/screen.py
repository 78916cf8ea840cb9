"""The live screen of ``stream-app top``: looks at Redis every second, and does what the keys say.

Stands behind the panels and the table, which know what is shown; here are only keys, the clock and the terminal. While
Redis does not answer, the last numbers stay, and the header says how old they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Input, Static

from stream_app.clock import now_ms
from stream_app.failure import Failure
from stream_app.top.pace import Pace
from stream_app.top.panels import (
    SEVERITY_STYLES,
    Scene,
    alerts,
    header,
    no_campaign,
    pipeline,
    service,
    severities,
)
from stream_app.top.reading import Look, Reader
from stream_app.top.table import CHOSEN_WINDOWS, COLUMNS, Row, View, rows_of

LOOK_SECONDS = 1.0
_SORTS = [column.name for column in COLUMNS]


class TopScreen(App[None]):
    """All of it; ``view`` and ``look`` are how it begins. Use it while ``reader`` is open."""

    TITLE = "stream-app top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    Static { padding: 0 1; background: ansi_default; }
    #alerts { margin: 1 0; max-height: 30%; }
    #below { height: auto; max-height: 40%; margin-top: 1; background: ansi_default; scrollbar-size: 1 1; }
    #pipeline { margin-top: 1; }
    DataTable { height: 1fr; min-height: 4; background: ansi_default; scrollbar-size: 1 1; }
    DataTable > .datatable--header { background: ansi_default; color: ansi_default; text-style: bold underline; }
    DataTable > .datatable--header-hover { background: ansi_default; color: ansi_default; text-style: bold; }
    DataTable > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: none; }
    DataTable:focus > .datatable--cursor { background: ansi_default; color: ansi_default; text-style: reverse; }
    Input { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(-1)", "by the one before", show=False),
        Binding("r", "reverse", "reverse"),
        Binding("w", "window", "window"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "unfilter", "no filter", show=False),
    ]

    def __init__(self, reader: Reader, view: View, look: Look) -> None:
        super().__init__(ansi_color=True)
        self.view = view
        self._reader = reader
        self._pace = Pace()
        self._look = look
        self._rates = self._pace.take(look)
        self._problem = ""
        self._rows: list[Row] = []

    def compose(self) -> ComposeResult:
        """The parts, from above."""
        yield Static(id="header")
        yield Static(id="alerts")
        yield Input(placeholder="part of a campaign's name; Enter keeps it, Escape takes it away")
        yield DataTable(cursor_type="row", zebra_stripes=False)
        with VerticalScroll(id="below"):
            yield Static(id="service")
            yield Static(id="pipeline")
        yield Footer()

    def on_mount(self) -> None:
        """Look every second from now on."""
        self.query_one(DataTable).focus()
        self._draw()
        self.set_interval(LOOK_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        window = self.view.window
        try:
            look = await self._reader.look(window)
        except Failure as problem:
            self._problem = str(problem)
        else:
            if window != self.view.window:
                return  # another one was chosen meanwhile, and is on its way
            self._look, self._problem = look, ""
            self._rates = self._pace.take(look)
        self._draw()

    def _draw(self) -> None:
        scene = Scene(self._look, self.view, now_ms(), self._rates, self._problem)
        self.query_one("#header", Static).update(header(scene))
        self.query_one("#alerts", Static).update(alerts(scene))
        self.query_one("#service", Static).update(service(scene))
        self.query_one("#pipeline", Static).update(pipeline(scene))
        self._draw_table(scene)

    def _draw_table(self, scene: Scene) -> None:
        """Only the cells that differ, unless there are other rows: the cursor stays where it is."""
        table = self.query_one(DataTable)
        rows = rows_of(scene.look.campaigns, scene.view, severities(scene.look))
        rows = rows or [Row("", (no_campaign(scene),))]
        titles = [self._title(number) for number in range(len(COLUMNS))]
        if [str(column.label) for column in table.ordered_columns] != titles:
            table.clear(columns=True)
            self._rows = []
            for title, name in zip(titles, _SORTS, strict=True):
                table.add_column(Text(title, justify="left" if name == "name" else "right"), key=name)
        if [row.campaign for row in rows] == [row.campaign for row in self._rows]:
            for place, (old, new) in enumerate(zip(self._rows, rows, strict=True)):
                self._draw_row(table, place, old, new)
        else:
            row_before = table.cursor_row
            table.clear()
            table.add_rows([_cells(row) for row in rows])
            table.move_cursor(row=min(row_before, len(rows) - 1), animate=False)
        self._rows = rows

    @staticmethod
    def _draw_row(table: DataTable[Text], place: int, old: Row, new: Row) -> None:
        if old != new:
            for number, (was, now) in enumerate(zip(_cells(old), _cells(new), strict=True)):
                if was != now or was.style != now.style:
                    table.update_cell_at(Coordinate(place, number), now, update_width=True)

    def _title(self, number: int) -> str:
        column = COLUMNS[number]
        if column.name != self.view.sort:
            return column.title
        return f"{column.title} {'▲' if self.view.ascending else '▼'}"

    def action_sort(self, step: int) -> None:
        """Sort by the column that is so many further on."""
        place = (_SORTS.index(self.view.sort) + step) % len(_SORTS)
        self._see(replace(self.view, sort=_SORTS[place]))

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._see(replace(self.view, ascending=not self.view.ascending))

    async def action_window(self) -> None:
        """Show the next window."""
        place = (CHOSEN_WINDOWS.index(self.view.window) + 1) % len(CHOSEN_WINDOWS)
        self.view = replace(self.view, window=CHOSEN_WINDOWS[place])
        await self._refresh()

    def action_filter(self) -> None:
        """Ask for a text that must be in the names."""
        entry = self.query_one(Input)
        entry.display = True
        entry.focus()

    def action_unfilter(self) -> None:
        """Show all campaigns again."""
        self.query_one(Input).value = ""
        self._end_filter()

    @on(Input.Changed)
    def _filter_as_typed(self, event: Input.Changed) -> None:
        self._see(replace(self.view, text=event.value))

    @on(Input.Submitted)
    def _end_filter(self) -> None:
        entry = self.query_one(Input)
        entry.display = bool(entry.value)
        self.query_one(DataTable).focus()

    @on(DataTable.HeaderSelected)
    def _sort_by_click(self, event: DataTable.HeaderSelected) -> None:
        name = _SORTS[event.column_index]
        is_again = name == self.view.sort
        self._see(replace(self.view, sort=name, ascending=is_again and not self.view.ascending))

    def _see(self, view: View) -> None:
        self.view = view
        self._draw()


def _cells(row: Row) -> list[Text]:
    """A row's cells as the table shows them: names from the left, numbers to the right."""
    name, *numbers = row.cells
    padding = [""] * (len(COLUMNS) - len(row.cells))
    style = SEVERITY_STYLES.get(row.severity, "")
    return [Text(name, style), *(Text(cell, style, justify="right") for cell in (*numbers, *padding))]
