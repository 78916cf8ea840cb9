"""The worker program: checks what it needs, runs the topology, and ends cleanly or loudly.

Stands around the whole flow; ``stream-app worker`` calls ``run``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from stream_app.alerts.rules import Rules, RulesError, load_rules
from stream_app.failure import Failure
from stream_app.settings import Settings, SettingsError
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.telemetry import set_up_logging
from stream_app.topology import SignalsApp, build_app

logger = logging.getLogger(__name__)

_STOP_SECONDS = 20.0


def run(settings: Settings) -> int:
    """Run a worker until it is asked to stop; 0 when it was, 1 when it could not go on.

    Raises:
        SettingsError: the rules file is wrong.
        Failure: Kafka cannot be reached, or a topic has the wrong number of partitions.
    """
    set_up_logging()
    try:
        rules = load_rules(settings.rules)
    except RulesError as problem:
        raise SettingsError(str(problem)) from None
    created = ensure_topics(settings)
    if created:
        logger.info("created the topics %s", ", ".join(created))
    failure = asyncio.run(_serve(settings, rules))
    if failure is None:
        return 0
    reason = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
    sys.stderr.write(f"stream-app worker: {reason}\n")
    return 1


async def _serve(settings: Settings, rules: Rules) -> BaseException | None:
    """Run until a signal or a failure; returns the failure."""
    app = build_app(settings, rules)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    failure = await _start(app)
    if failure is None:
        logger.info("worker started; Kafka %s", settings.kafka)
        waiting = [asyncio.create_task(asked.wait()), asyncio.create_task(app._crashed.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        failure = app._crash_reason if app._crashed.is_set() else None
    logger.info("worker stops%s", "" if failure is None else f" because of {type(failure).__name__}")
    try:
        await asyncio.wait_for(app.stop(), _STOP_SECONDS)
    except TimeoutError:
        sys.stderr.write(f"stream-app worker: did not stop within {_STOP_SECONDS:.0f} s; ended\n")
        os._exit(1)  # nothing is lost: what was not flushed is read again
    return failure


async def _start(app: SignalsApp) -> BaseException | None:
    try:
        await app.maybe_start()
    except Exception as problem:  # noqa: BLE001 - told to the user as the reason why the worker ends
        return problem
    return None
