"""The pure parts of ``send`` and ``deadletters``: reading lines, checking them, finding their partition."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.commands import lines
from stream_app.commands.destination import customer_of, destination
from stream_app.commands.letters import Letter, Skipped, destination_of
from stream_app.commands.lines import read_blocks
from stream_app.commands.watch import MAIN_RATES
from stream_app.failure import Failure
from stream_app.ingest.decode import Reason, Rejected, decode
from stream_app.metrics.catalogue import RATE_BY_NAME
from stream_app.output import printable
from stream_app.sinks.partitioner import partition_of

NOW_MS = 1_800_000_000_000
MOST = 10_000

OPENED: dict[str, Any] = {
    "event_id": "1",
    "event_type": "email.opened",
    "event_time": NOW_MS,
    "customer_id": "c1",
    "campaign_id": "spring",
}


def encoded(**changes: Any) -> bytes:
    return json.dumps(OPENED | changes).encode()


async def read(name: str, longest: int = MOST) -> list[tuple[int, bytes]]:
    async def not_waiting(seconds: float) -> None:
        raise AssertionError("a file is never waited for")

    found: list[tuple[int, bytes]] = []
    async for block in read_blocks(name, longest, not_waiting):
        found.extend(enumerate(block.lines, block.first_number))
    return found


# --- lines ---


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("packed", [False, True])
async def test_lines_are_numbered_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, end: bytes, packed: bool
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    content = b"one\n\nthree\r\n" + b"four" * 10 + end
    file = tmp_path / "file"
    file.write_bytes(gzip.compress(content) if packed else content)
    assert await read(str(file)) == [(1, b"one"), (2, b""), (3, b"three\r"), (4, b"four" * 10)]


async def test_a_line_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1000)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000 + b"\nshort")
    (_, long), short = await read(str(file), longest=500)
    assert 500 < len(long) < 3000
    assert short == (2, b"short")


@pytest.mark.parametrize("damage", [lambda packed: packed[:-20], lambda packed: packed[:50] + b"x" * 50])
async def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: Any) -> None:
    file = tmp_path / "file.gz"
    file.write_bytes(damage(gzip.compress(bytes(range(256)) * 100)))
    with pytest.raises(Failure, match=r"file\.gz: cannot be read to its end"):
        await read(str(file))


# --- where a line goes ---


def test_a_plain_event_goes_to_its_topic_under_its_customer() -> None:
    assert destination(encoded(customer_id="å"), MOST) == ("email.opens", "å".encode())


@pytest.mark.parametrize("where", ["subject", "data"])
def test_a_cloud_event_goes_to_its_topic_under_its_subject(where: str) -> None:
    event: dict[str, Any] = {
        "specversion": "1.0", "id": "1", "type": "chat.started", "source": "/x", "time": "2026-11-22T10:00:00Z",
        "data": {"chat_id": "chat-1"},
    }  # fmt: skip
    if where == "subject":
        event["subject"] = "c7"
    else:
        event["data"]["customer_id"] = "c7"
    assert destination(json.dumps(event).encode(), MOST) == ("chats", b"c7")


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{", Reason.INVALID_JSON, "truncated"),
        (b"nonsense", Reason.INVALID_JSON, "malformed"),
        (b'{"event_type":"\xff"}', Reason.INVALID_JSON, "UTF-8"),
        (b"[" * 5000, Reason.INVALID_JSON, "deep"),
        (b'{"event_type":' + b"[" * 5000, Reason.INVALID_JSON, "deep"),
        *((line, Reason.INVALID_EVENT, "Expected `object`") for line in (b"[]", b'"text"', b"17", b"null")),
        (b'["\xff"]', Reason.INVALID_JSON, "UTF-8"),
        (b'{"event_type":"email.read","x":"\xff"}', Reason.INVALID_JSON, "UTF-8"),
        (b"{}", Reason.INVALID_EVENT, "event_type"),
        (encoded(event_type="email.read"), Reason.UNKNOWN_TYPE, "'email.read' is no event type"),
        (encoded(event_type=5), Reason.INVALID_EVENT, "event_type"),
        (encoded(event_type=[]), Reason.INVALID_EVENT, "event_type"),
        (encoded(customer_id=""), Reason.INVALID_EVENT, "customer_id"),
        (encoded(customer_id=7), Reason.INVALID_EVENT, "customer_id"),
        (encoded(campaign_id=None), Reason.INVALID_EVENT, "campaign_id"),
        (encoded(event_time=-1), Reason.INVALID_EVENT, "event_time"),
        (encoded(link_url="x" * MOST), Reason.TOO_LARGE, "longer than 10000 bytes"),
    ],
)  # fmt: skip
def test_a_refused_line_has_the_reason_the_worker_would_give(
    line: bytes, reason: Reason, detail: str
) -> None:
    with pytest.raises(Rejected) as refused:
        destination(line, MOST)
    assert refused.value.reason == reason
    assert detail in refused.value.detail


@pytest.mark.parametrize("content", [b"1e999", b"7" * 5000, b'"\\ud83d\\ude00"', b"[" * 900 + b"]" * 900])
@pytest.mark.parametrize("field", [b"data", b"type", b"subject", b"unknown"])
def test_what_the_worker_passes_over_does_not_stop_a_line(field: bytes, content: bytes) -> None:
    line = encoded()[:-1] + b',"%s":%s}' % (field, content)
    assert decode("email.opens", b"c1", line).customer_id == "c1"
    assert destination(line, MOST) == ("email.opens", b"c1")


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*OPENED, "type", "data", "specversion"]), inner),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_whatever_a_line_holds_it_is_accepted_by_the_worker_or_refused(line: bytes) -> None:
    customer_of(line)
    try:
        topic, key = destination(line, MOST)
    except Rejected:
        return
    decode(topic, key, line)


def test_partitions_are_those_of_the_java_client() -> None:
    """Values of ``Utils.murmur2`` from Kafka's own UtilsTest, made positive as its partitioner does."""
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    for key, hashed in known.items():
        assert partition_of(key, 1000) == (hashed & 0x7FFFFFFF) % 1000


