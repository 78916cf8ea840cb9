"""``stream-app churn``: the part of the command line about customers who may leave. Stands under ``cli``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli_shared import Json, check_files, do

churn_app = typer.Typer(
    help="Who may leave, and the model that says so.", no_args_is_help=True, rich_markup_mode=None
)


@churn_app.command("worst")
def churn_worst(
    context: typer.Context,
    segment: Annotated[
        str | None, typer.Option(help="Only customers whose latest segment this is; all if not given.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Print the customers with the highest churn scores, the worst first.

    From Redis, those at or above the lowest band. With --json an object a line: customer_id, score, band, segment,
    last_seen, reasons.
    """
    do(context, "stream_app.commands.worst", "worst", segment, limit, as_json)


@churn_app.command("fit")
def churn_fit(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="EVENTS", help="NDJSON, plain or gzipped, as for send.")
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write the model.")] = None,
    horizon: Annotated[int, typer.Option(min=1, max=3650, help="Days of silence to foretell.")] = 90,
    as_of: Annotated[
        list[datetime] | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day (UTC) to stand on; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the churn model to what became of customers.

    Replays the events up to a day, looks who is silent in the horizon that follows, and fits the weights, starting
    from the shipped ones. Prints how good the model is on customers it was not fitted on. Name the file in the rules:
    model = "FILE" below [churn].
    """
    check_files(files, "EVENTS")
    do(context, "stream_app.commands.churn", "fit", files, out, horizon, as_of or [], as_json)
