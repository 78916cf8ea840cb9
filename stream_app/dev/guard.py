"""The guard: a small process between a program and its embedded server, so that the server never outlives it.

Where it stands: `servers.py` starts `python guard.py OWNER_PID DIRECTORY COMMAND...` once per server. The
guard starts the command as its own child in the directory, prints the child's process id, and then waits
for whichever comes first:

- the pipe on its standard input reaches its end: the owner asked for it, or died, even by SIGKILL;
- its parent is no longer the owner: the owner died while a forked copy of it still holds the pipe open;
- it is told to end by SIGTERM, or the server ended by itself.

Then it kills the server, removes the directory and exits with the server's exit code.

Why not PR_SET_PDEATHSIG: it exists on Linux only, and it fires when the *thread* that forked ends, not the
process. A pipe and a parent's process id mean the same everywhere.

The file is run by its path in an isolated interpreter, so it imports the standard library only and starts
in a few hundredths of a second, whatever the working directory is and whether or not the package is
installed.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from types import FrameType

LOOK_FOR_OWNER_SECONDS = 0.5


def end_on_request(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def wake_on_child_exit() -> int:
    """Give a descriptor that becomes readable when the server ends, so that its death is noticed at once."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def wait_for_an_end(server: subprocess.Popen[bytes], owner: int, child_exit: int) -> None:
    """Return when the owner or the server has ended, whichever is first."""
    pipe_from_owner = sys.stdin.fileno()
    while server.poll() is None and os.getppid() == owner:
        readable, _, _ = select.select([pipe_from_owner, child_exit], [], [], LOOK_FOR_OWNER_SECONDS)
        if child_exit in readable:
            os.read(child_exit, 4096)
        if pipe_from_owner in readable and not os.read(pipe_from_owner, 4096):
            return


def run(owner: int, directory: str, command: list[str]) -> int:
    child_exit = wake_on_child_exit()
    try:
        # Standard output is the line to the owner; the server writes to the log, which is standard error.
        # Its environment is empty: what the user's shell happens to hold (the broker reads LISTENER_URL,
        # OTEL_EXPORTER_OTLP_ENDPOINT, RUST_LOG and more) must not steer it.
        server = subprocess.Popen(
            command, cwd=directory, env={}, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    try:
        print(server.pid, flush=True)
        wait_for_an_end(server, owner, child_exit)
    finally:
        # Neither server keeps anything on disk, so nothing is lost by not asking gently; asked gently, the
        # broker takes five seconds while a client is connected.
        server.kill()
        code = server.wait()
    return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> int:
    owner, directory, command = int(arguments[0]), arguments[1], arguments[2:]
    signal.signal(signal.SIGTERM, end_on_request)
    try:
        return run(owner, directory, command)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
