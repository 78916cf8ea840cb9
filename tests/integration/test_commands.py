"""The commands against a real broker and a real Redis, as a person or a script runs them."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaProducer

from stream_app.clock import now_ms
from stream_app.commands.reading import consumer, read_to_end
from stream_app.dev import EmbeddedRedis
from stream_app.ingest.topic_specs import input_topic_specs
from stream_app.settings import Settings, load_settings
from stream_app.sinks.ordered_sender import OrderedSender
from stream_app.sinks.partitioner import partition_of
from stream_app.sinks.redis_commands import CustomerRisk
from stream_app.sinks.topic_admin import check_topics, ensure_topics
from tests.integration.conftest import ROOT, CommandLine
from tests.support.brokers import Broker, BrokerMaker
from tests.support.shown import show

pytestmark = pytest.mark.integration


def opened(number: int, customer: str) -> dict[str, Any]:
    return {
        "event_id": f"open-{number}",
        "event_type": "email.opened",
        "event_time": "2026-01-22T10:00:00.000Z",
        "customer_id": customer,
        "campaign_id": "spring",
    }


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def records(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic, in the order of partition and offset."""
    with consumer(settings, [settings.topic(topic)]) as reader:
        return sorted(read_to_end(reader), key=lambda record: (record.partition, record.offset))


def publish(
    settings: Settings,
    topic: str,
    value: bytes,
    key: bytes | None = None,
    headers: dict[str, str] | None = None,
    partition: int | None = None,
) -> None:
    with KafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False) as producer:
        encoded = [(name, text.encode()) for name, text in (headers or {}).items()]
        producer.send(settings.topic(topic), value, key, encoded, partition).get(10)


def bury(settings: Settings, reason: str, value: bytes, key: bytes | None = b"c1", **more: str) -> None:
    headers = {"reason": reason, "detail": f"it is {reason}", "topic": settings.topic("email.opens")}
    headers |= {"partition": "1", "offset": "7"} | more
    publish(settings, "deadletters", value, key, headers, partition=0)


