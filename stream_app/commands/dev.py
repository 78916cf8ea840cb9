"""``stream-app dev``: the embedded broker and Redis, with the topics, until told to end."""

from __future__ import annotations

from threading import Event

from stream_app.dev import EmbeddedPair, EmbeddedServer
from stream_app.failure import Failure
from stream_app.output import result, say, until_told
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.topic_admin import ensure_topics

LOOK_AGAIN_SECONDS = 0.5


def run(settings: Settings, kafka_port: int | None, redis_port: int | None) -> int:
    """Print where the two servers are, ready to be pasted into a shell; 0 when told to end."""
    with until_told() as told, EmbeddedPair(kafka_port, redis_port) as pair:
        _prepare(settings, pair)
        _watch_over(told, (pair.broker, pair.redis))
    return 0


def _prepare(settings: Settings, pair: EmbeddedPair) -> None:
    here = {"kafka": pair.broker.address, "kafka_security_protocol": "PLAINTEXT", "replication": 1}
    ensure_topics(settings.model_copy(update=here))
    result(f"export {ENV_PREFIX}KAFKA={pair.broker.address} {ENV_PREFIX}REDIS={pair.redis.url}")
    say("Both run until Ctrl-C; what they hold is in memory only. Paste the line above into other terminals.")


def _watch_over(told: Event, servers: tuple[EmbeddedServer, ...]) -> None:
    while not told.wait(LOOK_AGAIN_SECONDS):
        for server in servers:
            if not server.running:
                raise Failure(f"the {server.title} has ended by itself; start `stream-app dev` again")
