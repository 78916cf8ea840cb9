"""The tail of a partition is read from a Kafka that cannot be reached yet, or goes away while it is read."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from kafka import KafkaProducer

from stream_app.ingest.topics import CHATS
from stream_app.settings import Settings
from stream_app.sinks.tail import read_tail, stands_between
from stream_app.sinks.topic_admin import ensure_topics
from tests.support.brokers import BrokerMaker
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

RECORDS = 200
READ_SECONDS = 30


async def read(settings: Settings) -> list[bytes | None]:
    place = TopicPartition(settings.topic(CHATS), 0)
    records: list[ConsumerRecord] = [record async for record in read_tail(settings, {place: 1})]
    return [record.value for record in records]


def test_the_tail_is_read_once_kafka_can_be_reached(new_broker: BrokerMaker, settings: Settings) -> None:
    with Proxy() as proxy, new_broker(advertised=proxy.address) as broker:
        proxy.target = broker.address
        behind = settings.model_copy(update={"kafka": proxy.address})
        ensure_topics(behind)
        values = [b"%d" % number for number in range(RECORDS)]
        # One request at a time, or a batch that is refused at first, as the topic is new, is written behind the next.
        one_at_a_time = {"enable_idempotence": False, "max_in_flight_requests_per_connection": 1}
        with KafkaProducer(bootstrap_servers=proxy.address, **one_at_a_time) as producer:
            for value in values:
                producer.send(settings.topic(CHATS), value, partition=0)
            producer.flush(READ_SECONDS)

        async def read_while_it_comes_and_goes() -> list[bytes | None]:
            proxy.refuse()
            reading = asyncio.create_task(read(behind))
            await asyncio.sleep(1.0)
            assert not reading.done()
            proxy.accept()
            await asyncio.sleep(0.3)
            proxy.cut()
            return await asyncio.wait_for(reading, READ_SECONDS)

        assert asyncio.run(read_while_it_comes_and_goes()) == values[1:]


async def test_what_stands_between_two_offsets_is_known(settings: Settings) -> None:
    ensure_topics(settings)
    with KafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False) as producer:
        for _ in range(3):
            producer.send(settings.topic(CHATS), b"{}", partition=0)
        producer.flush(READ_SECONDS)
    place = TopicPartition(settings.topic(CHATS), 0)
    assert await stands_between(settings, place, 1, 2)
    assert not await stands_between(settings, place, 3, 9)
    assert not await stands_between(settings, place, 1, 1)
