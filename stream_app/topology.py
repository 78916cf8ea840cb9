"""Start here: the Faust app, its topics, tables and agents, wired in the order of the flow.

::

    7 input topics ─ six agents ─▶ shards ─▶ partials ─ merge agent ─▶ mergers ─▶ metrics, alerts, Redis
                                     │ journal: table "shards"           │ journal: table "merge"
                                     └▶ deadletters, alerts.churn        └▶ alerts.ctr, .optout, .abandonment, .service

All seven input topics and the partials have the same number of partitions, so that Faust gives one worker
the same partition number of each: that is a shard, and a merger. Agents run with concurrency 1 and hand
batches to the engine; what is exact about it does not rest on Faust's commits (docs/decisions/0002-journal.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import faust
from aiokafka import TopicPartition

from stream_app.alerts.rules import Rules
from stream_app.engine import Engine
from stream_app.ingest import topics
from stream_app.ingest.batches import BatchConsumer, BatchSchema, BatchTransport
from stream_app.ingest.ends import End
from stream_app.ingest.topic_specs import MERGE_TABLE, SHARDS_TABLE
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.connections import aiokafka_options
from stream_app.state.slices import SliceStore
from stream_app.state.tables import JournalTable, JournalTables

_COMMIT_SECONDS = 1.0
_BATCHES_WAITING = 4
_FETCHED_BYTES = 128 * 1024  # of a partition at a time: what was fetched before is in the way of the partials
_HEARTBEATS_A_SESSION = 4


class SignalsApp(faust.App):
    """The Faust app with our batch transport and the engine's life tied to its own."""

    fetch_wait_ms: int
    batched_topics: list[str]
    engine: Engine

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_start(self) -> None:
        """Connect the engine before partitions come."""
        consumer = cast(BatchConsumer, self.consumer)
        consumer.position_of = self.engine.position_of
        consumer.took_commit = self.engine.vitals.commits.observe
        await self.engine.start(self._ends_from, consumer.read_again)
        await super().on_start()

    async def on_stop(self) -> None:
        """Flush and let go before the consumer commits and leaves."""
        try:
            await self.engine.close()
        finally:
            await super().on_stop()
            await self.engine.stop()

    async def _ends_from(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, End]:
        ends: Mapping[TopicPartition, End] = await cast(BatchConsumer, self.consumer).ends_from(offsets)
        return ends


def build_app(settings: Settings, rules: Rules, store: SliceStore, lease: Lease) -> SignalsApp:
    """The whole topology, ready to be started; ``store`` has the state's bytes at rest."""
    app = SignalsApp(settings.group_id, **_faust_options(settings))
    app.fetch_wait_ms = settings.fetch_wait
    app.batched_topics = [settings.topic(topic) for topic in (*topics.INPUT_TOPICS, topics.PARTIALS)]
    tables = [_table(app, name, settings, store) for name in (SHARDS_TABLE, MERGE_TABLE)]
    app.engine = engine = Engine(
        settings, rules, (tables[0].changelog_topic_name, tables[1].changelog_topic_name), lease
    )
    for table in tables:
        table.assigned = lambda: engine.handover.lost
    tables[0].open_partitions = lambda *taken: _or_crash(app, engine.open_shards(*taken))
    tables[1].open_partitions = lambda *taken: _or_crash(app, engine.open_mergers(*taken))
    _add_agents(app, settings, engine)
    _add_tasks(app, engine)
    return app


def _add_agents(app: SignalsApp, settings: Settings, engine: Engine) -> None:
    def source(*names: str) -> Any:
        return app.topic(*map(settings.topic, names), schema=BatchSchema(), allow_empty=True)

    async def ingest(stream: Any) -> None:
        async for event in stream.noack().events():
            batch = event.value
            topic = batch.topic.removeprefix(settings.prefix)
            await _or_crash(app, engine.ingest(topic, batch.partition, batch.records))

    @app.agent(source(topics.EMAIL_DELIVERIES, topics.EMAIL_OPENS))
    async def deliveries_and_opens(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.EMAIL_CLICKS))
    async def clicks(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.EMAIL_OPTOUTS))
    async def optouts(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.CHATS))
    async def chats(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.CARTS))
    async def carts(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.TICKETS))
    async def tickets(stream: Any) -> None:
        await ingest(stream)

    @app.agent(source(topics.PARTIALS))
    async def merge(stream: Any) -> None:
        async for event in stream.noack().events():
            await _or_crash(app, engine.merge(event.value.partition, event.value.records))


def _add_tasks(app: SignalsApp, engine: Engine) -> None:
    @app.task
    async def flush_shards() -> None:
        cast(BatchConsumer, app.consumer).committable = engine.committable
        await _or_crash(app, engine.flush_shards())

    @app.task
    async def flush_mergers() -> None:
        await _or_crash(app, engine.flush_mergers())

    @app.task
    async def pass_time() -> None:
        await _or_crash(app, engine.pass_time())

    @app.task
    async def show() -> None:
        await _or_crash(app, engine.view.run())

    @app.task
    async def watch_topics() -> None:
        await _or_crash(app, engine.topics.run())

    async def let_go(*args: Any, **kwargs: Any) -> None:
        await engine.close()

    app.on_partitions_revoked.connect(cast(Any, let_go))


async def _or_crash(app: SignalsApp, work: Any) -> None:
    """Faust restarts an agent that raises, without the batch it was at, and only logs what a task raises. Here
    it ends the worker, and nothing is flushed any more."""
    try:
        await work
    except Exception as problem:  # noqa: BLE001 - the worker ends with it
        app.engine.give_up()
        await app.crash(problem)


def _table(app: SignalsApp, name: str, settings: Settings, store: SliceStore) -> JournalTable:
    table = JournalTable(app, name=name, partitions=settings.partitions, key_type=bytes, value_type=bytes)
    table.slice_store = store
    app.tables.add(table)
    return table


def _faust_options(settings: Settings) -> dict[str, Any]:
    session_seconds = settings.session_timeout / 1000
    return {
        "broker": [f"kafka://{server}" for server in settings.kafka.split(",")],
        "broker_credentials": _credentials(settings),
        "broker_session_timeout": session_seconds,
        "broker_heartbeat_interval": session_seconds / _HEARTBEATS_A_SESSION,
        "broker_commit_interval": _COMMIT_SECONDS,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": _FETCHED_BYTES,
        "datadir": str(settings.data_dir),
        "key_serializer": "raw",
        "value_serializer": "raw",
        "processing_guarantee": "at_least_once",
        "store": "memory://",
        "TableManager": JournalTables,
        "stream_buffer_maxsize": _BATCHES_WAITING,
        "stream_recovery_delay": 0.0,
        "stream_wait_empty": False,
        "table_standby_replicas": 0,  # they would be read all the time, and anew after every rebalance
        "topic_allow_declare": False,  # all are there, and a worker may not be allowed to create any
        "topic_disable_leader": True,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        "web_enabled": False,
    }


def _credentials(settings: Settings) -> Any:
    options = aiokafka_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
