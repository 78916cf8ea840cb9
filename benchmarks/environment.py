"""Virtual environments for what the benchmarks need and the project does not, under `.cache/bench/`.

The bench's own has librdkafka (to fill topics, and as a limit); each peer has one of its own. All are made from
requirement files with exact versions, and made again when such a file changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.places import CACHE, PROGRAMS

_INSTALL_SECONDS = 900


class CannotPrepare(Exception):
    """Something a contestant needs cannot be had; the message says what and why."""


def bench_python() -> Path:
    """The Python that has the bench's own packages."""
    return python_with(PROGRAMS / "requirements.txt", "own")


def python_with(requirements: Path, name: str) -> Path:
    """The Python of the environment of this name, which has these packages.

    Raises:
        CannotPrepare: they cannot be installed.
    """
    place = CACHE / "environments" / name
    python, stamp = place / "bin" / "python", place / "installed.txt"
    wanted = requirements.read_text("utf-8")
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(place))
    _run(str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements))
    stamp.write_text(wanted, "utf-8")
    return python


def _run(*command: str) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise CannotPrepare(f"{' '.join(command)}: {problem}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CannotPrepare(f"{' '.join(command)}: {lines[-1] if lines else f'ended with {done.returncode}'}")
