"""What has become of the lines that a command reads: taken, or refused and named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stream_app.ingest.decode import Rejected
from stream_app.output import printable, say

REFUSALS_SHOWN = 20


@dataclass
class Tally:
    """What has become of the lines so far."""

    taken: int = 0
    refused: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_topic: Counter[str] = field(default_factory=Counter)
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def take(self, topic: str) -> None:
        """Note a line that is a valid event."""
        self.taken += 1
        self.by_topic[topic] += 1

    def refuse(self, name: str, line: int, problem: Rejected) -> None:
        """Note a refused line and name it, unless many were named already."""
        self.refused += 1
        self.by_reason[str(problem.reason)] += 1
        if len(self.refusals) < REFUSALS_SHOWN:
            detail = printable(problem.detail, 300)
            self.refusals.append(
                {"file": name, "line": line, "reason": str(problem.reason), "detail": detail}
            )
            say(f"{name}:{line}: {problem.reason}: {detail}")

    def say_unnamed(self) -> None:
        """Say how many more were refused than were named."""
        unnamed = self.refused - len(self.refusals)
        if unnamed:
            say(f"… and {unnamed:,} more lines refused: {listed(self.by_reason)}")


def listed(by_reason: Counter[str]) -> str:
    """Counts by reason in words, the largest first."""
    return ", ".join(f"{reason} {count:,}" for reason, count in by_reason.most_common())
