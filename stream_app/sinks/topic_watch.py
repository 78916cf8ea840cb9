"""Watches the topics that are counted: one that was deleted and created again, or got more partitions, is refused.

Stands at the edge. Offsets mean nothing in another topic of the same name, whose records would be taken for
counted ones; and more partitions move customers to other shards, away from what is known of them. Kafka gives every
topic an identity (since 2.8; older brokers give none, and nothing is noticed there). Journals hold it beside their
offsets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from stream_app.failure import Failure, Unreachable
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.topic_admin import TopicState, look_at_topics

logger = logging.getLogger(__name__)

WATCHED = (*INPUT_TOPICS, PARTIALS)
_LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 1.0


class TopicWatch:
    """The topics of one installation as they were found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: Mapping[str, TopicState] = {}

    async def look(self) -> None:
        """Look at the topics; while Kafka gives no answer, look again.

        Raises:
            Failure: one is gone, is another than before, or has the wrong number of partitions.
        """
        while True:
            try:
                found = await asyncio.to_thread(look_at_topics, self._settings)
            except Unreachable as problem:
                logger.warning("cannot look at the topics: %s", problem)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._compare(found)
            self._found = {**self._found, **found}
            return

    async def run(self) -> None:
        """Look again and again, until cancelled.

        Raises:
            Failure: as ``look``.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    def identities(self, held: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
        """The identities of topics, which must be those that a journal ``held`` with its offsets.

        Raises:
            Failure: a topic is another one than the journal's.
        """
        found = {name: self._found[name].identity for name in names}
        for name, identity in found.items():
            self._refuse_another(name, held.get(name, ""), identity)
        return found

    def _compare(self, found: Mapping[str, TopicState]) -> None:
        for name in WATCHED:
            topic = self._settings.topic(name)
            if name not in found:
                raise Failure(
                    f"{topic} is gone: it was deleted. Choose another {ENV_PREFIX}PREFIX and count from the start, "
                    "or delete all topics of this prefix, partials and changelogs too"
                )
            if name in self._found:
                self._refuse_another(name, self._found[name].identity, found[name].identity)
            partitions = found[name].partitions
            if partitions != self._settings.partitions:
                raise Failure(
                    f"{topic} has {partitions} partitions instead of {self._settings.partitions}: its customers "
                    "have moved to other shards, which know nothing of them. For another number of partitions "
                    f"choose another {ENV_PREFIX}PREFIX, set {ENV_PREFIX}PARTITIONS, and send the events again"
                )

    def _refuse_another(self, name: str, held: str, found: str) -> None:
        if held and found and held != found:
            raise Failure(
                f"{self._settings.topic(name)} was deleted and created again: what was counted of it cannot go on. "
                f"Choose another {ENV_PREFIX}PREFIX for the new topics, or delete all topics of this prefix, "
                "partials and changelogs too, and count from the start"
            )
