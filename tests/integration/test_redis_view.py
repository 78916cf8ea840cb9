"""Redis is a view: gone, emptied or restarted, it is right again within ten seconds, and counting goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from stream_app.clock import DAY_MS, HOUR_MS, SECOND_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.lease import Lease
from stream_app.metrics.snapshots import Snapshot, take_snapshot
from stream_app.metrics.windows import MergedKey
from stream_app.settings import load_settings
from stream_app.sinks.redis_view import CustomerRisk, FiringAlert, RedisView
from tests.support.brokers import Broker
from tests.support.programs import (
    Crew,
    Installation,
    Json,
    LastSnapshots,
    Worker,
    installation,
    wait_until,
)
from tests.support.traffic import Sender, customers, delivered, event, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
SOON = 10.0
START = now_ms() // 10_000 * 10_000 - DAY_MS
GOOD_ALERT = b'{"dimension":"campaign","key":"x"}'
LEAVING = next(customers(0, PARTITIONS, "leaving"))
RULES = """
[[rule]]
name = "optout-rate"
kind = "optout"
dimension = "campaign"
metric = "optout_rate"
window = "total"
warning = 0.1
resolve = 0.05
minimum_denominator = 10

[churn]
name = "churn-risk"
bands = { watch = 0.5, at_risk = 0.7, lost = 0.9 }
alert_from = "at_risk"
resolve = 0.45
severity = { at_risk = "warning", lost = "critical" }
"""


@dataclass
class Scene:
    """A worker that counts, and a Redis that comes and goes."""

    place: Installation
    worker: Worker
    server: EmbeddedRedis
    sender: Sender
    snapshots: LastSnapshots
    sent: int = 0

    def deliver(self, count: int) -> None:
        """Send deliveries and wait until they are on the metrics topic."""
        people = one_in_each(PARTITIONS)
        self.sender.send(*(delivered(people[n % PARTITIONS], START, "counted") for n in range(count)))
        self.sender.flush()
        self.sent += count
        wait_until(
            lambda: self.snapshots.total("campaign:counted", "deliveries") == self.sent,
            SOON,
            "all is counted",
        )

    def wait_until_right(self) -> None:
        """Wait until Redis shows what the metrics topic says, and who is at risk and what fires."""
        client = redis.Redis.from_url(self.server.url, decode_responses=True, socket_timeout=2)
        wait_until(lambda: self._wrong(client) == [], SOON, "the view is right")
        client.close()

    def _wrong(self, client: Any) -> list[str]:
        prefix = self.place.settings.redis_prefix
        try:
            wrong = [
                name for name, s in self.snapshots.update().items() if not _shown(client, prefix, name, s)
            ]
            firing = [json.loads(data)["kind"] for data in client.hvals(f"{prefix}alerts:firing")]
            if sorted(firing) != ["churn", "optout"]:
                wrong.append("alerts:firing")
            if client.zrange(f"{prefix}churn", 0, -1) != [LEAVING]:
                wrong.append("churn")
            if client.hget(f"{prefix}customer:{LEAVING}", "band") != "at_risk":
                wrong.append("customer")
        except redis.RedisError as problem:
            return [str(problem)]
        return wrong


def _shown(client: Any, prefix: str, name: str, snapshot: Json) -> bool:
    dimension, _, key = name.partition(":")
    fields = client.hgetall(f"{prefix}metrics:{name}")
    wanted = {
        f"{window}.{count}": value
        for window, view in snapshot["windows"].items()
        for count, value in view["counts"].items()
    }
    same = bool(fields) and all(json.loads(fields[field]) == value for field, value in wanted.items())
    listed = client.zscore(f"{prefix}index:{dimension}", key) is not None
    return (
        same and listed and fields["as_of"] == snapshot["as_of"] and client.ttl(f"{prefix}metrics:{name}") > 0
    )


@pytest.fixture(scope="module")
def scene(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory: Path = tmp_path_factory.mktemp("redis_view")
    rules = directory / "rules.toml"
    rules.write_text(RULES, "utf-8")
    with EmbeddedRedis() as server:
        server.stop()  # it has an address, and nothing is there
        place = installation(broker.address, server.url, directory, rules=str(rules))
        with Crew(place, directory) as crew, Sender(place.settings) as sender:
            worker = crew.start()
            snapshots = LastSnapshots(place.address, place.settings.prefix)
            _begin(sender)
            yield Scene(place, worker, server, sender, snapshots)
            assert worker.alive, worker.log.read_text()
            snapshots.close()


def _begin(sender: Sender) -> None:
    """A campaign that people leave, and a customer who slips away."""
    for number in range(40):
        sender.send(delivered(f"person-{number}", START, "bad"))
        if number % 2:
            sender.send(event("email.opted_out", f"person-{number}", START + SECOND_MS, campaign_id="bad"))
    sender.send(event("email.opened", LEAVING, START, campaign_id="first"))
    sender.send(*(delivered(LEAVING, START + n * SECOND_MS, f"unread-{n}") for n in range(1, 7)))
    sender.send(event("ticket.opened", LEAVING, START + SECOND_MS, ticket_id="t"))
    sender.flush()


def test_counting_starts_without_redis_and_the_view_is_right_when_it_comes(scene: Scene) -> None:
    scene.deliver(10)
    assert scene.worker.said("Redis is away") >= 1
    scene.server.start()
    scene.wait_until_right()


def test_an_emptied_redis_is_right_again_without_a_restart(scene: Scene) -> None:
    scene.server.start()
    scene.wait_until_right()
    with redis.Redis.from_url(scene.server.url) as client:
        client.flushall()
    scene.wait_until_right()


def test_counting_goes_on_while_redis_is_away_and_is_shown_when_it_is_back_and_empty(scene: Scene) -> None:
    scene.server.start()
    scene.deliver(10)
    scene.server.stop()
    scene.deliver(10)
    scene.server.start()
    scene.wait_until_right()


def test_a_redis_that_hangs_stops_no_counting(scene: Scene) -> None:
    scene.server.start()
    scene.server.pause()
    try:
        scene.deliver(10)
    finally:
        scene.server.resume()
    scene.wait_until_right()


# --- The view by itself: what others leave in Redis ---------------------------------------------------------


@dataclass
class Alone:
    """A view without a worker behind it, and what it is to hold."""

    server: EmbeddedRedis
    held: list[Snapshot | FiringAlert | CustomerRisk] = field(default_factory=list)
    refills: int = 0

    def __post_init__(self) -> None:
        settings = load_settings(redis=self.server.url, prefix=f"alone-{uuid4().hex}.")
        self.prefix = settings.redis_prefix
        self.client: Any = redis.Redis.from_url(self.server.url)
        self.view = RedisView(settings, Lease(HOUR_MS), self.everything, lambda dimension, key: True)

    async def everything(self) -> AsyncIterator[Snapshot | FiringAlert | CustomerRisk | None]:
        self.refills += 1
        for item in list(self.held):
            yield item
            await asyncio.sleep(0)

    async def until(self, right: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(SOON):
            while not right():
                assert not self.running.done(), self.running
                await asyncio.sleep(0.02)
        assert right(), what

    def start(self) -> None:
        self.running = asyncio.create_task(self.view.run())


class AmidARefill(Alone):
    """What comes while a refill goes on, which ends once that is shown."""

    async def everything(self) -> AsyncIterator[Snapshot | FiringAlert | CustomerRisk | None]:
        """An alert that fires, until it resolves; a customer at risk, until they are not; one of each that come; and at
        last one of each as they were when the refill began."""
        yield FiringAlert("over", GOOD_ALERT)
        yield a_risk("stays after all", "new")
        self.view.show(FiringAlert("over", None))
        self.view.show(FiringAlert("new", GOOD_ALERT))
        self.view.show(a_risk("stays after all", "new", band=None))
        self.view.show(a_risk("leaves", "new"))
        self.view.show(FiringAlert("over before its turn", None))
        self.view.show(a_risk("stays before their turn", "new", band=None))
        async with asyncio.timeout(SOON):
            while not self.client.hexists(f"{self.prefix}alerts:firing", "new"):
                yield None
                await asyncio.sleep(0.02)
        yield FiringAlert("over before its turn", GOOD_ALERT)
        yield a_risk("stays before their turn", "new")
        self.refills += 1


@asynccontextmanager
async def a_view(server: EmbeddedRedis, kind: type[Alone] = Alone) -> AsyncIterator[Alone]:
    alone = kind(server)
    try:
        yield alone
    finally:
        alone.running.cancel()
        await asyncio.gather(alone.running, return_exceptions=True)
        alone.client.close()


def a_snapshot(key: str) -> Snapshot:
    merged = MergedKey()
    merged.reach(START)
    return take_snapshot(f"campaign:{key}", merged, START)


def a_risk(customer_id: str, segment: str | None = None, band: str | None = "at_risk") -> CustomerRisk:
    return CustomerRisk(customer_id, 0.8, band, ("r",), START, segment)


async def test_a_customer_is_ranked_in_their_latest_segment_only(redis_server: EmbeddedRedis) -> None:
    async with a_view(redis_server) as alone:

        def ranked(segment: str) -> list[bytes]:
            members: list[bytes] = alone.client.zrange(f"{alone.prefix}churn:segment:{segment}", 0, -1)
            return members

        alone.held = [a_risk("ann", "new"), a_risk("bob", "new"), a_risk("cid")]
        alone.start()
        await alone.until(lambda: ranked("new") == [b"ann", b"bob"], "ranked")
        alone.view.show(a_risk("ann", "loyal"))
        alone.view.show(a_risk("ann", "vip"))  # before the first was written
        await alone.until(lambda: (ranked("new"), ranked("vip")) == ([b"bob"], [b"ann"]), "moved")
        assert ranked("loyal") == []
        assert alone.client.hget(f"{alone.prefix}customer:ann", "segment") == b"vip"
        alone.view.show(a_risk("bob", "new", band=None))
        await alone.until(lambda: ranked("new") == [], "no longer at risk")
        assert alone.client.zrange(f"{alone.prefix}churn", 0, -1) == [b"ann", b"cid"]


async def test_what_comes_amid_a_refill_is_shown_at_once_and_stays(redis_server: EmbeddedRedis) -> None:
    async with a_view(redis_server, AmidARefill) as alone:
        client, prefix = alone.client, alone.prefix
        client.hset(f"{prefix}alerts:firing", "stale", GOOD_ALERT)
        alone.start()
        await alone.until(
            lambda: not client.hexists(f"{prefix}alerts:firing", "stale"), "the refill has ended"
        )
        assert alone.refills == 1
        assert client.hkeys(f"{prefix}alerts:firing") == [b"new"]
        assert client.zrange(f"{prefix}churn", 0, -1) == [b"leaves"]
        assert client.zrange(f"{prefix}churn:segment:new", 0, -1) == [b"leaves"]


async def test_a_refill_is_given_up_for_the_next(redis_server: EmbeddedRedis) -> None:
    """As where shards have been taken over, and mergers come: what the first did not list is not taken away."""

    class TakenOverByTurns(Alone):
        async def everything(self) -> AsyncIterator[Snapshot | FiringAlert | CustomerRisk | None]:
            self.refills += 1
            if self.refills == 1:
                self.view.refill_soon()
                yield None
                self.refills = 100
            yield FiringAlert("fires", GOOD_ALERT)

    async with a_view(redis_server, TakenOverByTurns) as alone:
        alone.client.hset(f"{alone.prefix}alerts:firing", mapping={"fires": GOOD_ALERT, "stale": GOOD_ALERT})
        alone.start()
        await alone.until(
            lambda: alone.client.hkeys(f"{alone.prefix}alerts:firing") == [b"fires"], "the second has ended"
        )
        assert alone.refills == 2


async def test_a_refill_takes_customers_out_of_the_segments_they_have_left(
    redis_server: EmbeddedRedis,
) -> None:
    async with a_view(redis_server) as alone:
        client, rankings = alone.client, f"{alone.prefix}churn:segment:"
        alone.held = [a_risk("ann", "vip")]
        client.sadd(f"{alone.prefix}churn:segments", "new", "vip", "mended", b"\xff")
        client.zadd(f"{rankings}new", {"ann": 0.8, "gone": 0.7, b"\xff": 1})
        client.set(f"{rankings}mended", "mine")
        alone.start()
        await alone.until(lambda: not client.exists(f"{rankings}new"), "cleaned")
        assert client.zrange(f"{rankings}vip", 0, -1) == [b"ann"]
        assert client.get(f"{rankings}mended") == b"mine"


async def test_what_cannot_be_read_in_redis_is_removed(redis_server: EmbeddedRedis) -> None:
    async with a_view(redis_server) as alone:
        client, prefix = alone.client, alone.prefix
        alone.held = [FiringAlert("kept", GOOD_ALERT), a_risk("stays")]
        bad: dict[Any, bytes] = {
            "a": b"{",
            "b": b"{}",
            "c": b"[]",
            "d": b"7",
            "e": b'{"dimension":"customer","key":5}',
        }
        bad |= {"f": b"\xff", b"\xfe": GOOD_ALERT, "over": GOOD_ALERT}
        client.hset(f"{prefix}alerts:firing", mapping=bad)
        client.zadd(f"{prefix}churn", {b"\xff": 1, "gone": 1})
        client.hset(f"{prefix}customer:gone", "band", "lost")
        alone.start()
        await alone.until(lambda: client.hkeys(f"{prefix}alerts:firing") == [b"kept"], "alerts")
        await alone.until(lambda: client.zrange(f"{prefix}churn", 0, -1) == [b"stays"], "churn")
        await alone.until(lambda: not client.exists(f"{prefix}customer:gone"), "customer")
        assert client.hget(f"{prefix}customer:stays", "band") == b"at_risk"


async def test_another_type_at_a_key_is_told_and_kept_again_when_mended(
    redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_view(redis_server) as alone:
        client, prefix = alone.client, alone.prefix
        alone.held = [FiringAlert("f", b'{"dimension":"a","key":"b"}'), a_snapshot("one"), a_risk("c")]
        wrong = [f"{prefix}{name}" for name in ("alerts:firing", "alerts", "churn", "index:campaign")]
        for key in wrong:
            client.set(key, "mine")
        alone.view.tell(b"1")
        alone.start()
        await alone.until(lambda: bool(client.exists(f"{prefix}metrics:campaign:one")), "others are kept")
        await alone.until(lambda: all(f"DEL '{key}'" in caplog.text for key in wrong), "told")
        refills = alone.refills
        alone.view.tell(b"2")
        await asyncio.sleep(2.5)
        assert alone.refills == refills, "not all is written again and again"
        assert alone.view.available
        client.delete(*wrong)
        await alone.until(lambda: client.exists(*wrong) == len(wrong), "kept again")
        assert [fields[b"data"] for _, fields in client.xrange(f"{prefix}alerts")] == [b"1", b"2"]
        assert all(caplog.text.count(f"DEL '{key}'") == 1 for key in wrong)


async def test_a_redis_that_comes_from_an_old_dump_is_filled_again(redis_server: EmbeddedRedis) -> None:
    async with a_view(redis_server) as alone:
        client, prefix = alone.client, alone.prefix
        alone.held = [a_snapshot("one")]
        alone.start()
        await alone.until(lambda: bool(client.keys(f"{prefix}view:*")), "written")
        [marker] = client.keys(f"{prefix}view:*")
        await asyncio.sleep(1.5)
        assert alone.refills == 1
        old = client.dump(marker)
        await asyncio.sleep(1.5)
        client.restore(marker, 3_600_000, old, replace=True)  # as a dump would bring it back
        client.delete(f"{prefix}metrics:campaign:one")
        await alone.until(lambda: bool(client.exists(f"{prefix}metrics:campaign:one")), "refilled")
        await asyncio.sleep(1.5)
        assert alone.refills == 2


async def test_a_refill_keeps_the_times_of_last_change(redis_server: EmbeddedRedis) -> None:
    async with a_view(redis_server) as alone:
        client, index = alone.client, f"{alone.prefix}index:campaign"
        alone.held = [a_snapshot("one"), a_snapshot("two"), a_snapshot("expired")]
        before, long_ago = now_ms() - 1000, now_ms() - 2 * DAY_MS
        client.zadd(index, {"one": before, "expired": long_ago, "forgotten": long_ago})
        alone.start()
        await alone.until(lambda: client.zscore(index, "forgotten") is None, "trimmed")
        await alone.until(lambda: client.zcard(index) == 3, "listed")
        assert client.zscore(index, "one") == before
        assert client.zscore(index, "two") > before
        assert client.zscore(index, "expired") > before
        alone.view.show(a_snapshot("one"))
        await alone.until(lambda: client.zscore(index, "one") > before, "changed")


async def test_the_stream_says_everything_once_when_redis_refuses_for_a_while(
    redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_view(redis_server) as alone:
        client, prefix = alone.client, alone.prefix
        alone.start()
        try:
            for number in range(400):
                alone.view.tell(b"%d" % number)
                if number == 200:
                    await asyncio.sleep(0.3)
                    client.config_set("maxmemory", 1)
                    await alone.until(lambda: alone.view.available is False, "refused")
        finally:
            client.config_set("maxmemory", 0)
        await alone.until(lambda: client.xlen(f"{prefix}alerts") == 400, "all is said")
        said = [fields[b"data"] for _, fields in client.xrange(f"{prefix}alerts")]
        assert said == [b"%d" % number for number in range(400)]
        assert "Redis refuses" in caplog.text


async def test_what_was_appended_is_not_appended_again_when_the_rest_is_refused(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = RedisView._send
    refused = 0

    async def refuse_some(view: RedisView, client: Any, commands: Any) -> list[Any]:
        nonlocal refused
        half = len(commands) // 2
        if refused or not half:
            return await send(view, client, commands)
        refused = len(commands) - half
        return [*await send(view, client, commands[:half]), *[redis.ResponseError("OOM")] * refused]

    monkeypatch.setattr(RedisView, "_send", refuse_some)
    async with a_view(redis_server) as alone:
        for number in range(120):
            alone.view.tell(b"%d" % number)
        alone.start()
        await alone.until(lambda: alone.client.xlen(f"{alone.prefix}alerts") >= 120, "all is said")
        said = [fields[b"data"] for _, fields in alone.client.xrange(f"{alone.prefix}alerts")]
        assert refused
        assert said == [b"%d" % number for number in range(120)]
