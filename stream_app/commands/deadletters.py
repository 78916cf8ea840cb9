"""``stream-app deadletters list|replay``: what was not counted, why, and another try for it.

What was replayed is remembered in a topic of its own (``deadletters.replayed``): one small record
for each dead letter, written after its record is acknowledged. So no dead letter is replayed twice,
whatever filters were used, from whichever machine; what a filter left out, or what was skipped,
stays for a later replay. A replay that is killed half-way may repeat the last few: an event that
was counted is recognised by its id and not counted again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stream_app.clock import now_ms, to_rfc3339
from stream_app.commands.letters import Destination, Letter, Skipped, destination_of
from stream_app.commands.reading import consumer, read_to_end
from stream_app.ingest.decode import Reason
from stream_app.ingest.topic_specs import REPLAYED, input_topic_specs, replayed_topic_spec
from stream_app.ingest.topics import DEAD_LETTERS
from stream_app.output import json_line, printable, result, say
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.ordered_sender import OrderedSender
from stream_app.sinks.topic_admin import check_topics, ensure_topics

NOTES_TOGETHER = 500


@dataclass(frozen=True)
class Choice:
    """Which dead letters: of one reason, and how many at most."""

    reason: str | None = None
    limit: int | None = None

    def wants(self, letter: Letter) -> bool:
        """Whether a dead letter is of the reason that was asked for."""
        return self.reason is None or letter.reason == self.reason


def list_letters(settings: Settings, choice: Choice, as_json: bool) -> int:
    """Print the dead letters, each partition's oldest first; 0."""
    replayed = _noted(settings)
    reasons: Counter[str] = Counter()
    with consumer(settings, [settings.topic(DEAD_LETTERS)]) as reader:
        for letter in islice(_letters(reader, choice), choice.limit):
            reasons[letter.reason] += 1
            described = {**letter.described(), "replayed": letter.note in replayed}
            if as_json:
                json_line(described)
            else:
                result(_line(described))
    if not as_json:
        listed = ", ".join(f"{printable(reason)} {count:,}" for reason, count in reasons.most_common())
        say(f"{reasons.total():,} dead letters{': ' if listed else ''}{listed}")
    return 0


def replay(settings: Settings, choice: Choice, force: bool, as_json: bool) -> int:
    """Send the records of dead letters to their topics again, and say what was done; 0."""
    check_topics(settings, input_topic_specs(settings))
    ensure_topics(settings, [replayed_topic_spec(settings)])
    return asyncio.run(_replay(settings, choice, force, as_json))


async def _replay(settings: Settings, choice: Choice, force: bool, as_json: bool) -> int:
    done: Counter[str] = Counter()
    replayed = _noted(settings)
    async with OrderedSender(settings) as sender:
        batch: list[tuple[Letter, Destination]] = []
        with consumer(settings, [settings.topic(DEAD_LETTERS)]) as reader:
            for letter in _letters(reader, choice):
                if letter.note in replayed:
                    done["replayed before"] += 1
                    continue
                if choice.limit is not None and done["replayed"] + len(batch) >= choice.limit:
                    break
                try:
                    batch.append((letter, _destination(settings, letter, force)))
                except Skipped as why:
                    done["skipped"] += 1
                    _tell(letter, "skipped", str(why), as_json)
                if len(batch) >= NOTES_TOGETHER:
                    await _send_and_note(sender, batch, done, as_json)
        await _send_and_note(sender, batch, done, as_json)
    _summarise(done, as_json)
    return 0


def _destination(settings: Settings, letter: Letter, force: bool) -> Destination:
    return destination_of(letter, settings.prefix, settings.max_event_bytes, now_ms(), force)


async def _send_and_note(
    sender: OrderedSender, batch: list[tuple[Letter, Destination]], done: Counter[str], as_json: bool
) -> None:
    """First the records, acknowledged; then the notes that they were sent; then the lines that say so."""
    for letter, to in batch:
        await sender.send(to.topic, to.key, letter.value, to.headers)
    await sender.flush()
    at = to_rfc3339(now_ms()).encode()
    for letter, _ in batch:
        await sender.send(REPLAYED, letter.note, at)
    await sender.flush()
    for letter, to in batch:
        done["replayed"] += 1
        done["late"] += letter.reason == Reason.LATE
        _tell(letter, "replayed", f"to {to.topic}, key {printable(to.key, 200)}", as_json)
    batch.clear()


def _letters(reader: Any, choice: Choice) -> Iterator[Letter]:
    return (letter for letter in map(Letter.of, read_to_end(reader)) if choice.wants(letter))


def _noted(settings: Settings) -> set[bytes]:
    """The notes of all dead letters that were replayed."""
    with consumer(settings, [settings.topic(REPLAYED)]) as reader:
        return {record.key for record in read_to_end(reader) if record.key is not None}


def _tell(letter: Letter, action: str, words: str, as_json: bool) -> None:
    if as_json:
        json_line({**letter.described(), "action": action, "why": words})
    else:
        result(f"{action:<8}  {letter.partition}:{letter.offset}  {printable(letter.reason)}: {words}")


def _line(described: dict[str, Any]) -> str:
    source = f"{described['topic']}[{described['partition']}]@{described['offset']}"
    marks = "".join(f"  ({mark})" for mark in ("truncated", "replayed") if described[mark])
    return (
        f"{described['letter']:<8} {described['reason']:<13} {source}  {described['detail']}{marks}\n"
        f"         {described['preview']}"
    )


def _summarise(done: Counter[str], as_json: bool) -> None:
    summary = {name: done[name] for name in ("replayed", "skipped", "replayed before")}
    text = ", ".join(f"{count:,} {name}" for name, count in summary.items())
    (say if as_json else result)(text)
    if done["skipped"]:
        say("What was skipped is kept for another replay; --force sends it as it is.")
    if done["late"]:
        say(
            f"{done['late']:,} had been late: they come back unless {ENV_PREFIX}ALLOWED_LATENESS of the "
            "workers is larger now."
        )
