"""The part of the command line that looks on: ``watch`` and ``top``. Stands under ``cli``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream_app.cli_shared import Json, Limit, do


class Stream(StrEnum):
    """What can be watched."""

    ALERTS = "alerts"
    METRICS = "metrics"


class Window(StrEnum):
    """The windows that can be shown."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"
    DAY = "24h"
    TOTAL = "total"


class Sort(StrEnum):
    """What campaigns can be sorted by."""

    NAME = "name"
    DELIVERIES = "deliveries"
    OPEN_RATE = "open_rate"
    CTR = "ctr"
    CTOR = "ctor"
    OPTOUT_RATE = "optout_rate"
    CTR_ADJUSTED = "ctr_adjusted"
    MACHINES = "machines"


def watch(
    context: typer.Context,
    what: Annotated[Stream, typer.Argument(help="What to watch.")],
    dimension: Annotated[str | None, typer.Option(help="Only this one: all, campaign, segment, …")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key, such as a campaign's name.")] = None,
    window: Annotated[Window | None, typer.Option(help="Of metrics, the rates of this window.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="First what was published before.")
    ] = False,
    limit: Limit = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
    as_json: Json = False,
) -> None:
    """Print alerts or metrics as they come.

    Runs until Ctrl-C or SIGTERM, or until one of the limits.
    """
    from stream_app.commands.watch import Choice

    choice = Choice(dimension, key, window.value if window else None, limit, seconds)
    do(context, "stream_app.commands.watch", "run", what.value, choice, from_beginning, as_json)


def top(
    context: typer.Context,
    window: Annotated[Window, typer.Option(help="Which window to begin with.")] = Window.DAY,
    sort: Annotated[Sort, typer.Option(help="What to sort the campaigns by.")] = Sort.DELIVERIES,
    ascending: Annotated[bool, typer.Option("--ascending", help="The smallest first.")] = False,
    text: Annotated[str, typer.Option("--filter", help="Only campaigns with this text in their names.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Print so many frames, one a second.")] = None,
    as_json: Json = False,
) -> None:
    """Show alerts, campaigns, service and workers, live.

    Keys: q quits, s sorts, r reverses, w changes the window, / filters. Reads Redis only. Without a terminal, one frame;
    with --json, an object a second.
    """
    from stream_app.commands.top import Choice
    from stream_app.top.table import View

    choice = Choice(View(window.value, sort.value, ascending, text), limit)
    do(context, "stream_app.commands.top", "run", choice, as_json)
