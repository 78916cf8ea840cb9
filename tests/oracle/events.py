"""What goes into the oracle: records as they lie in the topics, and the distinct events of a shard."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from tests.oracle.windows import ALL, Key

END_OF_TIME = 1 << 62
"""As `now_ms`: a watermark past every deadline."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Settings:
    """The settings that change what is counted."""

    cart_timeout_ms: int = 3_600_000
    chat_timeout_ms: int = 120_000
    machine_click_within_ms: int = 2_000
    campaign_segments: bool = False
    stage_new_ms: int = 30 * 86_400_000
    stage_cooling_ms: int = 30 * 86_400_000
    stage_dormant_ms: int = 90 * 86_400_000
    retention_ms: int = 30 * 86_400_000


@dataclass(frozen=True)
class Record:
    """One accepted record: valid, not late.

    `topic` only tells duplicates: with or without the prefix, as long as it is the same way throughout.
    """

    topic: str
    partition: int
    offset: int
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """A distinct event. Events of one entity are ordered by event time, those of the same time by offset.

    All events of one cart, chat or ticket are on one topic, so their offsets can be compared; so are all
    opens, all clicks, all deliveries, and all opt-outs and complaints.
    """

    time: int
    offset: int
    type: str
    customer: str
    body: Mapping[str, Any]
    campaign_segments: bool
    """Whether it bears the two together as well."""

    @property
    def order(self) -> tuple[int, int]:
        """Where the event stands among those of its topic and shard."""
        return self.time, self.offset

    @cached_property
    def family(self) -> str:
        """What the event is about: email, chat, cart or ticket."""
        return self.type.split(".")[0]

    def text(self, field: str) -> str | None:
        """An optional text field; None where it is missing or null."""
        value = self.body.get(field)
        return None if value is None else str(value)

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The dimension values that the event bears itself.

        Every event bears `all:all` and, where it has one, its segment. Campaigns are borne by email events
        only, channels by chats and tickets only: on any other event these fields are unknown, thus ignored.
        With the setting, one that bears a campaign and a segment bears the two together as well.
        """
        names = ["segment"]
        if self.family == "email":
            names.append("campaign")
        if self.family in ("chat", "ticket"):
            names.append("channel")
        borne = [(name, self.text("campaign_id" if name == "campaign" else name)) for name in names]
        keys = [ALL, *((name, value) for name, value in borne if value is not None)]
        named = dict(keys)
        if self.campaign_segments and "campaign" in named and "segment" in named:
            keys.append(("campaign_segment", f"{_encoded(named['campaign'])}/{_encoded(named['segment'])}"))
        return tuple(keys)


def _encoded(name: str) -> str:
    """Percent-encoded UTF-8: RFC 3986's unreserved characters as they are, everything else as %XX."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in name.encode())


def time_ms(value: object) -> int:
    """An event time in milliseconds since 1970: an integer as it is, RFC 3339 text as text.

    Digits beyond the millisecond are cut off, not rounded.
    """
    if not isinstance(value, str):
        assert isinstance(value, int | float) and value == int(value), f"not a time: {value!r}"
        return int(value)
    match = _RFC3339.fullmatch(value)
    assert match, f"not a time: {value!r}"
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    milliseconds = int(((fraction or "") + "000")[:3])
    offset = (
        0 if sign is None else (int(offset_hours) * 60 + int(offset_minutes)) * (-1 if sign == "-" else 1)
    )
    days = date(year, month, day).toordinal() - _EPOCH_DAY
    return days * _DAY_MS + ((hour * 60 + minute - offset) * 60 + second) * 1000 + milliseconds


def distinct(records: Iterable[Record], settings: Settings) -> list[Event]:
    """The events of one shard's records, without duplicates, ordered by event time and offset.

    The same event id on the same topic of the shard is a duplicate, whatever else the record says; the record
    with the smallest offset is the event.
    """
    seen: set[tuple[str, str]] = set()
    events = []
    for record in sorted(records, key=lambda record: record.offset):
        body = record.event
        identity = (record.topic, str(body["event_id"]))
        if identity in seen:
            continue
        seen.add(identity)
        time, event_type, customer = (
            time_ms(body["event_time"]),
            str(body["event_type"]),
            str(body["customer_id"]),
        )
        events.append(Event(time, record.offset, event_type, customer, body, settings.campaign_segments))
    return sorted(events, key=lambda event: event.order)
