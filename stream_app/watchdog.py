"""The watchdog: looks at a worker from beside the flow, tells how it is, and ends it when it is stuck.

Every few seconds it asks the broker where the partitions end, and hands what it sees to ``stuck.py``, which decides.
Only complete answers move its clock: a worker whose broker is away, or has no leader for one of its partitions, is not
stuck but waits, and says so at ``/ready``. See docs/how-to/run.md for what it means to whoever runs a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream_app.clock import monotonic_seconds, now_ms
from stream_app.failure import Failure
from stream_app.health import Health, Silence, Stage
from stream_app.ingest.batches import BatchConsumer
from stream_app.ingest.ends import End
from stream_app.ingest.topics import INPUT_TOPICS, PARTIALS
from stream_app.prometheus.worker import worker_metrics
from stream_app.settings import Settings, SettingsError
from stream_app.sinks.http_server import Route, json_reply
from stream_app.sinks.reach import kafka_problem
from stream_app.stuck import Patience, Sight
from stream_app.topology import SignalsApp
from stream_app.waits import waits_of

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 5.0


class Watchdog:
    """Beside one app, from before it starts until after it has stopped."""

    def __init__(self, app: SignalsApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(settings.stuck_after / 1000)
        self._patience_for_an_answer = Patience(settings.stuck_after / 1000)
        self._stage = Stage.STARTING
        self._silence: Silence | None = None
        self._ends: Mapping[TopicPartition, End] = {}
        app.on_partitions_revoked.connect(cast(Any, self._partitions_revoked))
        app.on_partitions_assigned.connect(cast(Any, self._partitions_assigned))

    @property
    def routes(self) -> dict[str, Route]:
        """What is served over HTTP."""
        return {
            "/live": lambda: json_reply(*self.health().liveness()),
            "/ready": lambda: json_reply(*self.health().readiness()),
            "/metrics": lambda: worker_metrics(self._app.engine, self.health()),
        }

    def health(self) -> Health:
        """How the worker is now."""
        engine = self._app.engine
        block = engine.lease.longest_block
        return Health(self.stage, self._silence, sorted(engine.shards), sorted(engine.mergers), block)

    @property
    def stage(self) -> Stage:
        """How far the worker is."""
        if self._stage is Stage.RECOVERING and not self._app.rebalancing and self._all_open():
            return Stage.SERVING
        return self._stage

    def _all_open(self) -> bool:
        """Whether all partitions that were assigned can be counted: without its journal, one is not opened."""
        position_of = self._app.engine.position_of
        return all(position_of(place) is not None for place in self._inputs())

    def _inputs(self) -> list[TopicPartition]:
        """The partitions that were assigned, without those of the journals."""
        topics = {self._settings.topic(topic) for topic in (*INPUT_TOPICS, PARTIALS)}
        return [place for place in self._consumer.assignment() if place.topic in topics]

    def ends(self, failed: bool) -> None:
        """From now on the worker is ending."""
        self._stage = Stage.FAILED if failed else Stage.STOPPING

    def loops(self) -> dict[str, asyncio.AbstractEventLoop]:
        """The event loops that must not be blocked."""
        found = {"event loop": self._loop}
        return found if self._stage is Stage.STARTING else found | {"consumer": self._consumer.thread_loop}

    async def watch(self) -> None:
        """Look again and again, until cancelled.

        Raises:
            Failure: the worker is stuck.
        """
        while True:
            if self._stage is not Stage.STARTING:
                await self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self._app.consumer)

    async def _partitions_revoked(self, *args: Any, **kwargs: Any) -> None:
        self._stage = Stage.JOINING

    async def _partitions_assigned(self, *args: Any, **kwargs: Any) -> None:
        self._stage = Stage.RECOVERING

    async def _look(self) -> None:
        offsets = self._offsets()
        asked_ms = now_ms()
        asking = asyncio.create_task(self._consumer.ends_from(offsets))
        await asyncio.wait([asking], timeout=_ANSWER_SECONDS)
        if not asking.done():
            self._note_silence(asked_ms)
            await self._wait_for(asking, asked_ms)
        try:
            self._ends = await asking
        except (KafkaError, OSError):
            self._note_silence(asked_ms)
            return
        if missing := len(offsets) - len(self._ends):
            self._note_silence(asked_ms, missing)
            return
        self._silence = None
        self._app.engine.lag = sum(self._lags())
        self._end_if(self._patience.look(self._sights(), monotonic_seconds()))

    def _note_silence(self, asked_ms: int, partitions: int | None = None) -> None:
        self._silence = Silence(self._silence.since_ms if self._silence else asked_ms, partitions)

    async def _wait_for(self, asking: asyncio.Task[Mapping[TopicPartition, End]], asked_ms: int) -> None:
        """Wait for as long as Kafka is away. Where it answers a new connection all the time, it is this worker that
        does not ask."""
        while not asking.done():
            task = "it answers a new connection" if await self._is_there() else ""
            sight = Sight("a question to Kafka", asked_ms, task)
            self._end_if(self._patience_for_an_answer.look([sight], monotonic_seconds()))
            await asyncio.wait([asking], timeout=_LOOK_SECONDS)

    async def _is_there(self) -> bool:
        try:
            return await asyncio.to_thread(kafka_problem, self._settings) is None
        except (SettingsError, OSError):  # a certificate that is just being exchanged
            return False

    def _end_if(self, stuck: str | None) -> None:
        if stuck is not None:
            for loop in self.loops().values():
                for line in waits_of(loop):
                    logger.error("stuck: %s", line)
            raise Failure(f"{stuck}. This worker is stuck and ends; start it again")

    def _offsets(self) -> dict[TopicPartition, int]:
        """The partitions that were assigned, and from where to ask for their ends: from where they are read, or as near
        to the end as is known, as little is to be sent back. Another one if there are none, as an answer is wanted."""
        position_of = self._app.engine.position_of
        known = {place: end.offset for place, end in self._ends.items()}
        open_ones = {place: at for place in self._inputs() if (at := position_of(place)) is not None}
        found = {place: open_ones.get(place, known.get(place, 0)) for place in self._consumer.assignment()}
        return found or {TopicPartition(self._settings.topic(PARTIALS), 0): 0}

    def _lags(self) -> Iterator[int]:
        """How many records each partition that is served has still to be read."""
        for place in self._inputs():
            offset, end = self._app.engine.position_of(place), self._ends.get(place)
            if offset is not None and end is not None:
                yield max(0, end.readable - offset)

    def _sights(self) -> Iterator[Sight]:
        """Everything that has to move on. How long the group takes to share out partitions is up to others."""
        engine = self._app.engine
        if self.stage is Stage.RECOVERING:
            yield Sight("recovery of the partitions", self._recovered(), "they wait for it")
        elif self.stage is Stage.SERVING:
            for place in self._inputs():
                offset, end = engine.position_of(place), self._ends.get(place)
                if offset is not None and end is not None:
                    is_read = end.is_read or offset >= end.readable
                    task = "" if is_read else f"it is read up to offset {offset} and ends at {end.readable}"
                    yield Sight(f"{place.topic}, partition {place.partition}", offset, task)
            for whose, flushes in engine.flushes.items():
                written = (
                    flushes,
                    sum(engine.publisher.confirmed[topic] for topic in engine.written_by[whose]),
                )
                yield Sight(f"writing of what the {whose} have counted", written, "Kafka answers")

    def _recovered(self) -> tuple[int, ...]:
        engine = self._app.engine
        opened = len(engine.shards), len(engine.mergers)
        written = engine.publisher.confirmed.total()
        return self._app.consumer_generation_id, engine.vitals.replayed, *opened, written
