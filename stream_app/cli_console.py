"""The command ``console`` as a person types it. Stands under ``cli``."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_app.cli_shared import do


def console(
    context: typer.Context,
    is_open: Annotated[
        bool, typer.Option("--open", help="Without a token, also where others can reach it.")
    ] = False,
    is_local: Annotated[
        bool,
        typer.Option(
            "--local-only",
            help="Without a token, where only this machine reaches the address, as a container's port that is "
            "published on 127.0.0.1; answers to localhost and 127.0.0.1 only.",
        ),
    ] = False,
) -> None:
    """Serve the live web page.

    Alerts, campaigns, carts, service, churn and the pipeline, on STREAM_APP_CONSOLE_HTTP; needs Redis only. Runs
    until Ctrl-C or SIGTERM.
    """
    do(context, "stream_app.commands.console", "run", is_open, is_local)
