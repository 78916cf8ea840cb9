"""The lease: a worker that stood still for too long must not write any more. Stands at the edge.

A process that is suspended past its session timeout wakes up believing that it owns its partitions, which others
have taken over. Journals fence themselves; what else it was about to write cannot be fenced, so whatever runs first
after the pause looks here, and ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import os

from stream_app.clock import monotonic_seconds

logger = logging.getLogger(__name__)

_RENEWED_EVERY_SECONDS = 0.2
_SHARE_OF_SESSION = 0.8


class Lease:
    """Renewed by a task of its own for as long as the process runs; ``check`` before every write."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._seconds = session_timeout_ms / 1000 * _SHARE_OF_SESSION
        self._renewed_at = monotonic_seconds()

    async def keep(self) -> None:
        """Renew the lease from now on, until cancelled."""
        self._renewed_at = monotonic_seconds()
        while True:
            self.check()
            self._renewed_at = monotonic_seconds()
            await asyncio.sleep(_RENEWED_EVERY_SECONDS)

    def check(self) -> None:
        """End the process if it stood still for so long that its partitions may be another's."""
        still = monotonic_seconds() - self._renewed_at
        if still > self._seconds:
            logger.critical(
                "stood still for %.1f s: another worker may own the partitions: restart it", still
            )
            logging.shutdown()
            os._exit(1)
