"""The publisher against a real broker: what it counts, what it never gives up, and what it says when writing is hopeless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream_app.failure import Failure
from stream_app.ingest.topic_specs import topic_specs
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import Broker

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
        assert publisher.confirmed.total() == 40
        await publisher.write_in_order(settings.topic("metrics"), 0, [(b"key", b"value"), (b"other", None)])
        assert publisher.confirmed.total() == 42


async def test_what_is_lost_where_the_broker_has_no_idempotent_producer_is_said(
    settings: Settings, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(settings):
        warned = [record.levelname for record in caplog.records if "written twice" in record.getMessage()]
    assert warned == (["WARNING"] if broker.name == "embedded" else [])


async def test_a_client_whose_sender_has_died_is_not_asked_for_ever(settings: Settings) -> None:
    ensure_topics(settings, topic_specs(settings))
    async with started(settings) as publisher:
        assert publisher._producer is not None
        sender = publisher._producer._sender
        alive, sender.client = sender.client, None  # a mistake in the client, as the sender meets it
        try:
            with pytest.raises(Failure, match="client that writes to Kafka has stopped"):
                await asyncio.wait_for(publisher.write(records(settings, 3)), 5)
            with pytest.raises(Failure, match="restart"):
                await asyncio.wait_for(
                    publisher.write_in_order(settings.topic("metrics"), 0, [(b"k", b"v")]), 5
                )
        finally:
            sender.client = alive
        assert publisher.confirmed.total() == 0


async def test_a_closed_client_is_not_asked_for_ever(settings: Settings) -> None:
    ensure_topics(settings, topic_specs(settings))
    async with started(settings) as publisher:
        await publisher.stop()
        with pytest.raises(Failure, match="restart"):
            await asyncio.wait_for(publisher.write(records(settings, 1)), 5)
