"""A small process with a lease and a pulse, as a worker has them: ``python -m tests.support.leased_program KIND FILE``.

Its event loop writes the time into a file again and again, each time after it has looked at the lease, as a worker does
before it writes to Kafka; the kinds differ in what becomes of the loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stream_app.clock import boot_seconds
from stream_app.lease import Lease
from stream_app.pulse import Pulse
from stream_app.telemetry import set_up_logging

SESSION_SECONDS = 3.0
LEASE_SECONDS = 2.4
STUCK_SECONDS = 2.0
EVERY_SECONDS = 0.01
KINDS = ("steady", "blocked", "blocked by its log", "without loops")


async def _serve(kind: str, path: Path, lease: Lease) -> None:
    loop = asyncio.get_running_loop()
    asked: list[str] = []

    def loops() -> Mapping[str, asyncio.AbstractEventLoop]:
        asked.append(kind)
        if kind == "without loops" and len(asked) > 1:
            raise RuntimeError("there are none")
        return {"event loop": loop}

    Pulse(loops, STUCK_SECONDS, lease).start()
    with path.open("a", encoding="ascii") as written:
        while kind == "steady" or len(asked) < 4:
            await asyncio.sleep(EVERY_SECONDS)
            lease.renew()
            written.write(f"{boot_seconds()}\n")
            written.flush()
    if kind == "blocked by its log":
        logging.getLogger(__name__).error("a line for which there is no room")
    time.sleep(3_600)  # noqa: ASYNC251 - that is the mistake


if __name__ == "__main__":
    set_up_logging()
    lease = Lease(int(SESSION_SECONDS * 1000))
    with asyncio.Runner(loop_factory=lease.loop) as runner:
        runner.run(_serve(sys.argv[1], Path(sys.argv[2]), lease))
