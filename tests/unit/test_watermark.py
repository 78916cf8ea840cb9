"""A shard's time: what waits for whom, and who is not waited for."""

from __future__ import annotations

from random import Random

from stream_app.ingest.watermark import NO_TIME, Watermark

LATENESS, IDLE = 600_000, 30_000
CLOCK = 1_000_000_000
DAY = 86_400_000


def fresh(*topics: str) -> Watermark:
    return Watermark.fresh(topics or ("a", "b"), LATENESS, IDLE, CLOCK)


def read(
    watermark: Watermark, topic: str, time_ms: int, clock_ms: int = CLOCK, end: int | None = None
) -> bool:
    """One record arrives and is read; ``end`` is the end of its partition."""
    progress = watermark.partitions[topic]
    watermark.arrived(topic, max(end or 0, progress.next_offset + 1), clock_ms)
    progress.next_offset += 1
    progress.last_arrival_ms = clock_ms
    return watermark.observe(progress, time_ms)


def test_nothing_is_known_at_first_and_nothing_is_late() -> None:
    watermark = fresh()
    assert watermark.current_ms == 0
    assert not watermark.tick(CLOCK + 10 * DAY)
    assert watermark.current_ms == 0


def test_the_slowest_busy_partition_holds_time_back() -> None:
    watermark = fresh()
    assert not read(watermark, "a", 9 * DAY)
    assert watermark.current_ms == 0
    assert read(watermark, "b", 5 * DAY)
    assert watermark.current_ms == 5 * DAY - LATENESS
    assert not read(watermark, "a", 12 * DAY)
    assert read(watermark, "b", 11 * DAY)
    assert watermark.current_ms == 11 * DAY - LATENESS


def test_a_partition_that_is_read_to_its_end_and_silent_is_not_waited_for() -> None:
    watermark = fresh()
    read(watermark, "b", 5 * DAY)
    read(watermark, "a", 9 * DAY, CLOCK + IDLE - 1)
    assert watermark.current_ms == 5 * DAY - LATENESS
    assert not watermark.relies_on_ends(CLOCK + IDLE - 1)
    assert watermark.relies_on_ends(CLOCK + IDLE)
    assert watermark.tick(CLOCK + IDLE)
    assert watermark.current_ms == 9 * DAY - LATENESS


def test_a_record_that_waits_unread_in_a_quiet_partition_holds_time_back() -> None:
    watermark = fresh()
    read(watermark, "b", 5 * DAY)
    watermark.arrived("a", 1, CLOCK + IDLE)
    assert watermark.relies_on_ends(CLOCK + IDLE)
    watermark.confirm({"a": 1, "b": 2}, CLOCK + IDLE)
    assert not watermark.tick(CLOCK + IDLE)
    read(watermark, "a", 6 * DAY, CLOCK + IDLE)
    assert not watermark.tick(CLOCK + 100 * IDLE)
    assert not read(watermark, "a", 9 * DAY, CLOCK + 100 * IDLE)
    assert watermark.current_ms == 5 * DAY - LATENESS
    read(watermark, "b", 5 * DAY + 1, CLOCK + 100 * IDLE)
    assert watermark.current_ms == 5 * DAY + 1 - LATENESS


def test_a_partition_that_never_had_an_event_is_waited_for_until_it_is_idle() -> None:
    watermark = fresh()
    read(watermark, "a", 5 * DAY, CLOCK + IDLE - 1)
    assert watermark.current_ms == 0
    assert watermark.tick(CLOCK + IDLE)
    assert watermark.current_ms == 5 * DAY - LATENESS


def test_when_all_are_silent_time_goes_on_at_the_pace_of_the_clock() -> None:
    watermark = fresh()
    read(watermark, "a", 5 * DAY)
    read(watermark, "b", 4 * DAY, CLOCK + 10_000)
    silent = CLOCK + 10_000 + IDLE
    watermark.tick(silent)
    assert watermark.current_ms == 5 * DAY - LATENESS
    assert watermark.tick(silent + 1)
    assert watermark.tick(silent + 77_000)
    assert watermark.current_ms == 5 * DAY - LATENESS + 77_000


def test_after_a_silence_busy_partitions_hold_time_back_again_and_it_never_goes_back() -> None:
    watermark = fresh()
    read(watermark, "a", 5 * DAY)
    read(watermark, "b", 5 * DAY)
    watermark.tick(CLOCK + IDLE + DAY)
    reached = watermark.current_ms
    assert reached == 6 * DAY - LATENESS
    assert not read(watermark, "a", 5 * DAY + 1, CLOCK + IDLE + DAY)
    assert not watermark.tick(CLOCK + IDLE + DAY + 1)
    assert watermark.current_ms == reached


