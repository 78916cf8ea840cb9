"""Which recoveries are believed: Faust goes on with one that another assignment has overtaken."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from stream_app.alerts.rules import load_rules
from stream_app.ingest.topic_specs import SHARDS_TABLE
from stream_app.lease import Lease
from stream_app.settings import load_settings
from stream_app.state.journal import Journal
from stream_app.state.shelf import Shelf
from stream_app.state.slices import MemoryStore
from stream_app.state.tables import JournalStore
from stream_app.topology import SignalsApp, build_app

PLACES = {TP("shards-changelog", 0)}


class Opening:
    """What is opened, in place of the engine."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[int, Journal], asyncio.Event]] = []

    async def __call__(self, journals: dict[int, Journal], lost: asyncio.Event) -> None:
        self.taken.append((journals, lost))


def new_app() -> tuple[SignalsApp, JournalStore, Opening]:
    """The topology, connected to nothing, with the store of its shards and what it would open."""
    settings = load_settings()
    app = build_app(settings, load_rules(settings=settings), MemoryStore(), Lease(settings.session_timeout))
    table = next(cast(Any, table) for table in app.tables.values() if table.name == SHARDS_TABLE)
    table.open_partitions = opening = Opening()
    return app, table.data, opening


def replay(store: JournalStore) -> None:
    """A record of partition 0, as Faust hands it over."""
    record = Journal(Shelf()).claim("last owner")[0]
    message = SimpleNamespace(partition=0, key=record.key, value=record.value, offset=7)
    store.apply_changelog_batch(cast(Any, [SimpleNamespace(message=message)]), bytes, bytes)


async def test_what_was_replayed_since_the_assignment_is_opened() -> None:
    app, store, opening = new_app()
    await store.on_rebalance(PLACES, set(), PLACES)
    replay(store)
    await store.on_recovery_completed(PLACES, set())
    journals, lost = opening.taken[0]
    assert journals[0].end_offset == 8
    assert lost is app.engine.handover.lost


async def test_the_journals_of_a_recovery_that_overtook_another_are_handed_over_unread() -> None:
    """Whoever claims them reads them; and the recovery after that is believed again."""
    _, store, opening = new_app()
    for _ in range(2):
        await store.on_rebalance(PLACES, set(), PLACES)
        replay(store)
    await store.on_recovery_completed(PLACES, set())
    assert opening.taken[0][0][0].end_offset == 0
    await store.on_rebalance(PLACES, set(), set())
    replay(store)
    await store.on_recovery_completed(PLACES, set())
    assert opening.taken[1][0][0].end_offset == 8


async def test_a_recovery_that_another_assignment_has_overtaken_opens_nothing() -> None:
    app, _, opening = new_app()
    app.consumer_generation_id = 2
    await cast(Any, app.tables).recovery.on_recovery_completed(generation_id=1)
    assert not opening.taken
