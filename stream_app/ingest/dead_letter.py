"""A record of an input topic, and the dead letter that it becomes where it is not counted. Pure data.

Stands between decoding, which says why not, and the shard, which holds dead letters until its next flush.
"""

from __future__ import annotations

from typing import NamedTuple

from stream_app.ingest.decode import Headers, Reason, Rejected

MOST_DETAIL = 500
_BYTES_A_HEADER = 100  # that Python needs for it, beside its name and its content


class Record(NamedTuple):
    """One record of an input topic. In a worker aiokafka's own records stand in its place: they have these and more."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class DeadLetter(NamedTuple):
    """A record that is not counted, and why; ``topic`` is named without the prefix."""

    topic: str
    record: Record
    reason: Reason
    detail: str

    @classmethod
    def of(cls, topic: str, record: Record, why: Rejected) -> DeadLetter:
        """The dead letter of a record. A detail may quote what the record holds, so it is cut where it is long."""
        detail = why.detail if len(why.detail) <= MOST_DETAIL else why.detail[: MOST_DETAIL - 1] + "…"
        return cls(topic, record, why.reason, detail)

    @property
    def held_bytes(self) -> int:
        """About how much memory it takes."""
        record = self.record
        headers = sum(_BYTES_A_HEADER + len(name) + len(content or b"") for name, content in record.headers)
        return len(record.key or b"") + len(record.value or b"") + headers
