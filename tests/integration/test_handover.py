"""Two workers are given the same partitions one soon after the other: neither ends for it, and one has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from stream_app.alerts.rules import load_rules
from stream_app.dev.servers import HOST, find_free_port
from stream_app.engine import Engine
from stream_app.failure import Failure
from stream_app.handover import Lost
from stream_app.ingest.topic_specs import MERGE_TABLE, SHARDS_TABLE
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.state.journal import Journal, nothing
from stream_app.state.shelf import Shelf
from stream_app.stations.base import read_journals

pytestmark = pytest.mark.integration

HEARS_AFTER_SECONDS = 0.3


@pytest.fixture
async def engines(settings: Settings) -> AsyncIterator[tuple[Engine, Engine]]:
    """Those of two workers, without a group that shares out partitions."""
    ensure_topics(settings)
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(running(settings)),
            await stack.enter_async_context(running(settings)),
        )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Engine]:
    changelogs = [f"{settings.group_id}-{table}-changelog" for table in (SHARDS_TABLE, MERGE_TABLE)]
    engine = Engine(
        settings,
        load_rules(settings=settings),
        (changelogs[0], changelogs[1]),
        Lease(settings.session_timeout),
    )
    await engine.publisher.start()
    yield engine
    await engine.stop()


def unread(settings: Settings) -> dict[int, Journal]:
    """The journals of all partitions, of which nothing was there to be read."""
    return {number: Journal(Shelf()) for number in range(settings.partitions)}


async def test_whoever_hears_that_it_lost_them_lets_go_and_the_other_has_them_all(
    settings: Settings, engines: tuple[Engine, Engine]
) -> None:
    loser, owner = engines

    async def hear() -> None:
        await asyncio.sleep(HEARS_AFTER_SECONDS)
        await loser.close()

    await asyncio.gather(
        loser.open_mergers(unread(settings), loser.handover.lost),
        owner.open_mergers(unread(settings), owner.handover.lost),
        hear(),
    )
    assert not loser.mergers
    assert sorted(owner.mergers) == list(range(settings.partitions))
    for merger in owner.mergers.values():
        await merger.flush()


async def test_what_is_recovered_only_when_it_is_lost_is_not_opened(
    settings: Settings, engines: tuple[Engine, Engine]
) -> None:
    """A recovery that was nearly done goes on amid a rebalance."""
    engine, _ = engines
    lost = engine.handover.lost
    await engine.close()
    await engine.open_mergers(unread(settings), lost)
    assert not engine.mergers
    await engine.open_mergers(unread(settings), engine.handover.lost)
    assert sorted(engine.mergers) == list(range(settings.partitions))


async def test_reading_that_comes_to_no_end_is_given_up_when_the_partitions_are_lost(
    settings: Settings, engines: tuple[Engine, Engine]
) -> None:
    """Whoever lets them go waits for it, and the whole group for them."""
    engine, _ = engines
    away = settings.model_copy(update={"kafka": f"{HOST}:{find_free_port()}"})
    lost = asyncio.Event()
    surroundings = engine._surroundings._replace(settings=away)
    reading = asyncio.create_task(read_journals(unread(settings), "journals", surroundings, lost))
    await asyncio.sleep(HEARS_AFTER_SECONDS)
    assert not reading.done()
    lost.set()
    with pytest.raises(Lost):
        await asyncio.wait_for(reading, 5)


async def test_a_journal_is_read_before_it_is_claimed(
    settings: Settings, engines: tuple[Engine, Engine]
) -> None:
    first, second = engines
    await first.open_mergers(unread(settings), first.handover.lost)
    for station in first.mergers.values():
        station.journal.shelf.changed("h:all:all", [1])
        await station.write_epoch(station.journal.shelf.write_down(), station.merger.header(), [], nothing)
    await first.close()
    await second.open_mergers(unread(settings), second.handover.lost)
    for station in second.mergers.values():
        assert station.journal.shelf.at_rest("h:all:all") == msgspec.msgpack.encode([1])


async def test_where_neither_hears_of_it_one_has_each_in_the_end(
    settings: Settings, engines: tuple[Engine, Engine]
) -> None:
    """Whoever claimed a partition first sees the other's claim when it next writes, and gives up."""
    await asyncio.gather(*(engine.open_mergers(unread(settings), engine.handover.lost) for engine in engines))
    for number in range(settings.partitions):
        owners = [engine for engine in engines if await still_owns(engine, number)]
        assert len(owners) == 1


async def still_owns(engine: Engine, number: int) -> bool:
    """Whether an engine can write an epoch of a merger."""
    station = engine.mergers[number]
    try:
        await station.write_epoch([], station.merger.header(), [], nothing)
    except Failure:
        return False
    return True
