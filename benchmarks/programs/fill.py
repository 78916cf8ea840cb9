"""Produces an input's files to topics with librdkafka; a process of its own, in the bench's environment.

    python fill.py HOST:PORT PREFIX FILE…

A file `<topic>-<partition>.tsv` has a line for each record: key, tab, value. Order within a partition is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

SECONDS = 300


def main(kafka: str, prefix: str, *files: str) -> None:
    refused: list[KafkaError] = []
    options = {
        "bootstrap.servers": kafka,
        "acks": "all",
        "linger.ms": 20,
        "batch.size": 128 * 1024,
        "queue.buffering.max.messages": 500_000,
        "max.in.flight.requests.per.connection": 1,
    }
    producer = Producer(options)

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)

    sent = 0
    for name in files:
        topic, _, partition = Path(name).stem.rpartition("-")
        with Path(name).open("rb") as lines:
            for line in lines:
                key, _, value = line.rstrip(b"\n").partition(b"\t")
                produce(producer, prefix + topic, int(partition), key, value, note)
                sent += 1
    left = producer.flush(SECONDS)
    if left or refused:
        raise SystemExit(f"fill: {left} records not confirmed, {len(refused)} refused: {refused[:1]}")
    print(sent)


def produce(producer: Producer, topic: str, partition: int, key: bytes, value: bytes, note: object) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition, on_delivery=note)
            return
        except BufferError:
            producer.poll(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
