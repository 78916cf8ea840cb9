"""A limit: reads and decodes all records with aiokafka's `getmany` and msgspec, and does nothing with them."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from aiokafka import AIOKafkaConsumer

from benchmarks.programs.decoding import Notes, decode, topics


async def main() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    consumer = AIOKafkaConsumer(
        *topics(),
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
    )
    await consumer.start()
    notes = Notes()
    read = 0
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    decode(record.value)
                read += len(records)
            notes.tell(read)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main())
