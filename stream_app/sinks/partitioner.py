"""The partition of a key, as Kafka's own producers choose it. Stands at the edge.

Producers of events use it, and all that must know where a record with a key went.
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=100_000)
def partition_of(key: bytes, partitions: int) -> int:
    """The number of the partition, of so many."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
