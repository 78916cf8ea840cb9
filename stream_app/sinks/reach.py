"""Whether Kafka and Redis can be reached, and if not, why, in words a person can act on.

Stands beside the flow. Clients only say that they could not connect; here every server is tried
by itself, so that a refused port, an unknown name, a TLS handshake and a wrong password are told
apart. Used by ``doctor``, and by every command before it starts its work.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from concurrent.futures import Future
from threading import Thread
from typing import Any

from stream_app.failure import Unreachable
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.connections import CONNECT_SECONDS, aiokafka_options, redis_options


def require_kafka(settings: Settings) -> None:
    """Return when a broker answers.

    Raises:
        Unreachable: none does; says why, and the mend.
    """
    problem = kafka_problem(settings)
    if problem is not None:
        raise Unreachable(problem)


def kafka_problem(settings: Settings) -> str | None:
    """What keeps us from every one of the bootstrap servers; None when one answers."""
    quiet_clients()
    answer: Future[list[str]] = Future()
    # In a thread of its own, so that it can be asked from inside a running event loop, too; Ctrl-C does not wait for it.
    Thread(target=_ask_brokers, args=(settings, answer), daemon=True).start()
    return "; ".join(answer.result()) or None


def redis_problem(settings: Settings) -> str | None:
    """What keeps us from Redis; None when it answers."""
    import redis

    options = redis_options(settings)
    options |= {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS}
    client = redis.Redis.from_url(**options)
    try:
        client.ping()
    except redis.exceptions.TimeoutError:
        return f"Redis gives no answer within {CONNECT_SECONDS:g} s: check {ENV_PREFIX}REDIS and the network between"
    except redis.exceptions.AuthenticationError as problem:
        return f"Redis refuses the user or password ({problem}): mend them in {ENV_PREFIX}REDIS"
    except redis.exceptions.ConnectionError as problem:
        return f"Redis cannot be reached ({_plain(problem)}): start it, or set {ENV_PREFIX}REDIS to where it runs"
    except redis.exceptions.RedisError as problem:
        return f"Redis answers, but cannot be used ({_plain(problem)}): mend it, or set {ENV_PREFIX}REDIS to another"
    except (OSError, ValueError) as problem:
        return f"Redis cannot be reached ({_plain(problem)}): set {ENV_PREFIX}REDIS to where it runs"
    finally:
        client.close()
    return None


def quiet_clients() -> None:
    """Keep the clients' own log lines off a terminal that nobody set up logging for; we say it in one sentence."""
    for name in ("aiokafka", "kafka", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())


def _ask_brokers(settings: Settings, answer: Future[list[str]]) -> None:
    try:
        answer.set_result(asyncio.run(_try_brokers(settings)))
    except Exception as problem:  # noqa: BLE001 - whoever waits for the answer raises it
        answer.set_exception(problem)


async def _try_brokers(settings: Settings) -> list[str]:
    """The problem of each server, or nothing as soon as one answers."""
    options = aiokafka_options(settings)
    servers = options.pop("bootstrap_servers")
    tries = [asyncio.create_task(_try_broker(server, options)) for server in servers]
    problems: list[str] = []
    for attempt in asyncio.as_completed(tries):
        problem = await attempt
        if problem is None:
            for unfinished in tries:
                unfinished.cancel()
            return []
        problems.append(problem)
    return problems


async def _try_broker(server: str, options: dict[str, Any]) -> str | None:
    from aiokafka.conn import create_conn
    from aiokafka.errors import KafkaError
    from aiokafka.protocol.metadata import MetadataRequest

    host, _, port = server.rpartition(":")
    timeout_ms = int(CONNECT_SECONDS * 1000)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=timeout_ms, **options
            )
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (OSError, TimeoutError, KafkaError) as problem:
        return _explain_kafka(server, problem, options["security_protocol"])
    return None


def _explain_kafka(server: str, problem: Exception, protocol: str) -> str:
    where = f"Kafka at {server}"
    settings = f"{ENV_PREFIX}KAFKA"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return (
            f"{where}: its certificate is not trusted ({problem.verify_message}): "
            f"set {settings}_SSL_CAFILE to the file of the authority that signed it"
        )
    if isinstance(problem, ssl.SSLError):
        return (
            f"{where}: no TLS connection ({problem.reason or problem}): "
            f"check {settings}_SECURITY_PROTOCOL={protocol} and the port"
        )
    if isinstance(problem, socket.gaierror):
        return f"{where}: the name is unknown: mend {settings}"
    if isinstance(problem, ConnectionRefusedError):
        return f"{where}: nothing listens there: start it, or set {settings} to where it runs"
    if isinstance(problem, TimeoutError):
        also = "" if protocol == "PLAINTEXT" else f", {settings}_SECURITY_PROTOCOL={protocol}"
        return (
            f"{where}: no answer within {CONNECT_SECONDS:g} s: check {settings}{also} and the network between"
        )
    return _explain_protocol(where, problem, protocol)


def _explain_protocol(where: str, problem: Exception, protocol: str) -> str:
    name = type(problem).__name__
    settings = f"{ENV_PREFIX}KAFKA"
    if "Mechanism" in name:
        return (
            f"{where}: it does not offer this SASL mechanism: set {settings}_SASL_MECHANISM to one it offers"
        )
    if "Authentication" in name:
        return (
            f"{where}: the user or password is refused ({_plain(problem)}): "
            f"check {settings}_SASL_PLAIN_USERNAME and {settings}_SASL_PLAIN_PASSWORD"
        )
    return (
        f"{where}: it answers, but not as a broker does for {protocol} ({_plain(problem)}): "
        f"check {settings}_SECURITY_PROTOCOL and that the port is Kafka's"
    )


def _plain(problem: Exception) -> str:
    """An error's own words, on one line; its type where it has none."""
    return " ".join(str(problem).split()).rstrip(".") or type(problem).__name__
