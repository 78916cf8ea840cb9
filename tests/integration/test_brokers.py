"""What a test may rely on in a broker, whichever it is: it stops, comes back, stands still, and goes with the test."""

from __future__ import annotations

from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from tests.support.brokers import Broker, BrokerMaker
from tests.support.programs import TopicReader, wait_until

# Java starts up to three times in a test, and starts slowly while others start theirs.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


SECONDS = 30.0
"""How long a broker that has answered may take for what it is asked, amid whatever else the machine does."""


def create(broker: Broker, topic: str, **configs: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
        admin.wait_for_topics([topic], timeout_ms=SECONDS * 1000)


def topics(broker: Broker) -> list[str]:
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        return [name for name in admin.list_topics() if not name.startswith("__")]


def send(broker: Broker, topic: str, *records: tuple[bytes, bytes]) -> None:
    with closing(KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False)) as producer:
        for key, value in records:
            producer.send(topic, value, key, partition=0).get(SECONDS)


def values(broker: Broker, topic: str) -> list[bytes]:
    with closing(TopicReader(broker.address, topic, 1)) as reader:
        return [record.value for record in reader.read_to_end(SECONDS)]


def test_it_stops_and_comes_back_at_the_same_address_with_what_it_keeps(new_broker: BrokerMaker) -> None:
    with new_broker() as own:
        address = own.address
        create(own, "kept")
        send(own, "kept", (b"key", b"value"))
        own.stop()
        with pytest.raises(KafkaError):
            KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=500)
        own.start()
        assert own.address == address
        assert topics(own) == (["kept"] if own.keeps_records else [])
        if own.keeps_records:
            assert values(own, "kept") == [b"value"]


def test_it_stands_still_and_goes_on(new_broker: BrokerMaker) -> None:
    with new_broker() as own:
        own.pause()
        try:
            with pytest.raises(KafkaError):
                KafkaAdminClient(bootstrap_servers=own.address, bootstrap_timeout_ms=1000)
        finally:
            own.resume()
        assert topics(own) == []


def test_it_compacts_where_it_says_so(new_broker: BrokerMaker) -> None:
    hard = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "500"}
    with new_broker() as own:
        create(own, "compacted", **hard, **{"min.compaction.lag.ms": "0", "delete.retention.ms": "0"})
        send(own, "compacted", *((b"key", b"%d" % number) for number in range(20)))

        def left() -> list[bytes]:
            send(own, "compacted", (b"another", b"begins the next segment"))
            return values(own, "compacted")

        if own.compacts:
            wait_until(lambda: b"0" not in left() and b"19" in left(), 30, "older values of the key are gone")
        else:
            assert len(left()) == 21
