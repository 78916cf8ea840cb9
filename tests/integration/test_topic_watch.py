"""The watch over the counted topics: what it refuses at once, what it waits for, and what it outlives."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from stream_app.dev import EmbeddedRedis
from stream_app.failure import Failure
from stream_app.ingest.topic_specs import topic_specs
from stream_app.settings import Settings
from stream_app.sinks import topic_watch
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.sinks.topic_watch import TopicWatch
from tests.support.brokers import BrokerMaker
from tests.support.programs import installation, wait_until

pytestmark = pytest.mark.integration

SOON_SECONDS = 3.0


def delete(settings: Settings, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        admin.delete_topics([settings.topic(name)])
        wait_until(lambda: settings.topic(name) not in admin.list_topics(), 20, "the topic is gone")
    finally:
        admin.close()


async def test_a_topic_that_a_broker_does_not_know_yet_is_waited_for(settings: Settings) -> None:
    specs = topic_specs(settings)
    ensure_topics(settings, specs[1:])
    looking = asyncio.create_task(TopicWatch(settings).look())
    await asyncio.sleep(SOON_SECONDS)
    assert not looking.done()
    await asyncio.to_thread(ensure_topics, settings, specs)
    await asyncio.wait_for(looking, 10)


async def test_a_topic_that_stays_away_is_gone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_watch, "GONE_SECONDS", SOON_SECONDS)
    ensure_topics(settings)
    watch = TopicWatch(settings)
    await watch.look()
    delete(settings, "chats")
    begun = time.monotonic()
    with pytest.raises(Failure) as refusal:
        await asyncio.wait_for(watch.look(), 20)
    assert time.monotonic() - begun >= SOON_SECONDS
    assert f"{settings.topic('chats')} is gone" in str(refusal.value)
    assert "may no longer describe it" in str(refusal.value)
    assert "STREAM_APP_PREFIX" in str(refusal.value)


async def test_a_topic_that_was_created_again_is_refused_at_once(settings: Settings) -> None:
    ensure_topics(settings)
    watch = TopicWatch(settings)
    await watch.look()
    delete(settings, "chats")
    ensure_topics(settings)
    with pytest.raises(Failure, match=r"chats was deleted and created again"):
        await asyncio.wait_for(watch.look(), 5)


async def test_another_number_of_partitions_is_refused_at_once(settings: Settings) -> None:
    ensure_topics(settings)
    watch = TopicWatch(settings.model_copy(update={"partitions": 3}))
    with pytest.raises(Failure, match=r"has 4 partitions instead of 3"):
        await asyncio.wait_for(watch.look(), 5)


async def test_it_outlives_an_outage(
    new_broker: BrokerMaker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """The client that it keeps is another one afterwards."""
    with new_broker() as own:
        settings = installation(own.address, redis_server.url, tmp_path).settings
        await asyncio.to_thread(ensure_topics, settings)
        watch = TopicWatch(settings)
        await watch.look()
        own.stop()
        looking = asyncio.create_task(watch.look())
        await asyncio.sleep(SOON_SECONDS)
        assert not looking.done()
        await asyncio.to_thread(own.start)
        await asyncio.to_thread(ensure_topics, settings)
        if own.keeps_records:
            await asyncio.wait_for(looking, 30)
        else:
            with pytest.raises(Failure, match="created again"):
                await asyncio.wait_for(looking, 30)


async def test_it_waits_for_a_certificate_that_is_being_exchanged(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = {"kafka_security_protocol": "SSL", "kafka_ssl_cafile": tmp_path / "authority.pem"}
    looking = asyncio.create_task(TopicWatch(settings.model_copy(update=away)).look())
    await asyncio.sleep(SOON_SECONDS)
    assert not looking.done()
    assert "authority.pem" in caplog.text
    looking.cancel()