# --- dead letters ---


def letter(value: bytes, topic: str = "p.email.opens", **headers: str) -> Letter:
    return Letter(0, 5, NOW_MS, {"topic": topic, "reason": "late", **headers}, [], b"old key", value)


def test_a_replay_goes_to_its_topic_under_its_customer() -> None:
    for topic in ("p.email.opens", "email.opens"):
        to = destination_of(letter(encoded(), topic), "p.", MOST, NOW_MS, force=False)
        assert (to.topic, to.key, to.headers) == ("email.opens", b"c1", [("replayed_from", b"0:5")])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{nonsense", "still invalid_json: "),
        (encoded(campaign_id=None), "still invalid_event: "),
        (encoded(event_type="chat.started", chat_id="1"), "still unknown_type: "),
        (encoded(event_time=NOW_MS + 400_000), "still 400 s in the future"),
        (encoded(link_url="x" * MOST), "still larger than 10000 bytes"),
    ],
)
def test_what_would_only_come_back_is_skipped_unless_forced(value: bytes, why: str) -> None:
    with pytest.raises(Skipped, match=why):
        destination_of(letter(value), "p.", MOST, NOW_MS, force=False)
    assert destination_of(letter(value), "p.", MOST, NOW_MS, force=True).topic == "email.opens"


def test_a_letter_without_a_part_of_its_record_is_skipped_even_when_forced() -> None:
    cut = letter(encoded(), truncated="key: too large for this topic; read the record at its topic")
    with pytest.raises(Skipped, match="not the whole record: key: too large for this topic"):
        destination_of(cut, "p.", MOST, NOW_MS, force=True)


def test_a_time_of_thousands_of_digits_is_told_in_few() -> None:
    with pytest.raises(Skipped, match="in the future") as skipped:
        destination_of(letter(encoded(event_time=10**4_000)), "p.", MOST, NOW_MS, force=False)
    assert len(str(skipped.value)) < 200


def test_a_recreated_topic_has_other_notes() -> None:
    earlier, later = letter(encoded()), Letter(0, 5, NOW_MS + 1, {}, [], None, b"")
    assert earlier.note != later.note


# --- output ---


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_foreign_content_cannot_steer_a_terminal(content: bytes | str) -> None:
    shown = printable(content)
    assert len(shown) <= 80
    assert shown.isprintable()


def test_watch_shows_rates_that_exist() -> None:
    assert set(MAIN_RATES) <= set(RATE_BY_NAME)
