"""The demo's worker: a child process under the guard, so that it ends with the demo, however the demo ends.

Stands beside the embedded servers. `guard.py` is told to run `env NAME=VALUE… python -m stream_app worker`: the
guard gives its child an empty environment, so everything the worker is to know is written out here, and
nothing that the user's shell happens to hold can steer it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import SecretStr

from stream_app.dev.servers import GUARD, GUARD_END_SECONDS
from stream_app.settings import ENV_PREFIX, Settings, parse_duration

LOG_BYTES = 64 * 1024
_PROJECT = Path(__file__).parents[2]
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
_OF_OTHERS = ("kafka_", "redis_", "console_")
"""What these settings start with is for servers that ask for certificates or passwords, which ours do not, and for
the console, which is no part of the worker."""


class DemoWorker:
    """`stream-app worker` with the demo's settings. Use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None
        self._directory = ""
        self.pid: int | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._guard is None else self._guard.poll()

    def __enter__(self) -> Self:
        self._directory = tempfile.mkdtemp(prefix="stream-app-demo-")
        command = ("/usr/bin/env", *self._environment(), sys.executable, "-m", "stream_app", "worker")
        log_path = Path(self._directory, "worker.log")
        with log_path.open("wb") as log:
            # Held open: the guard removes the directory as soon as the worker ends, and then it is wanted.
            self._log = log_path.open("rb")
            # A session of its own: Control-C ends the demo, and the demo ends the worker.
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), self._directory, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        first_line = self._guard.stdout.readline()
        self.pid = int(first_line) if first_line else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        guard, log = self._guard, self._log
        assert guard is not None and guard.stdin is not None and guard.stdout is not None
        guard.stdin.close()
        try:
            guard.wait(GUARD_END_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        guard.stdout.close()
        if log is not None:
            log.close()
        if guard.returncode == -signal.SIGKILL and self.pid is not None:
            # Someone killed the guard itself, so it could not do its work.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)

    def save_log(self) -> Path:
        """Keep the end of its log in a file that outlives the demo, and name it."""
        assert self._log is not None
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_BYTES))
        kept = Path(tempfile.gettempdir(), f"stream-app-demo-worker-{os.getpid()}.log")
        kept.write_bytes(self._log.read() or b"The worker wrote nothing.\n")
        return kept

    def _environment(self) -> list[str]:
        settings = self._settings
        variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        path = os.environ.get("PYTHONPATH")
        variables["PYTHONPATH"] = f"{_PROJECT}{os.pathsep}{path}" if path else str(_PROJECT)
        variables["PYTHONUNBUFFERED"] = "1"
        for name in Settings.model_fields:
            if not name.startswith(_OF_OTHERS) and getattr(settings, name) is not None:
                variables[ENV_PREFIX + name.upper()] = _as_text(name, getattr(settings, name))
        variables[f"{ENV_PREFIX}DATA_DIR"] = self._directory
        return [f"{name}={value}" for name, value in variables.items()]


def _as_text(name: str, value: object) -> str:
    """A setting's value as a variable has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.absolute())
    checks = Settings.model_fields[name].metadata
    is_duration = any(getattr(check, "func", None) is parse_duration for check in checks)
    return f"{value}ms" if is_duration else str(value)
