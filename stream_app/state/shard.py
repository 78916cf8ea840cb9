"""A shard: everything about the customers of one partition number, over all input topics. Pure.

Stands in the middle of the flow: batches of records go in (``process``), time goes in (``tick``), and a
flush takes out what changed: journal entries, absolute counts for the merger, and dead letters. The
clock is an argument, and nothing here reads or writes anything outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import msgspec

from stream_app.clock import MINUTE_MS
from stream_app.ingest.dead_letter import DeadLetter, Record
from stream_app.ingest.decode import Reason, Rejected, decode_with_time
from stream_app.ingest.duplicates import SPAN_MS, SeenIds
from stream_app.ingest.events import (
    EmailBounced,
    EmailClicked,
    EmailComplained,
    EmailDelivered,
    EmailOpened,
    EmailOptedOut,
    Event,
)
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.ingest.watermark import PartitionProgress, Watermark
from stream_app.settings import Settings
from stream_app.state.audience import CAMPAIGN_KIND, OPTOUT_KIND, Audience
from stream_app.state.customers import Customer, Handler, LastSeen
from stream_app.state.journal import Expired, Rounds
from stream_app.state.lifecycle import Touched
from stream_app.state.lifecycles import LIFECYCLE_KINDS, Lifecycles
from stream_app.state.mail import Mail
from stream_app.state.review import Review
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.stage_counts import StageCounts, holds_customers
from stream_app.state.stages import last_day_over
from stream_app.state.standings import CAMPAIGN_PREFIX, SEGMENTS_KIND, Standings
from stream_app.state.tallies import KEY_KIND, PANE_KIND, KeyChange, Tallies

FUTURE_LIMIT_MS = 5 * MINUTE_MS
CUSTOMER_KIND, IDS_KIND = "u:", "i:"
_SEPARATOR = "\0"
_IDS_AT_ONCE = 2_000
_BYTES_A_RECORD = 1_024

_last_seen = msgspec.msgpack.Decoder(LastSeen).decode
_touched = msgspec.msgpack.Decoder(Touched).decode


class ShardHeader(msgspec.Struct, array_like=True):
    """Up to where the input has been applied, and the shard's event-time clock.

    ``progress``: per topic the newest event time, the next offset and the last arrival by the clock.
    """

    watermark_ms: int
    progress: dict[str, tuple[int, int, int]]


class ShardFlush(NamedTuple):
    """What a flush takes out of a shard."""

    header: ShardHeader
    keys: list[KeyChange]
    dead_letters: list[DeadLetter]
    customers: dict[str, Customer]
    """Those that events or time have touched."""
    awaits_the_dead: bool
    """Whether records that have their dead letter already are still to be read again."""


class Shard:
    """The state of one shard on its shelf."""

    def __init__(
        self,
        shelf: Shelf,
        header: bytes | None,
        settings: Settings,
        clock_ms: int,
        dead_already: Set[tuple[str, int]] = frozenset(),
        decides_stages: bool = True,
    ) -> None:
        """Take up the state on a shelf; ``dead_already`` are the topic and offset of records that have
        their dead letter, though the header does not know. ``decides_stages`` is for a replay that nobody asks for stages:
        a look at every customer for every day costs it more than the events do."""
        self._settings = settings
        self._most_bytes = settings.max_event_bytes
        self._dead_already = {place for place in dead_already if place[0] in INPUT_TOPICS}
        self.watermark = Watermark.fresh(
            INPUT_TOPICS, settings.allowed_lateness, settings.idle_timeout, clock_ms
        )
        if header is not None:
            self._restore(msgspec.msgpack.decode(header, type=ShardHeader))
        self.customers = Drawer(shelf, CUSTOMER_KIND, Customer)
        self._shelf = shelf
        self._tallies = Tallies(shelf, settings.campaign_segments)
        self._audience = Audience(shelf, settings.retention)
        self._lifecycles = Lifecycles(shelf, settings, self._tallies, self.watermark)
        self.standings = Standings(shelf, self._tallies, self._audience)
        self._handlers = self._all_handlers()
        self._seen = {topic: SeenIds() for topic in INPUT_TOPICS}
        self._restore_seen()
        self._rounds = Rounds()
        self._decides_stages = decides_stages
        self._stages = StageCounts(self._tallies, settings)
        self._review = Review(shelf.slices, CUSTOMER_KIND)
        self._reviewed: dict[str, Customer] = {}
        self._dead_letters: list[DeadLetter] = []
        self._changed_customers: dict[str, Customer] = {}
        self.duplicates = 0
        self.accepted = 0
        self.unflushed = 0
        self.forgotten_customers: list[str] = []
        self.skipped = 0
        """Offsets that never came: markers of transactions, or records removed before they were read."""

    def process(self, topic: str, records: Sequence[Record], clock_ms: int) -> None:
        """Apply a batch of one topic's records, in order of offsets; those applied before are skipped."""
        watermark, progress, seen = self.watermark, self.watermark.partitions[topic], self._seen[topic]
        next_offset, accepted_before = progress.next_offset, self.accepted
        latest_ms = clock_ms + FUTURE_LIMIT_MS
        for record in records:
            offset = record.offset
            if offset < next_offset:
                continue
            self.skipped += offset - next_offset
            next_offset = offset + 1
            self.unflushed += 1
            if self._dead_already and (topic, offset) in self._dead_already:
                continue
            try:
                self._check_size(record.value)
                event, time_ms = decode_with_time(topic, record.key, record.value, record.headers)
                if event.event_id in seen.ids:
                    self.duplicates += 1
                    continue
                if not watermark.current_ms <= time_ms <= latest_ms:
                    raise _untimely(time_ms, watermark.current_ms, clock_ms)
            except Rejected as rejected:
                letter = DeadLetter.of(topic, record, rejected)
                self._dead_letters.append(letter)
                self.unflushed += letter.held_bytes // _BYTES_A_RECORD
                continue
            seen.remember(event.event_id, time_ms)
            self.accepted += 1
            self._handle(event, time_ms)
            if time_ms > progress.newest_ms and watermark.observe(progress, time_ms):
                self._pass_time()
        progress.next_offset = next_offset
        if self.accepted > accepted_before:
            progress.last_arrival_ms = clock_ms

    def tick(self, clock_ms: int) -> None:
        """Time has passed by the clock."""
        if self.watermark.tick(clock_ms):
            self._pass_time()

    @property
    def next_deadline_ms(self) -> int | None:
        """The event time behind which the next cart, chat or ticket may come true by itself; None if none waits."""
        return self._lifecycles.next_deadline_ms

    def has_changes(self) -> bool:
        """Whether a flush would take anything out, or look at anyone."""
        return (
            self.unflushed > 0
            or self._tallies.has_changes()
            or bool(self._changed_customers)
            or self.review_is_due()
        )

    def flush(self) -> ShardFlush:
        """Look at those whose turn it is, fold what has changed and take it out; the shelf is then ready to be written
        down."""
        self._decide_stages()
        self._audience.settle(self._tallies)
        self.standings.note_deliveries()
        keys = self._tallies.fold()
        for topic, seen in self._seen.items():
            seen.forget_before(self._ids_horizon_ms())
            self._note_ids(topic, seen.take_new())
        progress = {
            topic: (held.newest_ms, held.next_offset, held.last_arrival_ms)
            for topic, held in self.watermark.partitions.items()
        }
        letters, self._dead_letters = self._dead_letters, []
        customers, self._changed_customers = self._changed_customers, {}
        self.unflushed = 0
        header = ShardHeader(self.watermark.current_ms, progress)
        self._dead_already = {place for place in self._dead_already if place[1] >= progress[place[0]][1]}
        return ShardFlush(header, keys, letters, customers, bool(self._dead_already))

    def review_is_due(self) -> bool:
        """Whether it is anyone's turn to be looked at although nothing came."""
        return self._decides_stages and self._review.is_due(last_day_over(self.watermark.current_ms))

    def take_reviewed(self) -> dict[str, Customer]:
        """The customers that the last flush looked at, without those about to be forgotten. Whoever changes
        one puts it back."""
        horizon_ms = self.watermark.current_ms - self._settings.retention
        reviewed, self._reviewed = self._reviewed, {}
        return {
            name: customer
            for name, customer in reviewed.items()
            if customer.last_seen_ms >= horizon_ms and name not in self._changed_customers
        }

    def key_changes(self, changes: Iterable[tuple[str, bytes | None]]) -> list[KeyChange]:
        """What an earlier epoch changed of the counts, to be published again after a crash."""
        return self._tallies.changes_of(changes)

    def forgetting(self, index: int) -> Expired | None:
        """What may be forgotten of a slice of the shelf; None where that was looked at lately."""
        return self.expired if self._rounds.is_due(index, self.watermark.current_ms) else None

    def expired(self, key: str, value: bytes) -> bool:
        """Whether an object at rest may be forgotten; see the retention setting."""
        kind, name = key[:2], key[2:]
        horizon_ms = self.watermark.current_ms - self._settings.retention
        if kind == PANE_KIND:
            return self._tallies.pane_is_expired(name)
        if kind == IDS_KIND:
            return (int(name.split(_SEPARATOR)[1]) + 1) * SPAN_MS <= self._ids_horizon_ms()
        if horizon_ms <= 0:
            return False
        if kind == CUSTOMER_KIND:
            is_forgotten = (
                _last_seen(value).last_seen_ms < horizon_ms and self.customers.decode(value).stages.is_over
            )
            if is_forgotten:
                self.forgotten_customers.append(name)
            return is_forgotten
        if kind in LIFECYCLE_KINDS:
            return _touched(value).touched_ms < horizon_ms
        return self._expired_count(kind, name, value, horizon_ms)

    def _expired_count(self, kind: str, name: str, value: bytes, horizon_ms: int) -> bool:
        if kind == KEY_KIND:
            held = self._tallies.keys.decode(value)
            return held.newest_ms < horizon_ms and not holds_customers(held.total)
        if kind == SEGMENTS_KIND:
            return self._tallies.keys.get(CAMPAIGN_PREFIX + name) is None
        if kind == OPTOUT_KIND:
            time_ms = msgspec.msgpack.decode(value, type=int)
            if time_ms < horizon_ms:
                self._audience.forget_optout(time_ms)
                return True
        if kind == CAMPAIGN_KIND:
            tally = self._tallies.keys.get(f"campaign:{name}")
            if tally is None or tally.newest_ms < horizon_ms:
                self._audience.forget_campaign(name)
                return True
        return False

    def _check_size(self, value: bytes | None) -> None:
        if value is not None and len(value) > self._most_bytes:
            raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes; at most {self._most_bytes} are accepted")

    def _note_ids(self, topic: str, new: dict[int, list[str]]) -> None:
        first = self.watermark.partitions[topic].next_offset
        for span, ids in new.items():
            for start in range(0, len(ids), _IDS_AT_ONCE):
                name = _SEPARATOR.join((topic, str(span), f"{first}-{start}"))
                self._shelf.changed(f"{IDS_KIND}{name}", ids[start : start + _IDS_AT_ONCE])

    def _all_handlers(self) -> dict[type[Event], Handler]:
        """What each type of event does to its customer, and to the counts."""
        mail = Mail(self._tallies, self._audience, self.watermark, self._settings)
        handlers: dict[type[Event], Handler] = {
            EmailDelivered: mail.deliver,
            EmailBounced: mail.bounce,
            EmailOpened: mail.open,
            EmailClicked: mail.click,
            EmailOptedOut: mail.opt_out,
            EmailComplained: mail.complain,
        }
        return handlers | self._lifecycles.handlers()

    def _handle(self, event: Event, time_ms: int) -> None:
        customer_id = event.customer_id
        customer = self._load_customer(customer_id)
        customer.see(time_ms, event.segment)
        if self._decides_stages:
            customer.stages.see(time_ms, event.segment)
        self._handlers[type(event)](customer, event, time_ms)
        self._save_customer(customer_id, customer)

    def _pass_time(self) -> None:
        """Let come true what waited for a deadline that the watermark has passed."""
        self._lifecycles.pass_time(self._load_customer, self._save_customer)

    def _decide_stages(self) -> None:
        """Decide the stages of those that are written down in any case, and of those whose turn it is; of these only
        who moves is written."""
        if not self._decides_stages:
            return
        last_day = last_day_over(self.watermark.current_ms)
        for changed in self._changed_customers.values():
            if changed.stages.awaits(last_day):
                self._stages.advance(changed, last_day)
        self._reviewed = {}
        for name in self._review.take(last_day):
            customer = self.customers.peek(name)
            if customer is None:
                continue
            if self._stages.advance(customer, last_day):
                self.customers.put(name, customer)
            self._reviewed[name] = customer

    def _load_customer(self, customer_id: str) -> Customer:
        customer = self.customers.get(customer_id)
        if customer is None:
            return Customer()
        if customer.last_seen_ms < self.watermark.current_ms - self._settings.retention:
            return Customer(stages=customer.stages)  # where they are counted still, until their day ends
        return customer

    def _save_customer(self, customer_id: str, customer: Customer) -> None:
        self.customers.put(customer_id, customer)
        self._changed_customers[customer_id] = customer

    def _ids_horizon_ms(self) -> int:
        return self.watermark.current_ms - self._settings.duplicate_window

    def _restore(self, header: ShardHeader) -> None:
        self.watermark.current_ms = header.watermark_ms
        for topic, (newest_ms, next_offset, last_arrival_ms) in header.progress.items():
            self.watermark.partitions[topic] = PartitionProgress(
                newest_ms, next_offset, next_offset, last_arrival_ms, is_known=False
            )

    def _restore_seen(self) -> None:
        for key, value in self._shelf.slices.items(IDS_KIND):
            topic, span, _ = key[2:].split(_SEPARATOR)
            self._seen[topic].restore(int(span), msgspec.msgpack.decode(value, type=list[str]))


def _untimely(time_ms: int, watermark_ms: int, clock_ms: int) -> Rejected:
    """Why an event of this time is not counted: it is late, or of the future."""
    if time_ms < watermark_ms:
        behind = (watermark_ms - time_ms) / 1000
        return Rejected(Reason.LATE, f"event_time is {behind:.3f} s older than the shard's watermark")
    ahead = (time_ms - clock_ms) // 1000
    return Rejected(Reason.FUTURE, f"event_time is more than 300 s ahead of the clock: {ahead} s")
