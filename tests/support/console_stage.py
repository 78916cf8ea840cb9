"""A console as a process of its own before a Redis that holds what a test puts there, by the view's own commands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import redis

from stream_app.clock import MINUTE_MS, now_ms, to_rfc3339
from stream_app.dev import EmbeddedRedis
from stream_app.metrics.catalogue import PANE_MS
from stream_app.metrics.cells import slot_of
from stream_app.metrics.snapshots import take_snapshot
from stream_app.metrics.windows import MergedKey
from stream_app.settings import load_settings
from stream_app.sinks.redis_commands import Command, CustomerRisk, FiringAlert, commands_of, stream_entry
from stream_app.sinks.worker_report import WorkerReport, report_commands
from tests.support.programs import ROOT, wait_until

Json = dict[str, Any]


class Shown:
    """What stands in Redis, under a prefix of its own."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.settings = load_settings(redis=server.url, prefix=f"console-{uuid4().hex[:8]}.")
        self.prefix = self.settings.redis_prefix
        self.client: Any = redis.Redis.from_url(server.url, decode_responses=True)

    def key(self, full_key: str, counts: Mapping[str, int]) -> None:
        """Show a key with these counts, all of them just now."""
        merged = MergedKey()
        cell = {slot_of(name): count for name, count in counts.items()}
        merged.reach(now_ms())
        merged.change_total(cell)
        merged.change_pane(now_ms() // PANE_MS, cell)
        self._write(
            *commands_of(take_snapshot(full_key, merged, now_ms() - MINUTE_MS), self.prefix, now_ms())
        )

    def campaign(
        self, name: str, deliveries: int = 1000, opens: int = 300, clicks: int = 40, optouts: int = 3
    ) -> None:
        """Show a campaign."""
        counts = {"deliveries": deliveries, "opens": opens, "unique_opens": opens, "clicks": clicks,
                  "unique_clicks": clicks, "unique_engaged": opens, "optouts": optouts, "machine_opens": opens // 2}  # fmt: skip
        self.key(f"campaign:{name}", counts)

    def total(self, full_key: str, field: str) -> float | None:
        """A number of the window ``total`` as Redis has it."""
        text = self.client.hget(f"{self.prefix}metrics:{full_key}", f"total.{field}")
        return float(text) if text else None

    def alert(self, fingerprint: str, state: str = "firing", **changes: Any) -> None:
        """Show an alert, or that it is resolved."""
        alert = an_alert(fingerprint, state) | changes
        data = orjson.dumps(alert)
        self._write(
            *commands_of(FiringAlert(fingerprint, data if state == "firing" else None), self.prefix, now_ms())
        )
        self._write(stream_entry(data, self.prefix))

    def customer(self, customer_id: str, score: float, band: str, *reasons: str, segment: str = "") -> None:
        """Show a customer at risk."""
        risk = CustomerRisk(customer_id, score, band, reasons, now_ms(), segment=segment or None)
        self._write(*commands_of(risk, self.prefix, now_ms()))

    def worker(self, events: int = 0, **changes: Any) -> None:
        """Show a worker's report that stays new for a while."""
        given: Json = {"name": "host-1-abcd", "started_ms": 0, "as_of_ms": now_ms() + MINUTE_MS, "shards": [0, 1], "mergers": [0],
                       "lag": 0, "watermark_ms": now_ms(), "events": {"chats": events}}  # fmt: skip
        report = WorkerReport(**given | changes)
        self._write(*report_commands(report, self.prefix), ("PERSIST", f"{self.prefix}workers:{report.name}"))

    def clear(self) -> None:
        """Take everything away."""
        keys = list(self.client.scan_iter(f"{self.prefix}*", count=1000))
        if keys:
            self.client.delete(*keys)

    def _write(self, *commands: Command) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.execute()


def an_alert(fingerprint: str, state: str = "firing") -> Json:
    """An alert as the contract words it."""
    now = to_rfc3339(now_ms())
    return {
        "fingerprint": fingerprint, "rule": "optout-rate", "kind": "optout", "state": state, "severity": "critical",
        "dimension": "campaign", "key": "spring-sale", "window": "total", "value": 0.021, "threshold": 0.01,
        "baseline": None, "numerator": 31, "denominator": 1480, "low": 0.0148, "high": 0.0296, "started_at": now,
        "ended_at": None if state == "firing" else now, "as_of": now, "summary": f"The summary of {fingerprint}.",
        "reasons": ["a reason"], "metric": "optout_rate", "runbook": "https://runbooks.example.org/optout",
    }  # fmt: skip


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ConsoleProcess:
    """`stream-app console`, ended by its own pid. It can be killed and started again at the same address."""

    def __init__(self, settings: Mapping[str, str], log: Path, *arguments: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
        given = {"CONSOLE_HTTP": f"127.0.0.1:{free_port()}", **settings}
        self._environment = clean | {f"STREAM_APP_{name}": value for name, value in given.items()}
        self._arguments = arguments
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{given['CONSOLE_HTTP']}/"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream_app", "console", *self._arguments],
                stdout=output, stderr=output, cwd=ROOT, env=self._environment,
            )  # fmt: skip
        wait_until(self._listens, 60, "the console listens", every=0.05)

    def _listens(self) -> bool:
        assert self._process is not None
        text = self.log.read_text("utf-8", "replace")
        assert self._process.poll() is None, text
        return re.search(r"^Console http", text, re.MULTILINE) is not None

    def kill(self) -> None:
        """End it without any chance to say goodbye."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def end(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(10)
        finally:
            self.kill()

    def __enter__(self) -> ConsoleProcess:
        try:
            self.start()
        except BaseException:  # nobody leaves what was not entered
            self.kill()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self.kill()


def settings_of(shown: Shown) -> dict[str, str]:
    """The variables that lead a console to what is shown."""
    return {"REDIS": shown.settings.redis.get_secret_value(), "PREFIX": shown.settings.prefix}
