"""Health: whether a worker is alive and ready, and in words why it is not. Pure; served by the watchdog's server.

*Live*: the process can go on. *Ready*: it has joined its group, and all shards and mergers that it was given are
open; a worker that was given none, because others have them all, is ready as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from stream_app.clock import to_rfc3339
from stream_app.lease import Block


class Stage(StrEnum):
    """How far a worker is; the text is what keeps it from being ready."""

    STARTING = "connecting to Kafka"
    JOINING = "waiting for its share of the partitions"
    RECOVERING = "recovering partitions"
    SERVING = ""
    FAILED = "ending, because it cannot go on"
    STOPPING = "stopping"


class Silence(NamedTuple):
    """Kafka does not answer, or not in full."""

    since_ms: int
    """When the first question was asked to which no full answer came."""
    partitions: int | None = None
    """For how many partitions no answer comes; None where there is no answer at all."""

    def __str__(self) -> str:
        """What is the matter, in words."""
        since = f"since {to_rfc3339(self.since_ms)}"
        if self.partitions is None:
            return f"cannot reach Kafka {since}"
        return f"Kafka has no leader that answers for {self.partitions} of the partitions {since}"


@dataclass(frozen=True)
class Health:
    """What is known of a worker at one moment."""

    stage: Stage = Stage.STARTING
    silence: Silence | None = None
    shards: list[int] = field(default_factory=list)
    mergers: list[int] = field(default_factory=list)
    longest_block: Block = field(default_factory=Block)
    """For how long the event loop was blocked at most, in the last minute or two."""

    @property
    def is_live(self) -> bool:
        """Whether the process can go on."""
        return self.stage is not Stage.FAILED

    @property
    def reasons(self) -> list[str]:
        """What keeps it from being ready."""
        found = [str(self.stage)] if self.stage else []
        if self.silence is not None:
            found.append(str(self.silence))
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
        body |= {"shards": self.shards, "mergers": self.mergers}
        body["longest_block_ms"] = round(self.longest_block.seconds * 1000)
        body["longest_block_busy_ms"] = round(self.longest_block.busy_seconds * 1000)
        return 503 if reasons else 200, body
