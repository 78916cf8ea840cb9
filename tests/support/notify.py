"""``stream-app notify`` in the hands of a test: started with targets written as TOML, ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_app.ingest.topic_specs import topic_specs
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.programs import Worker, wait_until

Start = Callable[..., Worker]
"""Starts the program with targets as TOML, by default with those of its last start, and waits until it is ready."""


@contextmanager
def notify_programs(settings: Settings, environment: dict[str, str], directory: Path) -> Iterator[Start]:
    """A way to start programs for an installation, whose alert topics are made; all that are left end with it."""
    file = directory / "notifiers.toml"
    started: list[Worker] = []
    ensure_topics(settings, [spec for spec in topic_specs(settings) if ".alerts." in spec.name])

    def start(targets: str = "", wait: bool = True) -> Worker:
        if targets:
            file.write_text(targets, "utf-8")
        variables = {"STREAM_APP_NOTIFIERS": str(file), "STREAM_APP_SESSION_TIMEOUT": "3s"}
        log = directory / f"notify-{len(started)}.log"
        program = Worker(environment | variables, log, ("stream_app", "notify"))
        started.append(program)
        if wait:
            wait_until(lambda: program.ask("/ready")[0] == 200, 30, "notify is ready")
        return program

    try:
        yield start
    finally:
        for program in started:
            program.kill()
