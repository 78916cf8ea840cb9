"""``python -m stream_app.schemas [--check]``: write the generated files, or say which differ.

Run in a checkout of the project after a change to events, topics, metrics or settings. Exit 0 done
or equal, 1 different, 2 wrong use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stream_app.schemas.files import ROOT, differences, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m stream_app.schemas", description="Schemas and reference pages."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="the project's folder (default: this checkout)"
    )
    options = parser.parse_args(arguments)
    if not (options.root / "pyproject.toml").is_file():
        parser.error(f"{options.root} is no checkout of the project; name one with --root")
    if options.check:
        problems = differences(options.root)
        if problems:
            mend = "run `python -m stream_app.schemas` and commit what it writes"
            sys.stderr.write("\n".join([*problems, mend, ""]))
        return 1 if problems else 0
    sys.stdout.writelines(f"{path}\n" for path in write(options.root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
