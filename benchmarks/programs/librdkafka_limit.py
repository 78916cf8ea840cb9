"""A limit: reads and decodes all records with librdkafka in batches and msgspec, and does nothing with them.

In the bench's environment, as the project does not have librdkafka.
"""

from __future__ import annotations

import os
import signal
import sys

from confluent_kafka import Consumer

from benchmarks.programs.decoding import Notes, decode, topics

RECORDS_AT_ONCE = 10_000


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    options = {
        "bootstrap.servers": os.environ["BENCH_KAFKA"],
        "group.id": os.environ["BENCH_GROUP"],
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 10,  # a second by default, in which it fetches nothing as its queue was full
        "queued.min.messages": 500_000,
        "queued.max.messages.kbytes": 262_144,
    }
    consumer = Consumer(options)
    consumer.subscribe(topics())
    try:
        read(consumer)
    finally:
        consumer.close()


def read(consumer: Consumer) -> None:
    notes = Notes()
    records = 0
    while True:
        for message in consumer.consume(RECORDS_AT_ONCE, timeout=0.1):
            problem = message.error()
            if problem is not None:
                raise SystemExit(f"librdkafka: {problem}")
            decode(message.value())
            records += 1
        notes.tell(records)


if __name__ == "__main__":
    main()
