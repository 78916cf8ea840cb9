"""Producers that write in transactions: what they abort is not counted, and their markers do not hold up time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stream_app.clock import HOUR_MS, MINUTE_MS, now_ms
from stream_app.dev import EmbeddedRedis
from stream_app.settings import Settings
from tests.oracle.batch import compute
from tests.support.brokers import Broker
from tests.support.comparison import to_ms
from tests.support.programs import Crew, LastSnapshots, TopicReader, installation, wait_until
from tests.support.traffic import Sender, delivered, event, one_in_each

pytestmark = pytest.mark.integration

PARTITIONS = 4
IDLE_SECONDS = 1.0
STUCK_AFTER = 10
PEOPLE = one_in_each(PARTITIONS)


class Transactions(Sender):
    """Sends in transactions, one after another; what is aborted was never sent, as far as the oracle knows."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            settings, enable_idempotence=True, transactional_id=f"{settings.prefix}sender", acks="all"
        )
        self._producer.init_transactions()
        self._kept = 0

    def begin(self, *events: dict[str, Any]) -> None:
        """Write events and leave the transaction open."""
        self._kept = len(self.records)
        self._producer.begin_transaction()
        self.send(*events)
        self.flush()

    def commit(self, *events: dict[str, Any]) -> None:
        """Write more events, and let all of the transaction count."""
        self.send(*events)
        self.flush()
        self._producer.commit_transaction()

    def abort(self) -> None:
        """Let nothing of the transaction count."""
        self._producer.abort_transaction()
        del self.records[self._kept :]


@dataclass
class Scene:
    """A running worker, two producers, and readers of what it publishes."""

    crew: Crew
    sender: Sender
    transactions: Transactions
    snapshots: LastSnapshots
    letters: TopicReader

    def abandoned(self) -> int:
        """How many carts were abandoned so far."""
        return self.snapshots.total("all:all", "carts_abandoned") or 0

    def check(self) -> None:
        """Every window of every key is that of the oracle, and nothing was refused."""
        watermark_ms = to_ms(self.snapshots.by_key["all:all"]["watermark"])
        expected = compute([*self.sender.records, *self.transactions.records], now_ms=watermark_ms)
        self.snapshots.wait_until_exact(expected, 20)
        self.letters.read(500)
        assert not self.letters.records


@pytest.fixture
def scene(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Scene]:
    if broker.name == "embedded":
        pytest.skip("the embedded broker cannot abort a transaction")
    place = installation(
        broker.address, redis_server.url, tmp_path, idle_timeout="1s", stuck_after=f"{STUCK_AFTER}s"
    )
    with (
        Crew(place, tmp_path) as crew,
        Sender(place.settings) as sender,
    ):
        crew.start()
        with Transactions(place.settings) as transactions:
            snapshots = LastSnapshots(place.address, place.settings.prefix, PARTITIONS)
            letters = TopicReader(place.address, place.topic("deadletters"), PARTITIONS)
            yield Scene(crew, sender, transactions, snapshots, letters)
            snapshots.close()
            letters.close()


def of_all(event_type: str, time_ms: int, **fields: Any) -> list[dict[str, Any]]:
    """An event of a customer in each partition."""
    return [event(event_type, person, time_ms, **fields) for person in PEOPLE]


def carts(time_ms: int, cart: str) -> list[dict[str, Any]]:
    """A cart in each partition."""
    return of_all("cart.updated", time_ms, cart_id=cart, items=1, value=2.5, currency="EUR")


@pytest.mark.parametrize("moment", ["at once", "after a restart"])
def test_a_partition_that_ends_in_a_marker_does_not_hold_up_time(scene: Scene, moment: str) -> None:
    start = now_ms() - 24 * HOUR_MS
    scene.transactions.begin(*(delivered(person, start) for person in PEOPLE))
    scene.transactions.commit()
    scene.sender.send(*carts(start, "left"))
    scene.sender.flush()
    wait_until(lambda: scene.snapshots.total("all:all", "deliveries") == len(PEOPLE), 20, "all is counted")
    if moment == "after a restart":
        scene.crew.workers[-1].kill()
        scene.crew.start()
    time.sleep(IDLE_SECONDS + 1)
    scene.sender.send(*of_all("email.opened", start + 3 * HOUR_MS, campaign_id="later"))
    scene.sender.flush()
    wait_until(lambda: scene.abandoned() == len(PEOPLE), 20, "time goes on, and the carts are left")
    scene.transactions.begin()
    scene.transactions.commit(*(delivered(person, start + 3 * HOUR_MS) for person in PEOPLE))
    scene.check()


def test_time_goes_on_by_the_clock_where_all_topics_end_in_markers(scene: Scene) -> None:
    start = now_ms() - 70 * MINUTE_MS  # so that a cart's hour and the lateness are over
    scene.transactions.begin(*carts(start, "left"))
    scene.transactions.commit(
        *(delivered(person, start) for person in PEOPLE),
        *of_all("email.opened", start, campaign_id="sentinel"),
        *of_all("email.clicked", start, campaign_id="sentinel"),
        *of_all("email.opted_out", start, campaign_id="sentinel"),
        *of_all("chat.started", start, chat_id="chat"),
        *of_all("ticket.opened", start, ticket_id="ticket"),
    )
    time.sleep(IDLE_SECONDS + 1)
    scene.transactions.begin()
    scene.transactions.commit(*of_all("email.opened", start + 70 * MINUTE_MS - 1, campaign_id="sentinel"))
    wait_until(lambda: scene.abandoned() == len(PEOPLE), 20, "time goes on, and the carts are left")
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["committed", "aborted"])
def test_an_open_transaction_is_waited_for_and_counted_only_if_it_is_committed(
    scene: Scene, end: str
) -> None:
    start = now_ms() - 24 * HOUR_MS
    scene.sender.send(*carts(start, "left"))
    scene.sender.flush()
    scene.transactions.begin(*(delivered(person, start + MINUTE_MS) for person in PEOPLE))
    time.sleep(IDLE_SECONDS + 1)
    for hours in range(STUCK_AFTER + 3):
        scene.sender.send(*of_all("email.opened", start + hours * HOUR_MS, campaign_id="later"))
        scene.sender.flush()
        time.sleep(1)
    opens = len(PEOPLE) * (STUCK_AFTER + 3)
    wait_until(lambda: scene.snapshots.total("all:all", "opens") == opens, 20, "other topics are counted")
    assert scene.abandoned() == 0, "what is written but not committed is not late"
    assert scene.snapshots.total("all:all", "deliveries") == 0
    assert scene.crew.workers[-1].alive, "an open transaction is no reason to be stuck"
    if end == "committed":
        scene.transactions.commit()
    else:
        scene.transactions.abort()
    wait_until(lambda: scene.abandoned() == len(PEOPLE), 20, "time goes on, and the carts are left")
    scene.check()
    assert scene.snapshots.total("all:all", "deliveries") == len(PEOPLE) * (end == "committed")
