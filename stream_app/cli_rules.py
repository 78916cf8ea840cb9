"""``stream-app rules``: the part of the command line about rules files and their tests. Stands under ``cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli_shared import Json, check_files, do

rules_app = typer.Typer(
    help="Check alert rules, and run tests of them.", no_args_is_help=True, rich_markup_mode=None
)


@rules_app.command("check")
def rules_check(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A rules file; without it STREAM_APP_RULES or the shipped.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether a rules file is fine.

    Else name the first mistake with its line and the mend; the exit code is then 2.
    """
    do(context, "stream_app.commands.rules", "check", file, as_json)


@rules_app.command("test")
def rules_test(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files of rule tests.")],
    as_json: Json = False,
) -> None:
    """Run tests of alert rules.

    Prints what was expected and what there was instead; the exit code is 1 if a test fails.
    """
    check_files(map(str, files), "FILE")
    do(context, "stream_app.commands.rules", "test", files, as_json)
