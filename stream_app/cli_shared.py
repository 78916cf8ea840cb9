"""What all parts of the command line share: the common options, and how a command is run. Stands under ``cli``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

STANDARD_INPUT = "-"

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Limit = Annotated[int | None, typer.Option(min=1, help="End after so many.")]


def check_files(names: Iterable[str], hint: str) -> None:
    """See that files are there; ``hint`` is what the help calls them.

    Raises:
        typer.BadParameter: one is not.
    """
    for name in names:
        if name != STANDARD_INPUT and not Path(name).is_file():
            raise typer.BadParameter(f"{name}: there is no such file", param_hint=hint)


def do(context: typer.Context, module: str, function: str, *arguments: Any) -> None:
    """Check the settings, import the command, run it, and end with its exit code."""
    gc.disable()  # modules are many objects and none is garbage: looking for it is a tenth of a worker's start
    from stream_app.settings import load_settings

    settings = load_settings(context.obj)
    command: Callable[..., int] = getattr(import_module(module), function)
    gc.enable()
    try:
        code = command(settings, *arguments)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to say, at the interpreter's end neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code)
