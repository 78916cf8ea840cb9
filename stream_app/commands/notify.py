"""``stream-app notify``: tells people of alerts, in a program of its own beside the workers."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

from stream_app.clock import now_ms
from stream_app.failure import Failure
from stream_app.ingest.topic_specs import topic_specs
from stream_app.ingest.topics import ALERT_TOPICS
from stream_app.notifiers.courier import Courier, deliver
from stream_app.notifiers.message import Verdict
from stream_app.notifiers.post import http_client
from stream_app.notifiers.readiness import State, readiness
from stream_app.notifiers.sample import sample_notices
from stream_app.notifiers.targets import Target, load_targets
from stream_app.output import result, say
from stream_app.prometheus.exposition import metrics_reply
from stream_app.prometheus.notify import notify_samples
from stream_app.settings import Settings
from stream_app.sinks.http_server import HttpServer, Reply, Route, json_reply
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.telemetry import set_up_logging

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10.0


def run(settings: Settings, test: bool) -> int:
    """Tell all targets of alerts until told to end; or, as a test, once of an alert that is none. 0, or 1 where a test
    did not arrive.

    Raises:
        SettingsError: the notifiers file is wrong.
        Failure: Kafka cannot be reached or read, or the address for /ready cannot be used.
    """
    set_up_logging()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its many lines a second say what we say in one
    targets = load_targets(settings)
    if test:
        return asyncio.run(_test(settings, targets))
    alerts = {settings.topic(name) for name in ALERT_TOPICS}
    created = ensure_topics(settings, [spec for spec in topic_specs(settings) if spec.name in alerts])
    if created:
        logger.info("created the topics %s", ", ".join(created))
    asyncio.run(_serve(settings, targets))
    return 0


async def _serve(settings: Settings, targets: Sequence[Target]) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with http_client() as client:
        couriers = [Courier(settings, target, client) for target in targets]
        async with HttpServer(settings, _routes(couriers)) as server:
            logger.info("liveness and readiness on %s/live, /ready; /metrics for Prometheus", server.url)
            logger.info("telling %s", ", ".join(target.name for target in targets))
            await _run(couriers, asked)


async def _run(couriers: Sequence[Courier], asked: asyncio.Event) -> None:
    """Run all until told to end, or until one cannot go on; then let each end what it is at.

    Raises:
        Failure: one could not go on.
    """
    running = {asyncio.create_task(courier.run()) for courier in couriers}
    ending = asyncio.create_task(asked.wait())
    await asyncio.wait({*running, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    logger.info("notify stops")
    for courier in couriers:
        courier.stop()
    _, late = await asyncio.wait(running, timeout=_STOP_SECONDS)
    for task in late:
        task.cancel()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise _first(outcome)


def _first(problem: Exception) -> Exception:
    """The first of several that went wrong together, as one that a person can act on."""
    while isinstance(problem, ExceptionGroup):
        known = [one for one in problem.exceptions if isinstance(one, Failure)]
        problem = (known or problem.exceptions)[0]
    return problem


async def _test(settings: Settings, targets: Sequence[Target]) -> int:
    """Tell each target of a sample alert and of its end, and say what came of it."""
    failed = 0
    async with http_client() as client:
        for target in targets:
            outcomes = [
                await deliver(client, target, notice) for notice in sample_notices(settings, now_ms())
            ]
            problems = [one.problem for one in outcomes if one.verdict is not Verdict.DELIVERED]
            failed += bool(problems)
            result(
                f"{'WRONG' if problems else 'ok':<6} {target.name}: {problems[0] if problems else 'delivered'}"
            )
    if failed:
        say(f"{failed} of {len(targets)} targets cannot be told; each line says why")
    return 1 if failed else 0


def _routes(couriers: Sequence[Courier]) -> dict[str, Route]:
    """What is served over HTTP."""
    return {
        "/live": lambda: json_reply(200, {"status": "live"}),
        "/ready": lambda: json_reply(*readiness([courier.state for courier in couriers], now_ms())),
        "/metrics": lambda: _metrics([courier.state for courier in couriers], now_ms()),
    }


def _metrics(states: Sequence[State], clock_ms: int) -> Reply:
    status, _ = readiness(states, clock_ms)
    return metrics_reply(notify_samples(states, status == 200, clock_ms))
