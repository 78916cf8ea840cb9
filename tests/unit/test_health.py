"""What /live and /ready answer at every stage of a worker."""

from __future__ import annotations

import pytest

from stream_app.health import Health, Silence, Stage
from stream_app.lease import Block

SINCE_MS = 1_763_719_200_000


def test_a_worker_that_serves_is_live_and_ready() -> None:
    health = Health(Stage.SERVING, None, [0, 1], [0, 1], Block(0.083, 0.041))
    assert health.liveness() == (200, {"status": "live"})
    assert health.readiness() == (
        200,
        {
            "status": "ready",
            "reasons": [],
            "shards": [0, 1],
            "mergers": [0, 1],
            "longest_block_ms": 83,
            "longest_block_busy_ms": 41,
        },
    )


def test_a_worker_without_partitions_is_ready_too() -> None:
    status, body = Health(Stage.SERVING).readiness()
    assert (status, body["shards"], body["mergers"]) == (200, [], [])


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (Stage.STARTING, "connecting to Kafka"),
        (Stage.JOINING, "waiting for its share of the partitions"),
        (Stage.RECOVERING, "recovering partitions"),
        (Stage.STOPPING, "stopping"),
    ],
)
def test_a_worker_on_its_way_is_live_but_not_ready_and_says_why(stage: Stage, reason: str) -> None:
    status, body = Health(stage).readiness()
    assert (status, body["status"], body["reasons"]) == (503, "not ready", [reason])
    assert Health(stage).liveness() == (200, {"status": "live"})


def test_a_worker_that_cannot_go_on_is_neither() -> None:
    status, body = Health(Stage.FAILED).liveness()
    assert (status, body["status"]) == (503, "not live")
    assert Health(Stage.FAILED).readiness()[0] == 503


def test_a_worker_that_kafka_does_not_answer_is_live_but_not_ready_and_says_since_when() -> None:
    health = Health(Stage.SERVING, Silence(SINCE_MS), [2], [2])
    assert health.liveness()[0] == 200
    assert health.readiness() == (
        503,
        {
            "status": "not ready",
            "reasons": ["cannot reach Kafka since 2025-11-21T10:00:00.000Z"],
            "shards": [2],
            "mergers": [2],
            "longest_block_ms": 0,
            "longest_block_busy_ms": 0,
        },
    )


def test_every_reason_is_named() -> None:
    assert len(Health(Stage.RECOVERING, Silence(SINCE_MS)).reasons) == 2


def test_partitions_without_a_leader_are_told_from_a_kafka_that_is_away() -> None:
    status, body = Health(Stage.SERVING, Silence(SINCE_MS, 3)).readiness()
    assert status == 503
    assert body["reasons"] == [
        "Kafka has no leader that answers for 3 of the partitions since 2025-11-21T10:00:00.000Z"
    ]
