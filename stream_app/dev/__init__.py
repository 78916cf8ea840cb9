"""Servers and traffic for one machine: what `stream-app demo`, `stream-app dev` and the tests run on.

    with EmbeddedPair() as pair:
        print(pair.broker.address, pair.redis.url)

`servers.py` is the common part, `broker.py` and `redis_server.py` the two servers, `guard.py` the process
that makes sure that they end with us.
"""

from types import TracebackType
from typing import Self

from stream_app.dev.broker import EmbeddedBroker
from stream_app.dev.redis_server import EmbeddedRedis
from stream_app.dev.servers import EmbeddedServer, PortTaken, ServerError

__all__ = ["EmbeddedBroker", "EmbeddedPair", "EmbeddedRedis", "EmbeddedServer", "PortTaken", "ServerError"]


class EmbeddedPair:
    """The broker and Redis together: both run, or neither does."""

    def __init__(self, broker_port: int | None = None, redis_port: int | None = None) -> None:
        self.broker = EmbeddedBroker(broker_port)
        self.redis = EmbeddedRedis(redis_port)

    def start(self) -> None:
        try:
            self.broker.start()
            self.redis.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.redis.stop()
        self.broker.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
