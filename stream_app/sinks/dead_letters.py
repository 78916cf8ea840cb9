"""Dead letters: written with the reason, each exactly once, also after a crash.

Stands at the edge. A shard's dead letters go to the partition of its own number, before the journal epoch that
says the record is dealt with. The epoch notes where the letters end; whoever takes the shard over reads what
stands behind that place, so that records read again are not written again. A letter is the whole record, unless
that is more than the topic takes: then its largest parts are left out, and a header says which.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from stream_app.ingest.dead_letter import DeadLetter
from stream_app.ingest.topics import DEAD_LETTERS
from stream_app.settings import Settings
from stream_app.sinks.publisher import LARGE_BYTES, OutRecord, Publisher
from stream_app.sinks.tail import read_tail

logger = logging.getLogger(__name__)

_OWN_HEADERS = ("reason", "detail", "topic", "partition", "offset")
_TRUNCATED = "truncated"

Source = tuple[str, int]
"""Where a dead letter came from in its shard: the topic, without the prefix, and the offset."""


class DeadLetters:
    """The dead letters of one shard. ``end_offset`` is where they end, as far as this owner knows."""

    def __init__(self, number: int, settings: Settings, publisher: Publisher, end_offset: int) -> None:
        self._number = number
        self._settings = settings
        self._publisher = publisher
        self._topic = settings.topic(DEAD_LETTERS)
        self.end_offset = end_offset

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write letters; returns when the broker has confirmed them."""
        records = [self._record(letter) for letter in letters]
        self._note(await self._publisher.write([r for r in records if r.size <= LARGE_BYTES]))
        for record in records:
            if record.size > LARGE_BYTES:
                await self._write_in_spite_of_size(record)

    def _note(self, ends: Mapping[TopicPartition, int]) -> None:
        self.end_offset = max(self.end_offset, *ends.values(), 0)

    async def _write_in_spite_of_size(self, record: OutRecord) -> None:
        try:
            self._note(await self._publisher.write([record]))
        except MessageSizeTooLargeError:
            missing, letter = _shortened(record)
            logger.warning(
                "a record is too large for the dead letters; its %s can be read in its own topic only",
                missing,
            )
            self._note(await self._publisher.write([letter]))

    def _record(self, letter: DeadLetter) -> OutRecord:
        """The original key and bytes, our headers, and after them the record's own."""
        ours = (
            letter.reason.value,
            letter.detail,
            self._settings.topic(letter.topic),
            str(self._number),
            str(letter.record.offset),
        )
        headers = [
            (name, text.encode("utf-8", "replace")) for name, text in zip(_OWN_HEADERS, ours, strict=True)
        ]
        reserved = (*_OWN_HEADERS, _TRUNCATED)
        theirs = [(name, value or b"") for name, value in letter.record.headers if name not in reserved]
        return OutRecord(
            self._topic, letter.record.key, letter.record.value, self._number, [*headers, *theirs]
        )


def _shortened(record: OutRecord) -> tuple[str, OutRecord]:
    """A letter that every topic takes: without the largest of its record's parts, which are named. Our own headers
    stay, so that the record is found, and is not written again."""
    ours = list(record.headers[: len(_OWN_HEADERS)])
    without = {
        "value": record._replace(value=b""),
        "key": record._replace(key=None),
        "headers": record._replace(headers=ours),
    }
    missing: list[str] = []
    letter = record
    for part in sorted(without, key=lambda part: without[part].size):
        if letter.size > LARGE_BYTES:
            letter = letter._replace(**{part: getattr(without[part], part)})
            missing.append(part)
    words = ", ".join(missing)
    says = f"{words}: too large for this topic; read the record at its topic, partition and offset"
    headers = [*ours, (_TRUNCATED, says.encode()), *letter.headers[len(ours) :]]
    return words, letter._replace(headers=headers)


async def read_back(settings: Settings, from_offsets: Mapping[int, int]) -> dict[int, set[Source]]:
    """The sources of the letters that stand at or behind an offset, by shard."""
    topic = settings.topic(DEAD_LETTERS)
    places = {TopicPartition(topic, number): offset for number, offset in from_offsets.items()}
    found: dict[int, set[Source]] = {number: set() for number in from_offsets}
    async for record in read_tail(settings, places):
        found[record.partition].add(_source(record, settings))
    return found


def _source(record: ConsumerRecord, settings: Settings) -> Source:
    headers = dict(record.headers)
    topic = headers.get("topic", b"").decode("utf-8", "replace").removeprefix(settings.prefix)
    offset = headers.get("offset", b"")
    return topic, int(offset) if offset.isdigit() else -1
