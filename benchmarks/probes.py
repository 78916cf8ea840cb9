"""Probes of the latency bench: events whose way through the whole system is timed, one by one.

Stands beside the traffic of ``latency.py``, on a thread of its own. Three kinds: a key that nobody has heard of is to
be seen in Redis; a key that changes all the time, which the contract shows once a second at most; and an opt-out
that makes an alert fire is to be seen on the alert's topic. One process produces and sees, so there is one clock.
The pauses between probes vary, so that they fall into no step with the system's own.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Self

import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.life import SEED, Counts, Json
from stream_app.alerts.rules import Rule, load_rules
from stream_app.alerts.sequential import is_beyond
from stream_app.clock import now_ms
from stream_app.ingest.events import EVENT_TYPES
from stream_app.ingest.topics import alert_topic
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from tests.support.traffic import event

RULE = "optout-spike"
LOOK_SECONDS = 0.01
FETCH_WAIT_MS = {"kafka": 100, "embedded": 10}
"""By broker: the embedded one does not wake a fetch that waits when something comes."""
FRESH_A_SECOND = 20.0
BUSY_A_SECOND = 20.0
ALARMS_A_SECOND = 4.0
BUSY_KEY = "probe-busy"
MOST_WATCHED = 200
"""Of the new keys that are waited for, the oldest; they come through about in order."""

FRESH, BUSY, ALARM = "new key in Redis", "busy key in Redis", "alert on its topic"


class Sample(NamedTuple):
    """One probe that was seen: when it was produced (seconds since 1970), and after how many milliseconds."""

    produced_at: float
    milliseconds: float


@dataclass
class Series:
    """The probes of one kind: those that are waited for, in order of producing, and those that were seen."""

    waiting: dict[str, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def produced(self, name: str) -> None:
        """A probe is about to be produced."""
        self.waiting[name] = time.time()

    def seen(self, name: str) -> None:
        """A probe has come through."""
        produced_at = self.waiting.pop(name, None)
        if produced_at is not None:
            self.samples.append(Sample(produced_at, (time.time() - produced_at) * 1000))


class Probes(threading.Thread):
    """Sends and watches until told to stop, on a loop of its own.

    ``alarms`` is how many alerts can be made to fire; each needs a campaign that is prepared beforehand.
    """

    def __init__(self, settings: Settings, broker: str, alarms: int) -> None:
        super().__init__(name="probes", daemon=True)
        self.series = {FRESH: Series(), BUSY: Series(), ALARM: Series()}
        self.counts: Counts = {"all:all": Counter()}
        self.prepared: Counts = {}
        """What Redis must show before the alarms can be told."""
        self._settings = settings
        self._fetch_wait_ms = FETCH_WAIT_MS[broker]
        self._alarms = [f"probe-alarm-{number}" for number in range(alarms)]
        self._rule = next(rule for rule in load_rules().rules if rule.name == RULE)
        self._chance = random.Random(SEED)
        self._customers = 0
        self._preparing = threading.Event()
        self._probing = threading.Event()
        self._ending = threading.Event()
        self._problem: BaseException | None = None

    def wait_until_prepared(self, seconds: float) -> None:
        """Wait until the events that prepare the alarms are on their topics."""
        assert self._preparing.wait(seconds), f"the alarms were not prepared within {seconds} s"
        self._raise_problem()

    def begin(self) -> None:
        """Probe from now on."""
        self._probing.set()

    def finish(self, seconds: float) -> None:
        """Probe no more, and wait until all that were sent have been seen."""
        self._ending.set()
        self.join(seconds)
        self._raise_problem()
        unseen = {name: len(series.waiting) for name, series in self.series.items() if series.waiting}
        assert not self.is_alive() and not unseen, f"probes not seen within {seconds} s: {unseen or 'some'}"

    def run(self) -> None:
        """Everything that the thread does."""
        try:
            asyncio.run(self._run())
        except BaseException as problem:
            self._problem = problem
        finally:
            self._preparing.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ending.set()
        self._probing.set()
        for series in self.series.values():
            series.waiting.clear()
        self.join(10)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    async def _run(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._settings.kafka, linger_ms=0, acks=1)
        await producer.start()
        try:
            await self._prepare(producer)
            self._preparing.set()
            await asyncio.to_thread(self._probing.wait)
            watching = [asyncio.create_task(watch()) for watch in (self._watch_redis, self._watch_alerts)]
            await asyncio.gather(
                self._pace(FRESH_A_SECOND, lambda: self._send_fresh(producer)),
                self._pace(BUSY_A_SECOND, lambda: self._send_busy(producer)),
                self._pace(ALARMS_A_SECOND, lambda: self._send_alarm(producer)),
                *watching,
            )
        finally:
            await producer.stop()

    # --- what is sent

    async def _prepare(self, producer: Any) -> None:
        deliveries, optouts = evidence(self._rule)
        for campaign in self._alarms:
            for _ in range(deliveries):
                await self._send(producer, "email.delivered", campaign)
            for _ in range(optouts - 1):
                await self._send(producer, "email.opted_out", campaign)
            self.prepared[f"campaign:{campaign}"] = Counter(self.counts[f"campaign:{campaign}"])
        await producer.flush()

    async def _pace(self, a_second: float, send: Callable[[], Awaitable[None]]) -> None:
        while not self._ending.is_set():
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) / a_second)
            await send()

    async def _send_fresh(self, producer: Any) -> None:
        campaign = f"probe-{self._customers}"
        self.series[FRESH].produced(campaign)
        await self._send(producer, "email.delivered", campaign)

    async def _send_busy(self, producer: Any) -> None:
        number = self.counts.get(f"campaign:{BUSY_KEY}", Counter())["deliveries"] + 1
        self.series[BUSY].produced(str(number))
        await self._send(producer, "email.delivered", BUSY_KEY, "probe-busy")

    async def _send_alarm(self, producer: Any) -> None:
        if self._alarms:
            campaign = self._alarms.pop()
            self.series[ALARM].produced(campaign)
            await self._send(producer, "email.opted_out", campaign)

    async def _send(self, producer: Any, kind: str, campaign: str, customer: str = "") -> None:
        self._customers += 1
        customer = customer or f"probe-{self._customers}"
        item = event(kind, customer, now_ms(), campaign_id=campaign)
        topic = self._settings.topic(EVENT_TYPES[kind].topic)
        key = customer.encode()
        partition = partition_of(key, self._settings.partitions)
        await producer.send(topic, json.dumps(item).encode(), key, partition)
        name = "deliveries" if kind == "email.delivered" else "optouts"
        for place in ("all:all", f"campaign:{campaign}"):
            self.counts.setdefault(place, Counter())[name] += 1

    # --- what is seen

    def _is_over(self, *names: str) -> bool:
        return self._ending.is_set() and not any(self.series[name].waiting for name in names)

    async def _watch_redis(self) -> None:
        client = redis.Redis.from_url(self._settings.redis.get_secret_value())
        stem = f"{self._settings.redis_prefix}metrics:campaign:"
        fresh, busy = self.series[FRESH], self.series[BUSY]
        try:
            while not self._is_over(FRESH, BUSY):
                names = list(islice(fresh.waiting, MOST_WATCHED))
                pipeline = client.pipeline(transaction=False)
                for name in [*names, BUSY_KEY]:
                    pipeline.hget(stem + name, "total.deliveries")
                *found, counted = await pipeline.execute()
                for name, held in zip(names, found, strict=True):
                    if held is not None:
                        fresh.seen(name)
                for name in _up_to(busy, int(counted or 0)):
                    busy.seen(name)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await client.aclose()

    async def _watch_alerts(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka,
            enable_auto_commit=False,
            fetch_max_wait_ms=self._fetch_wait_ms,
        )
        await consumer.start()
        try:
            topic = self._settings.topic(alert_topic(self._rule.kind))
            places = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            while not self._is_over(ALARM):
                found = await consumer.getmany(timeout_ms=self._fetch_wait_ms)
                for record in (record for records in found.values() for record in records):
                    alert: Json = json.loads(record.value)
                    if (alert["rule"], alert["state"]) == (RULE, "firing"):
                        self.series[ALARM].seen(alert["key"])
        finally:
            await consumer.stop()


def evidence(rule: Rule) -> tuple[int, int]:
    """How many deliveries and how many opt-outs just make a rule over opt-outs fire."""
    deliveries = rule.minimum_evidence
    mildest, window = rule.levels[0][1], rule.denominator_window
    tried = range(1, deliveries)
    fires = (optouts for optouts in tried if is_beyond(mildest, rule.direction, optouts, deliveries, window))
    return deliveries, next(fires)


def _up_to(series: Series, number: int) -> Iterator[str]:
    """Those that are waited for and bear at most this number."""
    return iter([name for name in series.waiting if int(name) <= number])
