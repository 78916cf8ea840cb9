"""The publisher against a real broker: what it counts, what it never gives up, and what it says when writing is hopeless."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream_app.ingest.topic_specs import topic_specs
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.topic_admin import ensure_topics

pytestmark = pytest.mark.integration


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Publisher]:
    publisher = Publisher(settings, Lease(settings.session_timeout))
    try:
        await publisher.start()
        yield publisher
    finally:
        await publisher.stop()


def records(settings: Settings, count: int) -> list[OutRecord]:
    return [OutRecord(settings.topic("metrics"), b"key", b"%d" % number, 0) for number in range(count)]


async def test_every_confirmed_record_counts(settings: Settings) -> None:
    ensure_topics(settings, topic_specs(settings))
    async with started(settings) as publisher:
        await publisher.write(records(settings, 40))
        assert publisher.confirmed == 40
        await publisher.write_in_order(settings.topic("metrics"), 0, [(b"key", b"value"), (b"other", None)])
        assert publisher.confirmed == 42
