"""Tells changes of alerts on their topics and in the view, each once, also after a crash.

Stands between a station and the sinks. An epoch notes in its outbox what it is about to tell, and how far the
alert topics were known to be told; whoever takes the partition over reads what stands behind that place, and
tells only what is not there yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from aiokafka import TopicPartition

from stream_app.alerts.lifecycle import FIRING, AlertChange
from stream_app.alerts.message import alert_id, alert_json, alert_record
from stream_app.ingest.topics import alert_topic
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.redis_view import FiringAlert, View
from stream_app.sinks.tail import read_tail

_ID_HEADER = "ce_id"


class AlertTeller:
    """Tells the alerts of one station. ``told`` is how far each alert partition is known to be written
    (``topic/partition`` to the offset behind it)."""

    def __init__(self, settings: Settings, publisher: Publisher, view: View, told: dict[str, int]) -> None:
        self._settings = settings
        self._publisher = publisher
        self._view = view
        self.told = told

    async def tell(self, changes: Sequence[AlertChange]) -> None:
        """Tell changes; returns when the broker has confirmed them."""
        source = f"/{self._settings.group_id}"
        for turn in in_turns(changes):
            records = [alert_record(change, source) for change in turn]
            ends = await self._publisher.write(
                [OutRecord(self._topic(r.kind), r.key, r.value, None, r.headers) for r in records]
            )
            self.told |= {f"{place.topic}/{place.partition}": end for place, end in ends.items()}
        for change in changes:
            firing = firing_alert(change)
            self._view.tell(firing.data or b"")
            self._view.show(firing if change.state == FIRING else firing._replace(data=None))

    async def tell_the_rest(self, changes: Sequence[AlertChange]) -> None:
        """Tell those of an outbox that its last owner did not come to tell."""
        if not changes:
            return
        told = await self._ids_told(changes)
        await self.tell([change for change in changes if alert_id(change) not in told])

    async def _ids_told(self, changes: Sequence[AlertChange]) -> set[str]:
        """The ids that stand where these changes go, behind the place up to which it is known to be written."""
        places = {await self._place(change) for change in changes}
        known = {place: self.told.get(f"{place.topic}/{place.partition}", 0) for place in places}
        return {
            dict(record.headers).get(_ID_HEADER, b"").decode("utf-8", "replace")
            async for record in read_tail(self._settings, known)
        }

    async def _place(self, change: AlertChange) -> TopicPartition:
        topic = self._topic(change.kind)
        partitions = len(await self._publisher.partitions_of(topic))
        return TopicPartition(topic, partition_of(change.fingerprint.encode(), partitions))

    def _topic(self, kind: str) -> str:
        return self._settings.topic(alert_topic(kind))


def in_turns(changes: Sequence[AlertChange]) -> list[list[AlertChange]]:
    """Changes in groups, in each at most one of an alert: none can overtake an earlier one that has to be written
    again."""
    turns: list[list[AlertChange]] = []
    met: Counter[str] = Counter()
    for change in changes:
        turn = met[change.fingerprint]
        if turn == len(turns):
            turns.append([])
        turns[turn].append(change)
        met[change.fingerprint] += 1
    return turns


def firing_alert(change: AlertChange) -> FiringAlert:
    """An alert as the view shows it."""
    return FiringAlert(change.fingerprint, msgspec.json.encode(alert_json(change)))