def test_a_clock_that_steps_back_changes_nothing() -> None:
    watermark = fresh()
    read(watermark, "a", 5 * DAY)
    watermark.tick(CLOCK + 2 * IDLE)
    reached = watermark.current_ms
    assert not watermark.tick(CLOCK - DAY)
    assert watermark.current_ms == reached


def test_a_producer_of_nothing_but_bad_records_does_not_hold_up_time() -> None:
    watermark = fresh()
    read(watermark, "b", 5 * DAY)
    read(watermark, "a", 9 * DAY, CLOCK + IDLE)
    progress = watermark.partitions["b"]
    watermark.arrived("b", progress.next_offset + 1, CLOCK + IDLE)
    progress.next_offset += 1  # read, and not accepted
    watermark.tick(CLOCK + IDLE)
    read(watermark, "a", 9 * DAY + 7, CLOCK + IDLE)
    assert watermark.current_ms == 9 * DAY + 7 - LATENESS


def test_an_end_that_is_older_than_what_is_known_changes_nothing() -> None:
    watermark = fresh()
    watermark.confirm({"a": 9}, CLOCK)
    watermark.confirm({"a": 3}, CLOCK)
    assert watermark.partitions["a"].end_offset == 9


def test_the_ends_are_looked_at_again_while_what_was_seen_there_has_not_come() -> None:
    watermark = fresh("a", "b")
    read(watermark, "a", 5 * DAY)
    read(watermark, "b", 5 * DAY)
    watermark.confirm({"a": 2, "b": 2}, CLOCK)
    assert not watermark.relies_on_ends(CLOCK + IDLE - 1)
    assert watermark.relies_on_ends(CLOCK + IDLE)
    assert not watermark.tick(CLOCK + IDLE + DAY), "something is unread, so both are waited for"


def test_a_partition_that_ends_in_what_is_no_record_is_not_waited_for() -> None:
    watermark = fresh("a", "b")
    read(watermark, "b", 5 * DAY)
    read(watermark, "a", 5 * DAY)
    watermark.confirm({"a": 3, "b": 1}, CLOCK)
    read(watermark, "b", 9 * DAY, CLOCK + IDLE)
    assert not watermark.tick(CLOCK + IDLE)
    assert watermark.current_ms == 5 * DAY - LATENESS
    assert watermark.pass_over("a", 3) == 2
    assert watermark.tick(CLOCK + IDLE)
    assert watermark.current_ms == 9 * DAY - LATENESS


def test_what_an_open_transaction_holds_back_is_waited_for() -> None:
    watermark = fresh("a", "b")
    read(watermark, "b", 5 * DAY)
    read(watermark, "a", 5 * DAY)
    watermark.pass_over("a", 2)  # the marker of an earlier one
    watermark.confirm({"a": 4, "b": 1}, CLOCK)
    read(watermark, "b", 9 * DAY, CLOCK + IDLE)
    assert not watermark.tick(CLOCK + 100 * IDLE)
    assert watermark.current_ms == 5 * DAY - LATENESS


def test_an_answer_from_before_a_partition_was_read_further_takes_nothing_back() -> None:
    watermark = fresh("a", "b")
    for _ in range(3):
        read(watermark, "a", 5 * DAY)
    assert watermark.pass_over("a", 2) == 0
    assert watermark.partitions["a"].next_offset == 3


def test_a_broker_that_gave_no_answer_for_any_partition_is_asked_again() -> None:
    watermark = fresh("a", "b")
    assert not watermark.relies_on_ends(CLOCK)
    watermark.confirm({}, CLOCK)
    assert watermark.relies_on_ends(CLOCK)
    watermark.confirm({"a": 0, "b": 0}, CLOCK)
    assert not watermark.relies_on_ends(CLOCK)


def test_whatever_happens_time_never_goes_back_and_never_passes_the_newest_of_a_busy_partition() -> None:
    for seed in range(200):
        random = Random(seed)
        watermark, clock_ms, reached = fresh("a", "b", "c"), CLOCK, 0
        for _ in range(60):
            clock_ms += random.choice([0, 1, 1_000, IDLE - 1, IDLE])
            topic = random.choice("abc")
            if random.random() < 0.6:
                moved = read(watermark, topic, 5 * DAY + random.randint(0, DAY), clock_ms)
            elif random.random() < 0.5:
                end = watermark.partitions[topic].next_offset + random.randint(0, 1)
                watermark.confirm({topic: end}, clock_ms)
                moved = False
            else:
                moved = watermark.tick(clock_ms)
            busy = [p for p in watermark.partitions.values() if not p.is_idle(clock_ms, IDLE)]
            if moved and busy:
                slowest = min(p.newest_ms for p in busy)
                assert slowest != NO_TIME and watermark.current_ms <= slowest - LATENESS
            assert moved == (watermark.current_ms > reached)
            assert watermark.current_ms >= reached
            reached = watermark.current_ms
