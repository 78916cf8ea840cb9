"""Which assignments open their partitions: Faust goes on with one that another has overtaken."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from faust.types import TP

from stream_app.alerts.rules import load_rules
from stream_app.ingest.topic_specs import SHARDS_TABLE
from stream_app.lease import Lease
from stream_app.settings import load_settings
from stream_app.state.journal import Journal
from stream_app.state.slices import MemoryStore
from stream_app.state.tables import JournalStore
from stream_app.topology import SignalsApp, build_app

PLACES = {TP("shards-changelog", 0), TP("shards-changelog", 3)}


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


async def test_what_was_assigned_is_opened_with_journals_that_are_still_to_be_read() -> None:
    app, store, opening = new_app()
    await store.on_rebalance(PLACES, set(), PLACES)
    await store.on_recovery_completed(PLACES, set())
    journals, lost = opening.taken[0]
    assert {number: journal.end_offset for number, journal in journals.items()} == {0: 0, 3: 0}
    assert lost is app.engine.handover.lost


async def test_what_stays_at_a_rebalance_is_read_anew() -> None:
    _, store, opening = new_app()
    for _ in range(2):
        await store.on_rebalance(PLACES, set(), set())
        await store.on_recovery_completed(PLACES, set())
    (first, _), (second, _) = opening.taken
    assert first.keys() == second.keys()
    assert all(first[number] is not second[number] for number in first)


async def test_faust_is_left_nothing_to_recover() -> None:
    app, store, _ = new_app()
    recovery = cast(Any, app.tables).recovery
    for place in PLACES:
        recovery.add_active(store.table, place)
    assert not recovery.need_recovery()
    assert recovery.actives_for_table[store.table] == PLACES


async def test_an_assignment_that_another_has_overtaken_opens_nothing() -> None:
    app, _, opening = new_app()
    app.consumer_generation_id = 2
    await cast(Any, app.tables).recovery.on_recovery_completed(generation_id=1)
    assert not opening.taken
