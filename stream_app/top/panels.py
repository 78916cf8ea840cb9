"""The parts of the screen of ``stream-app top``: what a look says, laid out. Pure.

Stands behind the reading. The same parts make up the live screen and the one frame that is printed where there is no
terminal. Colour only where it means something: red and yellow for what is wrong, green for what is not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.figures import (
    cart_words,
    chat_words,
    hour_and_minute,
    money,
    stage_words,
    summary_of,
    ticket_words,
)
from stream_app.metrics.catalogue import Dimension
from stream_app.output import printable
from stream_app.top.reading import Look
from stream_app.top.table import COLUMNS, View, rows_of

ALERTS_SHOWN = 8
CUSTOMERS_SHOWN = 5
OLD_MS = 5 * SECOND_MS
"""Numbers that were read longer ago are called old."""
SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow"}


@dataclass(frozen=True)
class Scene:
    """All that is shown: the newest look, what keeps us from a newer one, and how fast the workers count."""

    look: Look
    view: View
    clock_ms: int
    pace: Counter[str] | None = None
    problem: str = ""


def header(scene: Scene) -> Text:
    """Of when the numbers are, and what is wrong with them."""
    look, view = scene.look, scene.view
    age_ms = scene.clock_ms - look.read_at_ms
    parts = [
        ("stream-app top", "bold"),
        (f"  {to_rfc3339(scene.clock_ms)[:19].replace('T', ' ')} UTC", ""),
        (f"  window {view.window}", "bold cyan"),
        (f"  events to {hour_and_minute(look.everything.as_of)}", ""),
    ]
    if look.alerts:
        parts.append((f"  {len(look.alerts)} firing", SEVERITY_STYLES["critical"]))
    if scene.problem:
        parts.append((f"\n{printable(scene.problem, 300)}", "bold red"))
    if age_ms > OLD_MS:
        parts.append((f"\nthese numbers are {age_ms / SECOND_MS:.0f} s old", "bold red"))
    return Text.assemble(*parts)


def alerts(scene: Scene) -> RenderableType:
    """What fires, the worst first."""
    firing = scene.look.alerts
    if not firing:
        return Text("no alert is firing", style="green")
    lines = Table.grid(padding=(0, 1), expand=True)
    lines.add_column(no_wrap=True, width=8)
    lines.add_column(no_wrap=True, style="dim", width=5)
    lines.add_column(overflow="fold", ratio=1)
    for alert in firing[:ALERTS_SHOWN]:
        severity = printable(str(alert.get("severity", "?")), 8)
        since = hour_and_minute(alert.get("started_at"))
        lines.add_row(
            Text(severity, style=SEVERITY_STYLES.get(severity, "bold")), since, Text(summary_of(alert))
        )
    more = len(firing) - ALERTS_SHOWN
    return Group(lines, Text(f"… and {more} more fire", style="dim")) if more > 0 else lines


def severities(look: Look) -> dict[str, str]:
    """The severity of the worst alert on each campaign that has a firing one."""
    found: dict[str, str] = {}
    for alert in look.alerts:  # the worst first
        if alert.get("dimension") == Dimension.CAMPAIGN:
            found.setdefault(str(alert.get("key")), str(alert.get("severity")))
    return found


def campaigns(scene: Scene, most: int) -> RenderableType:
    """The first of the campaigns, for a frame that is printed."""
    rows = rows_of(scene.look.campaigns, scene.view, severities(scene.look))
    if not rows:
        return Text(no_campaign(scene), style="dim")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column in COLUMNS:
        is_name = column.name == "name"
        table.add_column(column.title, justify="left" if is_name else "right", no_wrap=True)
    for row in rows[:most]:
        table.add_row(*map(Text, row.cells), style=SEVERITY_STYLES.get(row.severity, ""))
    left_out = scene.look.campaign_count - min(len(rows), most)
    note = Text(f"… and {left_out:,} more campaigns", style="dim")
    return Group(table, note) if left_out > 0 else table


def no_campaign(scene: Scene) -> str:
    """Why there is no campaign to be seen."""
    if scene.look.campaigns:
        return f"no campaign has {scene.view.text!r} in its name"
    return "no campaign has had an event in the last 24 hours"


def service(scene: Scene) -> RenderableType:
    """Carts, chats and tickets, and who may leave."""
    look, window = scene.look, scene.view.window
    numbers = look.everything
    table = _grid()
    if numbers.as_of:
        table.add_row("carts", cart_words(numbers, window))
        table.add_row("", f"left behind: {money(numbers.amounts(window, 'abandoned_value'))}")
        table.add_row("chats", chat_words(numbers, window))
        table.add_row("tickets", ticket_words(numbers, window))
        table.add_row("customers", stage_words(numbers))
    else:
        table.add_row("", Text("no event has been counted yet", style="dim"))
    table.add_row("may leave", _at_risk_words(look))
    for customer in look.customers[:CUSTOMERS_SHOWN]:
        why = printable("; ".join(customer.reasons), 200)
        name, band = printable(customer.customer_id, 24), printable(customer.band or "?")
        segment = f"{printable(customer.segment, 24)}  " if customer.segment else ""
        table.add_row(
            "",
            Text.assemble((f"{customer.score:.2f}", "bold"), f" {band:<8} {name}  {segment}", (why, "dim")),
        )
    return table


def pipeline(scene: Scene) -> RenderableType:
    """How the workers do."""
    look = scene.look
    table = _grid()
    if not look.workers:
        table.add_row("workers", Text("none reports: start one with `stream-app worker`", style="bold red"))
        return table
    lag = sum(worker.lag for worker in look.workers)
    shards = sum(len(worker.shards) for worker in look.workers)
    words = f"{len(look.workers)} with {shards} shards; {lag:,} records wait; {watermark_words(scene)}"
    table.add_row("workers", words)
    table.add_row("events", _pace_words(scene.pace))
    letters: Counter[str] = Counter()
    for worker in look.workers:
        letters.update(worker.dead_letters)
    shown = ", ".join(f"{printable(reason)} {count:,}" for reason, count in letters.most_common())
    table.add_row("dead letters", Text(shown or "none since the workers' start"))
    return table


def watermark_delay_ms(look: Look, clock_ms: int) -> int | None:
    """How far the newest events of the slowest worker lie behind the clock: its watermark's distance, less the allowed
    lateness; None where no event has come."""
    times = [worker.watermark_ms for worker in look.workers if worker.watermark_ms is not None]
    return clock_ms - min(times) - look.lateness_ms if times else None


def watermark_words(scene: Scene) -> str:
    """How far event time is behind the clock, in words."""
    delay_ms = watermark_delay_ms(scene.look, scene.clock_ms)
    if delay_ms is None:
        return "no event yet"
    seconds = max(0, delay_ms) / SECOND_MS
    behind = f"{seconds:,.0f} s" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
    return f"event time {behind} behind the clock"


def frame(scene: Scene, most: int) -> RenderableType:
    """Everything, one part below the other, with so many campaigns at most."""
    parts = (alerts(scene), campaigns(scene, most), service(scene), pipeline(scene))
    return Group(header(scene), *(Group("", part) for part in parts))


def _at_risk_words(look: Look) -> str:
    """How many may leave, and how many alerts of it the workers hold back until the next hours."""
    customers = _several(look.customer_count, "customer") if look.customers else "nobody"
    if look.churn_held_back is None:
        return customers
    return f"{customers}; {_several(look.churn_held_back, 'alert')} held back"


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _pace_words(pace: Counter[str] | None) -> str:
    if pace is None:
        return "–"
    topics = ", ".join(f"{printable(topic)} {count:,}" for topic, count in pace.most_common() if count)
    return f"{pace.total():,} a second" + (f" ({topics})" if topics else "")


def _grid() -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="bold", no_wrap=True, width=12)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    return table
