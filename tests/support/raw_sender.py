"""Sends what the client of ``traffic.Sender`` cannot: headers with null for a value; and what it is slow at: megabytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from aiokafka import AIOKafkaProducer

from stream_app.settings import Settings

LARGEST_REQUEST = 20_000_000


class RawSender:
    """A producer on a loop and a thread of its own, to be called from any other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="raw sender", daemon=True)

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Future[Any]:
        """Send a record to an input topic (named without the prefix); the future is where it lies."""
        return asyncio.run_coroutine_threadsafe(
            self._producer.send_and_wait(
                self._settings.topic(topic), value, key, partition, headers=list(headers)
            ),
            self._loop,
        )

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka, linger_ms=2, max_request_size=LARGEST_REQUEST
        )
        await producer.start()
        return producer

    def __enter__(self) -> RawSender:
        self._thread.start()
        self._producer = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *problem: object) -> None:
        asyncio.run_coroutine_threadsafe(self._producer.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
