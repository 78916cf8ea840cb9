"""The worker program: checks what it needs, runs the topology beside its watchdog, and ends cleanly or loudly.

Stands around the whole flow; ``stream-app worker`` calls ``run``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import closing
from typing import NoReturn

from stream_app.alerts.rules import Rules, RulesError, load_rules
from stream_app.churn.learning import shortest_retention_ms
from stream_app.failure import Failure
from stream_app.garbage import spare_the_old
from stream_app.lease import Lease
from stream_app.pulse import Pulse
from stream_app.settings import ENV_PREFIX, Settings, SettingsError, format_duration
from stream_app.sinks.http_server import HttpServer
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.state.slices import SliceStore, open_store
from stream_app.telemetry import set_up_logging, write_at_once
from stream_app.topology import SignalsApp, build_app
from stream_app.watchdog import Watchdog

logger = logging.getLogger(__name__)

_STOP_SECONDS = 8.0
_END_SECONDS = 9.5


def run(settings: Settings) -> NoReturn:
    """Run a worker until it is asked to stop or cannot go on, and end the process: with 0, or with 1.

    Raises:
        SettingsError: the rules file is wrong or asks for a longer retention, or the store needs a package that is
            missing.
        Failure: Kafka cannot be reached, a topic has the wrong number of partitions, or ``data_dir`` cannot
            be written.
    """
    set_up_logging()
    spare_the_old()
    try:
        rules = load_rules(settings.rules, settings)
    except RulesError as problem:
        raise SettingsError(str(problem)) from None
    check_learning(settings, rules)
    with closing(open_store(settings)) as store:
        created = ensure_topics(settings)
        if created:
            logger.info("created the topics %s", ", ".join(created))
        lease = Lease(settings.session_timeout)
        with asyncio.Runner(loop_factory=lease.loop) as runner:
            runner.run(_serve(settings, rules, store, lease))


def check_learning(settings: Settings, rules: Rules) -> None:
    """See that customers are remembered until it is known what became of them, where the churn rule learns from that.

    Raises:
        SettingsError: the retention is too short.
    """
    churn = rules.churn
    if churn is None or not churn.learns:
        return
    needed_ms = shortest_retention_ms(churn.model)
    if settings.retention < needed_ms:
        needed = format_duration(needed_ms)
        raise SettingsError(
            f"{ENV_PREFIX}RETENTION={format_duration(settings.retention)!r}: learn_from_outcomes in the rules needs {needed} at "
            "least, or the silent are forgotten before their outcome is known and only the others are learned from; set "
            f"{ENV_PREFIX}RETENTION={needed} or more, or take learn_from_outcomes out of the rules"
        )


async def _serve(settings: Settings, rules: Rules, store: SliceStore, lease: Lease) -> NoReturn:
    """Run until a signal or a failure, then end the process: Faust's agents and threads may outlive it."""
    app = build_app(settings, rules, store, lease)
    watchdog = Watchdog(app, settings)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with HttpServer(settings, watchdog.routes) as server:
        logger.info("liveness and readiness on %s/live, /ready; /metrics for Prometheus", server.url)
        Pulse(watchdog.loops, settings.stuck_after / 1000, lease).start()
        failure = await _until_the_end(app, watchdog, asked)
        code = 0 if failure is None else 1
        _end_in_time(code)
        watchdog.ends(failed=failure is not None)
        if failure is not None:
            reason = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
            sys.stderr.write(f"stream-app worker: {reason}\n")
            app.engine.give_up()
        await _stop(app)
    store.close()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


async def _until_the_end(app: SignalsApp, watchdog: Watchdog, asked: asyncio.Event) -> BaseException | None:
    """Start the app, and wait until the worker is asked to stop; returns why it cannot go on, if so."""
    starting = asyncio.create_task(app.maybe_start())
    watching = asyncio.create_task(watchdog.watch())
    others = {watching, asyncio.create_task(asked.wait()), asyncio.create_task(app._crashed.wait())}
    await asyncio.wait({starting, *others}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and starting.exception() is None:
        logger.info("worker started; Kafka %s", app.engine.settings.kafka)
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    watched = watching.exception() if watching.done() else None
    watching.cancel()  # it would ask clients that are just being closed
    if app._crashed.is_set():
        return app._crash_reason
    if starting.done() and starting.exception() is not None:
        return starting.exception()
    return watched


def _end_in_time(code: int) -> None:
    """From now on the process ends in time, whatever holds it up: a store of gigabytes, or a log that nobody reads."""

    def end() -> None:
        try:
            write_at_once(__name__, logging.ERROR, f"did not end within {_END_SECONDS} s; ended as it is")
        finally:
            os._exit(code)

    timer = threading.Timer(_END_SECONDS, end)
    timer.daemon = True
    timer.start()


async def _stop(app: SignalsApp) -> None:
    """Flush, commit and leave; nothing is lost where that fails or takes too long: it is read again."""
    logger.info("worker stops")
    stopping = asyncio.create_task(app.stop())
    await asyncio.wait([stopping], timeout=_STOP_SECONDS)
    if not stopping.done():
        logger.error("did not stop within %.0f s; ended as it is", _STOP_SECONDS)
    elif stopping.exception() is not None:
        logger.error("could not stop cleanly; ended as it is", exc_info=stopping.exception())
