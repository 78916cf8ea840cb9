"""How Kafka and Redis are connected to, from the settings: addresses, TLS, SASL.

Every program that speaks to either server takes its client's arguments from here, so that a
setting means the same everywhere. Beside the flow; nothing is connected here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stream_app.settings import ENV_PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECT_SECONDS = 8.0
"""How long a program that a person waits for tries to reach a server before it says so."""
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


def pauses() -> Iterator[float]:
    """How long to rest after each failed try, in seconds, without end: twice as long each time, five at most."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def kafka_python_options(settings: Settings) -> dict[str, Any]:
    """The arguments for kafka-python's clients: ``KafkaConsumer(**kafka_python_options(settings))``.

    Raises:
        SettingsError: a certificate cannot be read, or SASL lacks its user or password.
    """
    return _kafka_options(settings)


def aiokafka_options(settings: Settings) -> dict[str, Any]:
    """The arguments for aiokafka's clients: ``AIOKafkaProducer(**aiokafka_options(settings))``.

    Raises:
        SettingsError: a certificate cannot be read, or SASL lacks its user or password.
    """
    return _kafka_options(settings)


def redis_options(settings: Settings) -> dict[str, Any]:
    """The arguments for ``redis.Redis.from_url(**redis_options(settings))``, plain or asyncio.

    Raises:
        SettingsError: the URL's port is no number, or certificates are given without TLS.
    """
    url = settings.redis.get_secret_value()
    options: dict[str, Any] = {"url": url}
    files = {
        "ssl_ca_certs": settings.redis_ssl_ca_certs,
        "ssl_certfile": settings.redis_ssl_certfile,
        "ssl_keyfile": settings.redis_ssl_keyfile,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if given and not url.startswith("rediss://"):
        raise SettingsError(
            f"{ENV_PREFIX}REDIS: {ENV_PREFIX}REDIS_{next(iter(given)).upper()} is set, but TLS is used for "
            "rediss:// only; write the URL as rediss://…"
        )
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise SettingsError(f"{ENV_PREFIX}REDIS_{name.upper()}={str(path)!r}: there is no such file")
    try:
        _ = urlsplit(url).port
    except ValueError as problem:
        raise SettingsError(
            f"{ENV_PREFIX}REDIS=(hidden): {problem}; write a URL such as redis://127.0.0.1:6379/0"
        ) from None
    return options | given


def _kafka_options(settings: Settings) -> dict[str, Any]:
    protocol = settings.kafka_security_protocol
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.split(","),
        "client_id": "stream-app",
        "security_protocol": protocol,
    }
    if protocol.endswith("SSL"):
        options["ssl_context"] = _tls_context(settings)
    if protocol.startswith("SASL"):
        options |= _sasl_options(settings)
    return options


def _sasl_options(settings: Settings) -> dict[str, Any]:
    username = settings.kafka_sasl_plain_username
    password = settings.kafka_sasl_plain_password
    if username is None or password is None:
        missing = "USERNAME" if username is None else "PASSWORD"
        raise SettingsError(
            f"{ENV_PREFIX}KAFKA_SASL_PLAIN_{missing} is not set, and "
            f"{ENV_PREFIX}KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol!r} needs it; set it"
        )
    return {
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": username,
        "sasl_plain_password": password.get_secret_value(),
    }


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """A context that verifies the broker's certificate and, where given, shows one of our own."""
    for name in ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise SettingsError(f"{ENV_PREFIX}{name.upper()}={str(path)!r}: there is no such file")
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
    except (ssl.SSLError, OSError) as problem:
        raise SettingsError(
            f"{ENV_PREFIX}KAFKA_SSL_CAFILE={str(settings.kafka_ssl_cafile)!r}: {problem}; "
            "name a readable file of PEM certificates"
        ) from None
    if settings.kafka_ssl_certfile is not None:
        _load_own_certificate(context, settings)
    return context


def _load_own_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    secret = settings.kafka_ssl_password
    # An empty password, not None: OpenSSL would ask for one on the terminal.
    password = secret.get_secret_value() if secret is not None else ""
    try:
        context.load_cert_chain(str(settings.kafka_ssl_certfile), settings.kafka_ssl_keyfile, password)
    except (ssl.SSLError, OSError) as problem:
        raise SettingsError(
            f"{ENV_PREFIX}KAFKA_SSL_CERTFILE={str(settings.kafka_ssl_certfile)!r}: {problem}; name a PEM "
            f"certificate whose key is in it or in {ENV_PREFIX}KAFKA_SSL_KEYFILE, and "
            f"{ENV_PREFIX}KAFKA_SSL_PASSWORD if the key has one"
        ) from None


def pack_in_c(client: Redis) -> None:
    """Let an asynchronous client pack its commands with hiredis, which by itself only reads with it."""
    # Here, as most commands speak to Kafka only, and Redis's client is slow to import.
    from redis.connection import HiredisRespSerializer

    pack = HiredisRespSerializer().pack

    def pack_command(connection: object, *arguments: Any) -> list[bytes]:
        packed: list[bytes] = pack(*arguments)
        return packed

    pool = client.connection_pool
    pool.connection_class = type("PackedInC", (pool.connection_class,), {"pack_command": pack_command})
