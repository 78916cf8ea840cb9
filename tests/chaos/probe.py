"""Watches the probes from outside: for how long a partition was not served. Stands beside the traffic.

A probe counts as seen when a snapshot of its campaign counts it, which takes its shard *and* the merger that
adds it up. So what is measured is what a dashboard would see.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from typing import Any, Final

from tests.chaos.traffic import Traffic
from tests.support.programs import Installation, Json, LastSnapshots

POLL_MILLISECONDS: Final = 100


class ProbeWatch(threading.Thread):
    """Notes when so many probes of a partition were first seen counted (monotonic seconds)."""

    def __init__(self, place: Installation, traffic: Traffic) -> None:
        super().__init__(name="probe", daemon=True)
        self._place = place
        self._traffic = traffic
        self._end = threading.Event()
        self._seen: dict[int, list[tuple[int, float]]] = {number: [] for number in traffic.probes}
        self._counted: dict[str, Json] = {}
        self.last_news_at = 0.0
        """When a snapshot last came."""
        self._problem: BaseException | None = None

    def counted(self) -> dict[str, Json]:
        """The newest snapshot of every key, by ``dimension:key``."""
        if self._problem is not None:
            raise self._problem
        return dict(self._counted)

    def run(self) -> None:
        """Read the snapshots until told to end."""
        try:
            snapshots = LastSnapshots(self._place.address, self._place.settings.prefix)
            while not self._end.is_set():
                self._counted = snapshots.update()
                if snapshots.records:
                    self.last_news_at = time.monotonic()
                for number, seen in self._seen.items():
                    count = snapshots.held(f"campaign:probe-{number}", "deliveries") or 0
                    if count > (seen[-1][0] if seen else 0):
                        seen.append((count, time.monotonic()))
                snapshots.records.clear()
            snapshots.close()
        except BaseException as problem:  # noqa: BLE001 - raised again where a test asks
            self._problem = problem

    def served_after(self, moment: float, seconds: float) -> float:
        """Wait until every partition counts a probe sent after this moment; returns how long the slowest took,
        from that moment on."""
        return max(self._served_after(number, moment, seconds) for number in self._traffic.probes)

    def _served_after(self, number: int, moment: float, seconds: float) -> float:
        deadline = moment + seconds
        while time.monotonic() < deadline:
            if self._problem is not None:
                raise self._problem
            wanted = bisect_right(self._traffic.probes[number].sent_at, moment) + 1
            for count, at in self._seen[number]:
                if count >= wanted:
                    return at - moment
            time.sleep(0.05)
        raise AssertionError(f"partition {number} was not served within {seconds} s: {self._state(number)}")

    def _state(self, number: int) -> str:
        """What tells a worker that does not count from a client of the test that sends or reads nothing."""
        if self._traffic.problem is not None:
            raise self._traffic.problem
        now, sent_at, seen = time.monotonic(), self._traffic.probes[number].sent_at, self._seen[number]
        return (
            f"{len(sent_at)} probes confirmed, the last {now - max(sent_at, default=now):.1f} s ago, "
            f"{seen[-1][0] if seen else 0} counted, last news {now - self.last_news_at:.1f} s ago"
        )

    def __enter__(self) -> ProbeWatch:
        self.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._end.set()
        if self.is_alive():
            self.join(10)
