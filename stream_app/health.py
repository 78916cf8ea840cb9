"""Health: whether a worker is alive and ready, and in words why it is not. Pure; served by the watchdog's server.

*Live*: the process can go on. *Ready*: it has joined its group, and all shards and mergers that it was given are
open; a worker that was given none, because others have them all, is ready as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stream_app.clock import to_rfc3339


class Stage(StrEnum):
    """How far a worker is; the text is what keeps it from being ready."""

    STARTING = "connecting to Kafka"
    JOINING = "waiting for its share of the partitions"
    RECOVERING = "recovering partitions"
    SERVING = ""
    FAILED = "ending, because it cannot go on"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Health:
    """What is known of a worker at one moment."""

    stage: Stage = Stage.STARTING
    silent_since_ms: int | None = None
    """When Kafka gave its last answer, if it gives none now."""
    shards: list[int] = field(default_factory=list)
    mergers: list[int] = field(default_factory=list)
    longest_block_ms: int = 0
    """For how long the event loop was blocked at most, in the last minute or two."""

    @property
    def is_live(self) -> bool:
        """Whether the process can go on."""
        return self.stage is not Stage.FAILED

    @property
    def reasons(self) -> list[str]:
        """What keeps it from being ready."""
        found = [str(self.stage)] if self.stage else []
        if self.silent_since_ms is not None:
            found.append(f"cannot reach Kafka since {to_rfc3339(self.silent_since_ms)}")
        return found

    def liveness(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status and body of /live."""
        if self.is_live:
            return 200, {"status": "live"}
        return 503, {"status": "not live", "reasons": [str(self.stage)]}

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status and body of /ready."""
        reasons = self.reasons
        body: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        body |= {"shards": self.shards, "mergers": self.mergers, "longest_block_ms": self.longest_block_ms}
        return 503 if reasons else 200, body
