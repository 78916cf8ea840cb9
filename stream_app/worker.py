"""The worker program: checks what it needs, runs the topology, and ends cleanly or loudly.

Stands around the whole flow; ``stream-app worker`` calls ``run``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import NoReturn

from stream_app.alerts.rules import Rules, RulesError, load_rules
from stream_app.failure import Failure
from stream_app.settings import Settings, SettingsError
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.telemetry import set_up_logging
from stream_app.topology import SignalsApp, build_app

logger = logging.getLogger(__name__)

_STOP_SECONDS = 9.0


def run(settings: Settings) -> NoReturn:
    """Run a worker until it is asked to stop or cannot go on, and end the process: with 0, or with 1.

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
    asyncio.run(_serve(settings, rules))


async def _serve(settings: Settings, rules: Rules) -> NoReturn:
    """Run until a signal or a failure, then end the process: Faust's agents and threads may outlive it."""
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
        failure = app._crash_reason if app._crashed.is_set() else None
    if failure is not None:
        reason = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
        sys.stderr.write(f"stream-app worker: {reason}\n")
    await _stop(app)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0 if failure is None else 1)


async def _stop(app: SignalsApp) -> None:
    """Flush, commit and leave; nothing is lost where that fails or takes too long: it is read again."""
    logger.info("worker stops")
    try:
        await asyncio.wait_for(app.stop(), _STOP_SECONDS)
    except TimeoutError:
        logger.exception("did not stop within %.0f s; ended as it is", _STOP_SECONDS)
    except Exception:
        logger.exception("could not stop cleanly; ended as it is")


async def _start(app: SignalsApp) -> BaseException | None:
    try:
        await app.maybe_start()
    except Exception as problem:  # noqa: BLE001 - told to the user as the reason why the worker ends
        return problem
    return None
