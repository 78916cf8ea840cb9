"""The demo's live terminal screen: alerts first, then the campaigns, then carts, chats and tickets.

Stands behind `demo_reading.py`, which knows the numbers; here they are only laid out. Where standard output is
no terminal, `PlainOutput` says the same in lines.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream_app.dev.demo_lines import Moment, change_line, counted, status_line
from stream_app.dev.demo_reading import Seen
from stream_app.figures import (
    Numbers,
    cart_words,
    chat_words,
    hour_and_minute,
    percent,
    percent_and_interval,
    summary_of,
    ticket_words,
)
from stream_app.metrics.catalogue import TOTAL
from stream_app.output import printable, result

STATUS_SECONDS = 5.0
ALERTS_SHOWN = 6
RESOLVED_SHOWN = 4
CAMPAIGNS_SHOWN = 9
ROOMY_LINES = 36
"""A terminal of so many lines has room for whole sentences."""
TABLE_FRAME_LINES = 4
"""What surrounds the campaigns: titles, a rule, a line above and below."""
_COLOURS = {"critical": "bold red", "warning": "yellow"}


class Output(Protocol):
    """Where the demo shows what it sees; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def change(self, alert: dict[str, Any]) -> None:
        """An alert's state has changed."""

    def show(self, seen: Seen, moment: Moment) -> None:
        """Show how things are now; called a few times a second."""


class PlainOutput:
    """One line per change of an alert, and a line on the state of things every few seconds."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._next_status = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def change(self, alert: dict[str, Any]) -> None:
        """Print the change."""
        self._print(change_line(alert))

    def show(self, seen: Seen, moment: Moment) -> None:
        """Print the state of things, if it is time."""
        self._seconds = moment.seconds
        if moment.seconds >= self._next_status:
            self._next_status = moment.seconds + STATUS_SECONDS
            self._print(status_line(seen, moment))

    def _print(self, line: str) -> None:
        result(f"{self._seconds:4.0f} s  {line}")


class Screen:
    """The whole terminal, drawn anew a few times a second."""

    def __init__(self, where: str, console: Console | None = None) -> None:
        """``where`` says how to reach the two servers."""
        self._where = where
        self._console = console or Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def change(self, alert: dict[str, Any]) -> None:
        """Nothing to do: the change is in what ``show`` is given."""

    def show(self, seen: Seen, moment: Moment) -> None:
        """Draw."""
        self._live.update(draw(seen, moment, self._where, self._console), refresh=True)


def draw(seen: Seen, moment: Moment, where: str, console: Console) -> RenderableType:
    """Everything on one screen; the campaigns take what room there is."""
    roomy = console.height >= ROOMY_LINES
    top = Group(_header(seen, moment, where), _firing(seen, roomy), _resolved(seen, roomy))
    if not seen.everything.as_of:
        return Group(top, Text("\nwaiting for the worker's first numbers …", style="dim"))
    shop = _shop(seen)
    used = len(console.render_lines(top)) + len(console.render_lines(shop))
    rows = min(console.height - used - TABLE_FRAME_LINES, CAMPAIGNS_SHOWN)
    return Group(top, _campaigns(seen, rows), shop) if rows > 0 else Group(top, shop)


def _header(seen: Seen, moment: Moment, where: str) -> Text:
    shop = printable(seen.everything.as_of)[:16].replace("T", " ") or "--:--"
    return Text.assemble(
        ("stream-app demo", "bold"),
        f"   {moment.seconds:.0f} s   shop time ",
        (shop, "bold cyan"),
        f"   {moment.sent:,} events, {moment.a_second:,.0f}/s\n",
        (f"Simulated: {moment.now_in_shop}\n", "italic"),
        (f"{where}   Ctrl-C ends\n", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _firing(seen: Seen, roomy: bool) -> Panel:
    if not seen.firing:
        calm = Text("no alert is firing", style="green")
        return Panel(calm, title="alerts", title_align="left", border_style="green")
    lines = _alert_grid(roomy)
    for alert in seen.firing[:ALERTS_SHOWN]:
        colour = _COLOURS.get(str(alert.get("severity")), "bold")
        kind = Text(printable(str(alert.get("kind"))), style=colour)
        lines.add_row(hour_and_minute(alert.get("started_at")), kind, Text(summary_of(alert)))
    more = len(seen.firing) - ALERTS_SHOWN
    if more > 0:
        lines.add_row("", "", Text(f"… and {more} more", style="dim"))
    return Panel(lines, title=f"{len(seen.firing)} firing", title_align="left", border_style="red")


def _resolved(seen: Seen, roomy: bool) -> Padding:
    """The last alerts that were resolved, the newest first."""
    lines = _alert_grid(wrap=False)
    resolved = [alert for alert in seen.changes if alert.get("state") == "resolved"]
    for alert in reversed(resolved[-RESOLVED_SHOWN if roomy else -1 :]):
        kind = Text(printable(str(alert.get("kind"))), style="green")
        lines.add_row(hour_and_minute(alert.get("ended_at")), kind, Text(summary_of(alert), style="dim"))
    return Padding(lines, (0, 2))


def _alert_grid(wrap: bool) -> Table:
    """Time, kind and summary in columns; without wrapping, long summaries end in an ellipsis."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=5)
    grid.add_column(no_wrap=True, width=11)
    grid.add_column(no_wrap=not wrap, overflow="fold" if wrap else "ellipsis", ratio=1)
    return grid


def _campaigns(seen: Seen, most: int) -> Padding:
    table = Table(
        box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False, header_style="bold"
    )
    table.add_column("campaign", no_wrap=True, max_width=24)
    for title in ("delivered", "open", "CTR", "CTOR", "opt-out (95 %)", "adj."):
        table.add_column(title, justify="right", no_wrap=True)
    for name, numbers in list(seen.campaigns.items())[-most:]:
        table.add_row(Text(printable(name, 24)), *_campaign_cells(numbers), style=_row_style(seen, name))
    return Padding(table, (1, 0))


def _campaign_cells(numbers: Numbers) -> tuple[str, ...]:
    """The numbers of a campaign, as narrow as can be."""
    cells = (
        percent(numbers.rate(TOTAL, "open_rate")),
        percent(numbers.rate(TOTAL, "ctr"), 2),
        percent(numbers.rate(TOTAL, "ctor")),
        percent_and_interval(numbers.rate(TOTAL, "optout_rate")),
        percent(numbers.rate(TOTAL, "ctr_adjusted"), 2),
    )
    return (f"{numbers.count(TOTAL, 'deliveries'):,.0f}", *(cell.replace(" %", "%") for cell in cells))


def _row_style(seen: Seen, campaign: str) -> str:
    firing = [
        alert
        for alert in seen.firing
        if alert.get("dimension") == "campaign" and alert.get("key") == campaign
    ]
    return _COLOURS.get(str(firing[0].get("severity")), "") if firing else ""


def _shop(seen: Seen) -> Table:
    numbers = seen.everything
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="bold", no_wrap=True, width=12)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_row("carts, 1h", cart_words(numbers, "1h"))
    table.add_row("chats, 1h", chat_words(numbers, "1h"))
    table.add_row("tickets, 24h", ticket_words(numbers, "24h"))
    risks = ", ".join(f"{printable(risk.customer_id)} {risk.score:.2f}" for risk in seen.risks)
    table.add_row("may leave", Text(risks or "nobody"))
    table.add_row("dead letters", Text(counted(seen.dead_letters)))
    return table
