"""Puts ad events on the topic with librdkafka, and writes down what is right. In the bench's environment.

    python -m benchmarks.yahoo.sender HOST:PORT TOPIC PARTITIONS SEED SKEW EVENTS RATE FILE

With a rate they are sent live, and their event time is when they are due. Without one (0) they are a backlog, sent
as fast as possible, and lie ten milliseconds of event time apart, as in the original.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.yahoo.world import World

BACKLOG_STEP_MS = 10
CHUNK_SECONDS = 0.01
FLUSH_SECONDS = 120


class Sender:
    """Sends events to the partitions in turn; what Kafka refuses is remembered."""

    def __init__(self, kafka: str, topic: str, partitions: int) -> None:
        options = {"bootstrap.servers": kafka, "acks": "all", "linger.ms": 5, "batch.size": 128 * 1024}
        self._producer = Producer({**options, "queue.buffering.max.messages": 500_000})
        self._topic = topic
        self._partitions = partitions
        self._sent = 0
        self._refused: list[KafkaError] = []

    def send(self, value: bytes) -> None:
        partition = self._sent % self._partitions
        while True:
            try:
                self._producer.produce(self._topic, value, None, partition, on_delivery=self._note)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._sent += 1

    def serve(self) -> None:
        self._producer.poll(0)

    def finish(self) -> None:
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._refused:
            raise SystemExit(
                f"sender: {left} events not confirmed, {len(self._refused)} refused: {self._refused[:1]}"
            )

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(error)


def send_backlog(sender: Sender, world: World, events: int) -> None:
    start_ms = time.time_ns() // 1_000_000 - events * BACKLOG_STEP_MS
    for number in range(events):
        sender.send(world.event(start_ms + number * BACKLOG_STEP_MS))


def send_live(sender: Sender, world: World, events: int, rate: float) -> None:
    start = time.time()
    sent = 0
    while sent < events:
        due = min(events, int((time.time() - start) * rate))
        for number in range(sent, due):
            sender.send(world.event(int((start + number / rate) * 1000)))
        sender.serve()
        sent = max(sent, due)
        time.sleep(CHUNK_SECONDS)


def main(
    kafka: str, topic: str, partitions: str, seed: str, skew: str, events: str, rate: str, file: str
) -> None:
    world = World(int(seed), bool(int(skew)))
    sender = Sender(kafka, topic, int(partitions))
    if float(rate):
        send_live(sender, world, int(events), float(rate))
    else:
        send_backlog(sender, world, int(events))
    sender.finish()
    Path(file).write_text(json.dumps(world.seen), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
