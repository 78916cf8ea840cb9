"""Whoever takes a station over tells what its last owner did not come to tell, and nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from stream_app.alerts.lifecycle import AlertChange, fingerprint
from stream_app.alerts.message import alert_id
from stream_app.lease import Lease
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from stream_app.sinks.publisher import OutRecord, Publisher
from stream_app.sinks.redis_view import FiringAlert, RedisView
from stream_app.sinks.topic_admin import ensure_topics
from stream_app.stations.alert_teller import AlertTeller, in_turns
from tests.support.programs import TopicReader, headers_of, wait_until

pytestmark = pytest.mark.integration

SPIKE = AlertChange(
    fingerprint="", rule="optout-spike", kind="optout", state="firing", severity="critical",
    dimension="campaign", key="", started_at_ms=1_795_341_600_000, as_of_ms=1_795_341_600_000,
    metric="optout_rate", window="1h", denominator_window="total", value=0.02, threshold=0.01, resolve=0.003,
    numerator=30.0, denominator=1500.0, low=0.0148, high=0.0296, evidence="enough",
)  # fmt: skip


def spike(campaign: str) -> AlertChange:
    return msgspec.structs.replace(
        SPIKE, key=campaign, fingerprint=fingerprint("optout-spike", "campaign", campaign)
    )


def ids_on(settings: Settings, at_least: int) -> Counter[str]:
    reader = TopicReader(settings.kafka, settings.topic("alerts.optout"))
    wait_until(lambda: reader.read(200) is None or len(reader.records) >= at_least, 20, "alerts are told")
    reader.read(500)
    reader.close()
    return Counter(headers_of(record)["ce_id"] for record in reader.records)


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    ensure_topics(settings)
    publisher = Publisher(settings, Lease(settings.session_timeout))
    await publisher.start()
    yield publisher
    await publisher.stop()


def new_owner(settings: Settings, publisher: Publisher, told: dict[str, int]) -> AlertTeller:
    async def nothing() -> AsyncIterator[FiringAlert]:
        for alert in list[FiringAlert]():
            yield alert

    view = RedisView(settings, Lease(settings.session_timeout), nothing, lambda dimension, key: True)
    return AlertTeller(settings, publisher, view, told)


@pytest.mark.parametrize("knows", [True, False])
async def test_the_rest_of_an_outbox_is_told_once(
    settings: Settings, publisher: Publisher, knows: bool
) -> None:
    """The last owner came to tell every other change; the next knows where it began, or nothing."""
    outbox = [spike(f"campaign-{number}") for number in range(20)]
    first = new_owner(settings, publisher, {})
    await first.tell([spike("before")])
    before = dict(first.told) if knows else {}
    await first.tell(outbox[::2])
    await new_owner(settings, publisher, before).tell_the_rest(outbox)
    assert ids_on(settings, 21) == Counter(map(alert_id, [spike("before"), *outbox]))


def test_changes_of_one_alert_are_never_written_together() -> None:
    a, b, c = map(spike, "abc")
    over = msgspec.structs.replace(a, state="resolved", ended_at_ms=a.started_at_ms + 1)
    again = msgspec.structs.replace(a, started_at_ms=a.started_at_ms + 2)
    assert in_turns([a, b, over, c, again]) == [[a, b, c], [over], [again]]
    assert in_turns([]) == []


async def test_only_the_partitions_of_the_outbox_are_read(settings: Settings, publisher: Publisher) -> None:
    """What stands elsewhere is not looked at: its id, put into another partition by hand, holds nothing back."""
    change = spike("summer")
    elsewhere = (partition_of(change.fingerprint.encode(), settings.partitions) + 1) % settings.partitions
    misplaced = [("ce_id", alert_id(change).encode())]
    await publisher.write([OutRecord(settings.topic("alerts.optout"), b"k", b"{}", elsewhere, misplaced)])
    await new_owner(settings, publisher, {}).tell_the_rest([change])
    assert ids_on(settings, 2) == Counter({alert_id(change): 2})
