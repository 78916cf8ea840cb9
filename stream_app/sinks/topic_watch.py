"""Watches the topics that are counted: one that was deleted and created again, or got more partitions, is refused.

Stands at the edge. Offsets mean nothing in another topic of the same name, whose records would be taken for
counted ones; and more partitions move customers to other shards, away from what is known of them. Kafka gives every
topic an identity (since 2.8; older brokers give none, and nothing is noticed there). Journals hold it beside their
offsets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from stream_app.clock import monotonic_seconds
from stream_app.failure import Failure, Unreachable
from stream_app.ingest.topics import COUNTED_TOPICS
from stream_app.settings import ENV_PREFIX, Settings, SettingsError
from stream_app.sinks.topic_admin import TopicState, TopicViewer

logger = logging.getLogger(__name__)

GONE_SECONDS = 20.0
"""For so long a topic must be missing: a broker that has just started may not know all of them yet."""
_LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_START_ANEW = (
    f"choose another {ENV_PREFIX}PREFIX for the new topics, or delete all topics of this prefix, partials and "
    "changelogs too, and count from the start"
)


class TopicWatch:
    """The topics of one installation as they were found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._viewer = TopicViewer(settings)
        self._found: Mapping[str, TopicState] = {}
        self._missing_since: Mapping[str, float] = {}

    async def look(self) -> None:
        """Look at the topics; while Kafka gives no answer, or one is missing, look again.

        Raises:
            Failure: one is gone, is another than before, or has the wrong number of partitions.
        """
        while True:
            if await self._sees_all():
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _sees_all(self) -> bool:
        try:
            found = await asyncio.to_thread(self._viewer.look)
        except (Unreachable, SettingsError, OSError) as problem:  # a certificate may be about to be exchanged
            logger.warning("cannot look at the topics: %s", problem)
            self._missing_since = {}
            return False
        self._compare(found)
        self._found = {**self._found, **found}
        missing = [name for name in COUNTED_TOPICS if name not in found]
        self._refuse_gone(missing)
        return not missing

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
        for name, (identity, partitions) in found.items():
            topic = self._settings.topic(name)
            if name in self._found:
                self._refuse_another(name, self._found[name].identity, identity)
            if partitions != self._settings.partitions:
                raise Failure(
                    f"{topic} has {partitions} partitions instead of {self._settings.partitions}: its customers "
                    "have moved to other shards, which know nothing of them. For another number of partitions "
                    f"choose another {ENV_PREFIX}PREFIX, set {ENV_PREFIX}PARTITIONS, and send the events again"
                )

    def _refuse_another(self, name: str, held: str, found: str) -> None:
        if held and found and held != found:
            raise created_again(self._settings.topic(name), "what was counted of it cannot go on")

    def _refuse_gone(self, missing: Sequence[str]) -> None:
        now = monotonic_seconds()
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        for name, since in self._missing_since.items():
            if now - since >= GONE_SECONDS:
                raise Failure(
                    f"{self._settings.topic(name)} is gone: it was deleted, or this user may no longer describe it. "
                    f"Give the user that right; if it was deleted: {_START_ANEW}"
                )


def created_again(topic: str, sign: str) -> Failure:
    """What to say of a topic that is another one of the same name, by some sign."""
    return Failure(f"{topic} was deleted and created again: {sign}. To go on, {_START_ANEW}")