@contextmanager
def started(
    environment: dict[str, str], *arguments: str, first_line_of: str = ""
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# --- topics ---


def test_topics_are_created_once_and_then_found(settings: Settings, stream_app: CommandLine) -> None:
    missing = stream_app("topics", "check")
    assert missing.returncode == 1
    assert "missing; run `stream-app topics create`" in missing.stderr
    created = stream_app("topics", "create")
    assert created.returncode == 0, created.stderr
    assert "18 created, 0 were there already" in created.stdout
    again = stream_app("topics", "create", "--json")
    assert again.returncode == 0
    states = {line["topic"]: line for line in map(json.loads, again.stdout.splitlines())}
    assert states[settings.topic("carts")] == {
        "topic": settings.topic("carts"),
        "partitions": 4,
        "state": "ok",
    }
    for table in ("shards", "merge"):
        assert states[f"{settings.prefix}worker-{table}-changelog"]["partitions"] == 4
    assert stream_app("topics", "check").returncode == 0


def test_a_wrong_number_of_partitions_is_named_and_nothing_is_created(
    settings: Settings, stream_app: CommandLine
) -> None:
    three = settings.model_copy(update={"partitions": 3})
    ensure_topics(three, input_topic_specs(three)[:1])
    answer = stream_app("topics", "create")
    assert answer.returncode == 1
    assert f"{settings.topic('email.deliveries')}: 3 partitions instead of 4" in answer.stderr
    assert "STREAM_APP_PARTITIONS=3" in answer.stderr
    with pytest.raises(Exception, match="missing"):
        check_topics(settings.model_copy(update={"partitions": 3}))


# --- send ---


def test_send_keys_by_customer_and_keeps_each_line_as_it_is(
    settings: Settings, stream_app: CommandLine, tmp_path: Path
) -> None:
    ensure_topics(settings)
    text = (
        '{"event_id": "1",  "event_type":"email.opened","event_time":1,"customer_id":"å","campaign_id":"x"}'
    )
    file = tmp_path / "events.ndjson"
    file.write_text(
        f"{text}\n\n{text.replace('1', '2', 1)}", "utf-8"
    )  # an empty line, and no newline at the end
    answer = stream_app("send", str(file), "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["sent"] == 2
    assert answer.stderr == ""  # no progress where there is no terminal
    found = records(settings, "email.opens")
    assert [record.value.decode() for record in found] == [text, text.replace("1", "2", 1)]
    assert {record.key for record in found} == {"å".encode()}


def test_send_chooses_the_partition_that_other_producers_choose(settings: Settings) -> None:
    ensure_topics(settings)
    with KafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False) as producer:
        for number in range(50):
            key = f"customer-{number}".encode()
            there = producer.send(settings.topic("carts"), b"{}", key).get(10).partition
            assert partition_of(key, settings.partitions) == there


def test_send_keeps_the_order_of_each_customer(
    settings: Settings, stream_app: CommandLine, tmp_path: Path
) -> None:
    ensure_topics(settings)
    file = tmp_path / "events.ndjson.gz"
    events = [opened(number, f"c{number % 97}") for number in range(20_000)]
    file.write_bytes(gzip.compress(lines(*events).encode()))
    assert stream_app("send", str(file)).returncode == 0
    by_customer: dict[str, list[int]] = {}
    found = records(settings, "email.opens")
    for record in found:
        event = json.loads(record.value)
        by_customer.setdefault(event["customer_id"], []).append(int(event["event_id"].removeprefix("open-")))
    assert len(found) == len(events)
    assert all(numbers == sorted(numbers) for numbers in by_customer.values())


def test_send_names_refused_lines_and_sends_the_others(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    good, bad = opened(1, "c1"), opened(2, "c1") | {"event_type": "email.nonsense"}
    no_campaign = {name: value for name, value in opened(3, "c2").items() if name != "campaign_id"}
    given = lines(good, bad) + "{nonsense\n" + lines(no_campaign) + "[]\n"
    answer = stream_app("send", "-", given=given)
    assert answer.returncode == 1
    assert "1 events sent and acknowledged, 4 refused" in answer.stdout
    assert [line.split(": ")[:2] for line in answer.stderr.splitlines()] == [
        ["-:2", "unknown_type"],
        ["-:3", "invalid_json"],
        ["-:4", "invalid_event"],
        ["-:5", "invalid_event"],
    ]
    assert len(records(settings, "email.opens")) == 1


def test_send_names_twenty_refused_lines_and_counts_the_rest(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    answer = stream_app("send", "-", "--json", given="{}\n" * 1000)
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 21
    assert "980 more lines refused: invalid_event 1,000" in answer.stderr
    summary = json.loads(answer.stdout)
    assert (summary["refused"], len(summary["refusals"])) == (1000, 20)


def test_send_takes_cloud_events(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    event = {
        "specversion": "1.0", "id": "1", "type": "chat.started", "source": "/x", "subject": "c7",
        "time": "2026-11-22T10:00:00Z", "data": {"chat_id": "chat-1"},
    }  # fmt: skip
    assert stream_app("send", "-", given=lines(event)).returncode == 0
    assert [record.key for record in records(settings, "chats")] == [b"c7"]


def test_send_spreads_events_evenly(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    answer = stream_app(
        "send", "-", "--rate", "50", "--json", given=lines(*(opened(n, "c1") for n in range(100)))
    )
    assert json.loads(answer.stdout)["seconds"] == pytest.approx(2.0, abs=0.3)
    times = [record.timestamp for record in records(settings, "email.opens")]
    assert max(later - earlier for earlier, later in pairwise(times)) < 200


def test_send_takes_lines_as_they_come(settings: Settings, environment: dict[str, str]) -> None:
    ensure_topics(settings)
    with started(environment, "send", "-") as sender:
        assert sender.stdin is not None
        for number in range(3):
            sender.stdin.write(lines(opened(number, "c1")))
            sender.stdin.flush()
            deadline = time.monotonic() + 10
            while len(records(settings, "email.opens")) <= number and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(records(settings, "email.opens")) == number + 1
        sender.send_signal(signal.SIGINT)
        _, errors = sender.communicate(timeout=10)
        assert sender.returncode == 130
        assert errors == "not finished: 3 events were sent and acknowledged\n"


def test_a_damaged_gzip_file_is_named_and_what_could_be_read_is_sent(
    settings: Settings, stream_app: CommandLine, tmp_path: Path
) -> None:
    ensure_topics(settings)
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(os.urandom(300_000).hex().encode() + b"\n" * 10)[:100_000])
    answer = stream_app("send", str(file))
    assert answer.returncode == 1
    assert "cut.gz: cannot be read to its end" in answer.stderr
    assert "Traceback" not in answer.stderr


async def test_a_quiet_partition_is_announced_before_anything_later_is_sent(settings: Settings) -> None:
    """Offsets are seen by a consumer only once acknowledged, so counts at each step tell the order."""
    ensure_topics(settings)
    async with OrderedSender(settings) as sender:
        await sender.send("carts", b"a", b"1")
        assert sender.acknowledged == 1  # the first of a partition: alone, and acknowledged
        await sender.send("carts", b"a", b"2")
        assert sender.acknowledged == 1  # a busy partition: packed into a batch
        await sender.send("tickets", b"a", b"3")
        assert sender.acknowledged == 3  # another quiet one: what came before is acknowledged, too


def test_send_without_a_broker_says_so_in_one_sentence(stream_app: CommandLine) -> None:
    start = time.monotonic()
    answer = stream_app("send", "-", given=lines(opened(1, "c1")), STREAM_APP_KAFKA="127.0.0.1:9")
    assert time.monotonic() - start < 12
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "stream-app: Kafka at 127.0.0.1:9: nothing listens there: start it, or set STREAM_APP_KAFKA to where it runs"
    ]


def test_send_without_topics_names_the_mend(stream_app: CommandLine) -> None:
    answer = stream_app("send", "-", given=lines(opened(1, "c1")))
    assert answer.returncode == 1
    assert "run `stream-app topics create`" in answer.stderr


def test_a_broker_that_dies_under_way_is_one_sentence(
    new_broker: BrokerMaker, environment: dict[str, str]
) -> None:
    with new_broker() as own:
        settings = load_settings(kafka=own.address, prefix="own.")
        ensure_topics(settings)
        variables = environment | {"STREAM_APP_KAFKA": own.address, "STREAM_APP_PREFIX": "own."}
        with started(variables, "send", "-") as sender:
            assert sender.stdin is not None
            sender.stdin.write(lines(opened(1, "c1")))
            sender.stdin.flush()
            deadline = time.monotonic() + 10
            while not records(settings, "email.opens") and time.monotonic() < deadline:
                time.sleep(0.05)
            own.stop()
            sender.stdin.write(lines(opened(2, "c1")))
            _, errors = sender.communicate(timeout=50)
            assert sender.returncode == 1
            assert errors.splitlines()[0] == "not finished: 1 events were sent and acknowledged"
            assert "no longer acknowledges what is sent" in errors
            assert len(errors.splitlines()) == 2


# --- watch ---

ALERT = {
    "fingerprint": "f", "rule": "optout-spike", "state": "firing", "severity": "critical", "dimension": "campaign",
    "key": "bad\x1b[31m", "as_of": "2026-11-22T10:00:10.000Z", "summary": "Too many leave.",
}  # fmt: skip


def snapshot(key: str) -> dict[str, Any]:
    rate = {"value": 0.1, "numerator": 100, "denominator": 1000, "low": 0.083, "high": 0.12}
    empty = {"value": None, "numerator": 0, "denominator": 0, "low": None, "high": None}
    window = {"counts": {"deliveries": 1000}, "rates": {"ctr": rate, "csat": empty}}
    windows = {"5m": window, "total": window}
    return {"dimension": "campaign", "key": key, "as_of": "2026-11-22T10:00:10.000Z", "windows": windows}


def test_watch_prints_alerts_for_people_and_programs(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    publish(settings, "alerts.optout", json.dumps(ALERT).encode(), b"f")
    for_people = stream_app("watch", "alerts", "--from-beginning", "--limit", "1")
    assert for_people.returncode == 0, for_people.stderr
    assert re.match(r"2026-11-22 10:00:10Z +firing +critical +optout-spike +campaign:bad", for_people.stdout)
    assert "\x1b" not in for_people.stdout
    for_programs = stream_app("watch", "alerts", "--from-beginning", "--limit", "1", "--json")
    assert json.loads(for_programs.stdout) == ALERT
    ended = {
        "state": "resolved",
        "started_at": "2026-11-22T08:55:10.000Z",
        "ended_at": "2026-11-22T10:00:10.000Z",
    }
    publish(settings, "alerts.optout", json.dumps(ALERT | ended).encode(), b"f")
    resolved = stream_app("watch", "alerts", "--from-beginning", "--limit", "2").stdout.splitlines()[1]
    assert re.match(
        r"2026-11-22 10:00:10Z +resolved +critical +optout-spike +campaign:bad\S+  after 1h 5m  Too", resolved
    )


def test_watch_metrics_shows_rates_and_can_be_narrowed_down(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    for key in ("a", "b", "c"):
        publish(settings, "metrics", json.dumps(snapshot(key)).encode(), f"campaign:{key}".encode())
    publish(settings, "metrics", b"no json", b"campaign:x")
    answer = stream_app("watch", "metrics", "--from-beginning", "--seconds", "2", "--key", "b")
    assert answer.returncode == 0, answer.stderr
    (line,) = answer.stdout.splitlines()
    assert re.fullmatch(
        r"2026-11-22 10:00:10Z  campaign:b +5m ctr 10\.0% \(100/1000\)  \|  total ctr .*", line
    )
    of_all_time = stream_app("watch", "metrics", "--from-beginning", "--limit", "1", "--window", "total")
    assert re.fullmatch(r"\S+ \S+  campaign:[abc] +total ctr 10\.0% \(100/1000\)\n", of_all_time.stdout)
    other = stream_app("watch", "metrics", "--from-beginning", "--seconds", "1", "--dimension", "segment")
    assert other.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_watch_starts_at_the_end_and_ends_well(
    settings: Settings, environment: dict[str, str], number: signal.Signals
) -> None:
    ensure_topics(settings)
    publish(settings, "metrics", json.dumps(snapshot("old")).encode(), b"campaign:old")
    with started(environment, "watch", "metrics", "--json") as watcher:
        assert watcher.stdout is not None
        deadline = time.monotonic() + 20
        os.set_blocking(watcher.stdout.fileno(), False)
        seen = ""
        while not seen and time.monotonic() < deadline:
            publish(settings, "metrics", json.dumps(snapshot("new")).encode(), b"campaign:new")
            time.sleep(0.3)
            seen = watcher.stdout.readline()
        os.set_blocking(watcher.stdout.fileno(), True)
        assert json.loads(seen)["key"] == "new"
        watcher.send_signal(number)
        _, errors = watcher.communicate(timeout=10)
        assert (watcher.returncode, errors) == (0, "")


def test_a_reader_that_goes_away_is_no_error(settings: Settings, environment: dict[str, str]) -> None:
    ensure_topics(settings)
    for number in range(3):
        publish(settings, "metrics", json.dumps(snapshot(f"k{number}")).encode(), b"campaign:k")
    command = f"{sys.executable} -m stream_app watch metrics --from-beginning --json | head -n 1"
    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=30, cwd=ROOT,
        env=environment, check=False,
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(answer.stdout.splitlines()) == 1


# --- dead letters ---


def test_dead_letters_are_listed_with_their_reasons(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    bury(settings, "invalid_json", b"{\x1b[31m\xff", key=None)
    bury(settings, "late", json.dumps(opened(1, "c1")).encode())
    answer = stream_app("deadletters", "list")
    assert answer.returncode == 0, answer.stderr
    assert f"0:0      invalid_json  {settings.topic('email.opens')}[1]@7  it is invalid_json" in answer.stdout
    assert "\x1b" not in answer.stdout
    assert "2 dead letters: invalid_json 1, late 1" in answer.stderr
    (late,) = map(
        json.loads, stream_app("deadletters", "list", "--json", "--reason", "late").stdout.splitlines()
    )
    assert (late["reason"], late["key"], late["replayed"]) == ("late", "c1", False)


def test_a_replay_sets_the_key_and_is_done_once(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    value = json.dumps(opened(1, "c1")).encode()
    bury(settings, "key_mismatch", value, key=b"somebody else")
    first = stream_app("deadletters", "replay")
    assert first.returncode == 0, first.stderr
    assert "1 replayed, 0 skipped, 0 replayed before" in first.stdout
    (record,) = records(settings, "email.opens")
    assert (record.key, record.value) == (b"c1", value)
    assert dict(record.headers) == {"replayed_from": b"0:0"}
    again = stream_app("deadletters", "replay")
    assert "0 replayed, 0 skipped, 1 replayed before" in again.stdout
    assert len(records(settings, "email.opens")) == 1
    (listed,) = map(json.loads, stream_app("deadletters", "list", "--json").stdout.splitlines())
    assert listed["replayed"] is True


def test_what_a_filter_left_out_or_what_was_skipped_stays_for_later(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    bury(settings, "key_mismatch", json.dumps(opened(1, "c1")).encode())
    bury(settings, "invalid_json", b"{nonsense", key=b"c9")
    bury(settings, "late", json.dumps(opened(2, "c2")).encode())
    only_late = stream_app("deadletters", "replay", "--reason", "late")
    assert "1 replayed, 0 skipped" in only_late.stdout
    assert "STREAM_APP_ALLOWED_LATENESS" in only_late.stderr
    the_rest = stream_app("deadletters", "replay")
    assert "1 replayed, 1 skipped, 1 replayed before" in the_rest.stdout
    assert re.search(r"skipped +0:1  invalid_json: still invalid_json: ", the_rest.stdout)
    forced = stream_app("deadletters", "replay", "--force", "--json")
    (line,) = map(json.loads, forced.stdout.splitlines())
    assert (line["action"], line["letter"]) == ("replayed", "0:1")
    assert [record.key for record in records(settings, "email.opens")].count(b"c9") == 1


def test_a_replay_of_a_binary_cloud_event_keeps_its_headers(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    headers = {
        "ce_specversion": "1.0", "ce_id": "1", "ce_type": "email.opened", "ce_source": "/x", "ce_subject": "c5",
        "ce_time": "2026-01-22T10:00:00Z",
    }  # fmt: skip
    bury(settings, "key_mismatch", b'{"campaign_id":"spring"}', key=None, **headers)
    answer = stream_app("deadletters", "replay")
    assert "1 replayed" in answer.stdout, answer.stdout + answer.stderr
    (record,) = records(settings, "email.opens")
    assert record.key == b"c5"
    assert dict(record.headers)["ce_id"] == b"1"


def test_what_is_still_in_the_future_is_skipped(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    bury(settings, "future", json.dumps(opened(1, "c1") | {"event_time": now_ms() + 3_600_000}).encode())
    answer = stream_app("deadletters", "replay")
    assert re.search(r"skipped +0:0  future: still 3[56]\d\d s in the future", answer.stdout)
    assert records(settings, "email.opens") == []


def test_a_dead_letter_from_nowhere_is_skipped_even_when_forced(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    bury(settings, "invalid_json", b"x", topic="somewhere.else")
    answer = stream_app("deadletters", "replay", "--force")
    assert "its topic header names no input topic" in answer.stdout


def test_a_cut_dead_letter_is_marked_and_skipped_even_when_forced(
    settings: Settings, stream_app: CommandLine
) -> None:
    ensure_topics(settings)
    bury(
        settings,
        "late",
        json.dumps(opened(1, "c1")).encode(),
        truncated="headers: too large; read the record",
    )
    listed = stream_app("deadletters", "list")
    assert "  (truncated)\n" in listed.stdout, listed.stderr
    answer = stream_app("deadletters", "replay", "--force")
    assert "not the whole record: headers: too large; read the record, and send it again" in answer.stdout
    assert records(settings, "email.opens") == []


# --- doctor and dev ---


def test_doctor_finds_nothing_wrong_where_nothing_is(settings: Settings, stream_app: CommandLine) -> None:
    ensure_topics(settings)
    answer = stream_app("doctor", "--json")
    checks = {line["check"]: line for line in map(json.loads, answer.stdout.splitlines())}
    assert answer.returncode == 0, answer.stdout
    assert list(checks) == ["settings", "kafka", "topics", "redis", "rules", "data_dir", "clock"]
    assert all(line["ok"] for line in checks.values())


def test_doctor_names_each_thing_that_is_wrong_and_its_mend(stream_app: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no rules")
    answer = stream_app(
        "doctor",
        STREAM_APP_REDIS="redis://127.0.0.1:9/0",
        STREAM_APP_RULES=str(file),
        STREAM_APP_DATA_DIR=str(file / "below"),
    )
    assert answer.returncode == 1
    found = dict(
        line.split(maxsplit=2)[1:] for line in answer.stdout.splitlines() if line.startswith("WRONG")
    )
    assert set(found) == {"topics", "redis", "rules", "data_dir"}
    assert "stream-app topics create" in found["topics"]
    assert "STREAM_APP_REDIS" in found["redis"]
    assert "is no directory" in found["data_dir"]
    assert "Traceback" not in answer.stderr


def test_doctor_tells_a_sasl_problem_from_a_closed_port(stream_app: CommandLine) -> None:
    answer = stream_app(
        "doctor",
        STREAM_APP_KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        STREAM_APP_KAFKA_SASL_PLAIN_USERNAME="somebody",
        STREAM_APP_KAFKA_SASL_PLAIN_PASSWORD="hunter2",
    )
    assert answer.returncode == 1
    # The embedded broker offers other mechanisms, Apache Kafka none at all on this port.
    assert re.search(
        "check STREAM_APP_KAFKA_SECURITY_PROTOCOL|set STREAM_APP_KAFKA_SASL_MECHANISM", answer.stdout
    )
    assert "hunter2" not in answer.stdout + answer.stderr


def test_doctor_names_a_server_that_does_not_speak_tls(
    stream_app: CommandLine, redis_server: EmbeddedRedis
) -> None:
    answer = stream_app(
        "doctor", STREAM_APP_KAFKA_SECURITY_PROTOCOL="SSL", STREAM_APP_KAFKA=redis_server.address
    )
    assert answer.returncode == 1
    assert "STREAM_APP_KAFKA_SECURITY_PROTOCOL" in answer.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_dev_runs_both_servers_until_it_is_told_to_end(
    environment: dict[str, str], number: signal.Signals
) -> None:
    with started(environment, "dev") as dev:
        assert dev.stdout is not None
        export, *assignments = dev.stdout.readline().split()
        assert export == "export"
        given = dict(assignment.split("=", 1) for assignment in assignments)
        check_topics(load_settings(kafka=given["STREAM_APP_KAFKA"], prefix=environment["STREAM_APP_PREFIX"]))
        doctor = subprocess.run(
            [sys.executable, "-m", "stream_app", "doctor"], capture_output=True, text=True, cwd=ROOT, timeout=30,
            env=environment | given, check=False,
        )  # fmt: skip
        assert doctor.returncode == 0, doctor.stdout
        dev.send_signal(number)
        dev.communicate(timeout=15)
        assert dev.returncode == 0


def test_dev_names_a_port_that_is_taken(stream_app: CommandLine, broker: Broker) -> None:
    answer = stream_app("dev", "--kafka-port", str(broker.port))
    assert answer.returncode == 1
    assert str(broker.port) in answer.stderr
    assert "Traceback" not in answer.stderr


# --- churn worst ---


def test_the_worst_of_a_segment(settings: Settings, stream_app: CommandLine) -> None:
    ticket = ("1 ticket is unresolved",)
    show(
        settings,
        CustomerRisk("ann", 0.71, "at_risk", ticket, now_ms(), "new"),
        CustomerRisk("bob", 0.93, "lost", (), now_ms(), "new"),
        CustomerRisk("cid\x1b[2J", 0.99, "lost", (), now_ms()),
    )
    answer = stream_app("churn", "worst", "--segment", "new", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [(one["customer_id"], one["score"], one["band"]) for one in found] == [
        ("bob", 0.93, "lost"),
        ("ann", 0.71, "at_risk"),
    ]
    assert found[1]["reasons"] == list(ticket) and found[1]["segment"] == "new"
    for_a_person = stream_app("churn", "worst", "--limit", "2").stdout
    head, first, second = for_a_person.splitlines()
    assert head.split()[:3] == ["score", "band", "segment"]
    assert first.startswith("0.9900  lost  –") and "cid" in first and "\x1b" not in first
    assert second.startswith("0.9300  lost  new") and "bob" in second
    nobody = stream_app("churn", "worst", "--segment", "old")
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert "customers at risk: new" in nobody.stderr


def test_more_than_a_round_trip_of_the_worst(settings: Settings, stream_app: CommandLine) -> None:
    show(settings, *(CustomerRisk(f"c-{n}", 0.5 + n / 10_000, "watch", (), 0) for n in range(1_200)))
    answer = stream_app("churn", "worst", "--limit", "1100", "--json")
    found = [json.loads(line)["customer_id"] for line in answer.stdout.splitlines()]
    assert found == [f"c-{n}" for n in range(1_199, 99, -1)]


def test_the_worst_without_redis_and_with_a_foreign_one(settings: Settings, stream_app: CommandLine) -> None:
    away = stream_app("churn", "worst", STREAM_APP_REDIS="redis://127.0.0.1:9/0")
    assert (away.returncode, away.stdout) == (1, "") and "Traceback" not in away.stderr
    with redis.Redis.from_url(settings.redis.get_secret_value()) as client:
        client.set(f"{settings.redis_prefix}churn", "mine")
    foreign = stream_app("churn", "worst")
    assert foreign.returncode == 1
    assert (
        foreign.stderr.startswith("stream-app: Redis cannot be read (") and "Traceback" not in foreign.stderr
    )
