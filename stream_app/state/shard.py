"""A shard: everything about the customers of one partition number, over all input topics. Pure.

Stands in the middle of the flow: batches of records go in (``process``), time goes in (``tick``), and a
flush takes out what changed: journal entries, absolute counts for the merger, and dead letters. The
clock is an argument, and nothing here reads or writes anything outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import msgspec

from stream_app.clock import MINUTE_MS
from stream_app.ingest.dead_letter import DeadLetter, Record
from stream_app.ingest.decode import Reason, Rejected, decode
from stream_app.ingest.duplicates import SPAN_MS, SeenIds
from stream_app.ingest.events import CartEvent, ChatEvent, ChatRated, Event, TicketEvent, TicketRated
from stream_app.ingest.topics import INPUT_TOPICS
from stream_app.ingest.watermark import PartitionProgress, Watermark
from stream_app.settings import Settings
from stream_app.state.audience import CAMPAIGN_KIND, OPTOUT_KIND, Audience
from stream_app.state.carts import Carts, CartState, cart_step
from stream_app.state.chats import Chats, ChatState, chat_step
from stream_app.state.customers import Customer, LastSeen, Mail, forget_old_campaigns, keys_of
from stream_app.state.lifecycle import Automaton, Entity, Place, Step, Touched, apply, pass_time
from stream_app.state.shelf import Drawer, Shelf
from stream_app.state.tallies import KEY_KIND, PANE_KIND, KeyChange, Tallies
from stream_app.state.tickets import Tickets, TicketState, ticket_step

FUTURE_LIMIT_MS = 5 * MINUTE_MS
CUSTOMER_KIND, CART_KIND, CHAT_KIND, TICKET_KIND, IDS_KIND = "u:", "c:", "k:", "t:", "i:"
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
    customers: set[str]


class _Kind(NamedTuple):
    """A kind of lifecycle: its automaton and where its entities are kept."""

    automaton: Automaton[Any]
    drawer: Drawer[Entity[Any]]


class Shard:
    """The state of one shard on its shelf."""

    def __init__(
        self,
        shelf: Shelf,
        header: bytes | None,
        settings: Settings,
        clock_ms: int,
        dead_already: Set[tuple[str, int]] = frozenset(),
    ) -> None:
        """Take up the state on a shelf; ``dead_already`` are the topic and offset of records that have
        their dead letter, though the header does not know."""
        self._settings = settings
        self._dead_already = dead_already
        self.watermark = Watermark.fresh(
            INPUT_TOPICS, settings.allowed_lateness, settings.idle_timeout, clock_ms
        )
        if header is not None:
            self._restore(msgspec.msgpack.decode(header, type=ShardHeader))
        self.customers = Drawer(shelf, CUSTOMER_KIND, Customer)
        self._shelf = shelf
        self._tallies = Tallies(shelf)
        self._audience = Audience(shelf, settings.retention)
        self._mail = Mail(self._tallies, self._audience)
        self._kinds = {
            CART_KIND: _Kind(Carts(settings.cart_timeout), Drawer(shelf, CART_KIND, Entity[CartState])),
            CHAT_KIND: _Kind(Chats(settings.chat_timeout), Drawer(shelf, CHAT_KIND, Entity[ChatState])),
            TICKET_KIND: _Kind(Tickets(), Drawer(shelf, TICKET_KIND, Entity[TicketState])),
        }
        self._timers = self._restore_timers()
        self._seen = SeenIds()
        self._restore_seen()
        self._new_ids: dict[tuple[str, int], list[str]] = {}
        self._dead_letters: list[DeadLetter] = []
        self._changed_customers: set[str] = set()
        self._customer = Customer()
        self.duplicates = 0
        self.accepted = 0
        self.unflushed = 0
        self.forgotten_customers: list[str] = []
        self.skipped = 0
        """Offsets that never came: markers of transactions, or records removed before they were read."""

    def process(self, topic: str, records: Sequence[Record], clock_ms: int) -> None:
        """Apply a batch of one topic's records, in order of offsets; those applied before are skipped."""
        progress = self.watermark.partitions[topic]
        seen = self._seen.of_topic(topic)
        for record in records:
            if record.offset < progress.next_offset:
                continue
            self.skipped += record.offset - progress.next_offset
            progress.next_offset = record.offset + 1
            self.unflushed += 1
            if self._dead_already and (topic, record.offset) in self._dead_already:
                continue
            try:
                event = self._accept(topic, record, seen, clock_ms)
            except Rejected as rejected:
                letter = DeadLetter.of(topic, record, rejected)
                self._dead_letters.append(letter)
                self.unflushed += letter.held_bytes // _BYTES_A_RECORD
                continue
            if event is not None:
                time_ms = event.time_ms()
                self._handle(event, time_ms)
                if self.watermark.observe(progress, time_ms, clock_ms):
                    self._pass_time()

    def tick(self, clock_ms: int) -> None:
        """Time has passed by the clock."""
        if self.watermark.tick(clock_ms):
            self._pass_time()

    def has_changes(self) -> bool:
        """Whether a flush would take anything out."""
        return self.unflushed > 0 or self._tallies.has_changes() or bool(self._changed_customers)

    def flush(self) -> ShardFlush:
        """Fold what has changed and take it out; the shelf is then ready to be written down."""
        self._audience.settle(self._tallies)
        keys = self._tallies.fold()
        self._seen.forget_before(self._ids_horizon_ms())
        for (topic, span), ids in self._new_ids.items():
            first = self.watermark.partitions[topic].next_offset
            for start in range(0, len(ids), _IDS_AT_ONCE):
                name = _SEPARATOR.join((topic, str(span), f"{first}-{start}"))
                self._shelf.changed(f"{IDS_KIND}{name}", ids[start : start + _IDS_AT_ONCE])
        self._new_ids = {}
        progress = {
            topic: (held.newest_ms, held.next_offset, held.last_arrival_ms)
            for topic, held in self.watermark.partitions.items()
        }
        letters, self._dead_letters = self._dead_letters, []
        customers, self._changed_customers = self._changed_customers, set()
        self.unflushed = 0
        return ShardFlush(ShardHeader(self.watermark.current_ms, progress), keys, letters, customers)

    def key_changes(self, changes: Iterable[tuple[str, bytes | None]]) -> list[KeyChange]:
        """What an earlier epoch changed of the counts, to be published again after a crash."""
        return self._tallies.changes_of(changes)

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
            is_silent = _last_seen(value).last_seen_ms < horizon_ms
            if is_silent:
                self.forgotten_customers.append(name)
            return is_silent
        if kind in self._kinds:
            return _touched(value).touched_ms < horizon_ms
        return self._expired_count(kind, name, value, horizon_ms)

    def _expired_count(self, kind: str, name: str, value: bytes, horizon_ms: int) -> bool:
        if kind == KEY_KIND:
            return self._tallies.keys.decode(value).newest_ms < horizon_ms
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

    def _accept(self, topic: str, record: Record, seen: set[str], clock_ms: int) -> Event | None:
        """The event of a record, None for a duplicate; raises Rejected."""
        value = record.value
        if value is not None and len(value) > self._settings.max_event_bytes:
            limit = self._settings.max_event_bytes
            raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes; at most {limit} are accepted")
        event = decode(topic, record.key, value, record.headers)
        if event.event_id in seen:
            self.duplicates += 1
            return None
        time_ms = event.time_ms()
        if time_ms > clock_ms + FUTURE_LIMIT_MS:
            ahead = (time_ms - clock_ms) // 1000
            raise Rejected(Reason.FUTURE, f"event_time is more than 300 s ahead of the clock: {ahead} s")
        if time_ms < self.watermark.current_ms:
            behind = (self.watermark.current_ms - time_ms) / 1000
            raise Rejected(Reason.LATE, f"event_time is {behind:.3f} s older than the shard's watermark")
        span = time_ms // SPAN_MS
        self._seen.remember(topic, span, (event.event_id,))
        self._new_ids.setdefault((topic, span), []).append(event.event_id)
        self.accepted += 1
        return event

    def _handle(self, event: Event, time_ms: int) -> None:
        keys = keys_of(event)
        for key in keys:
            self._tallies.reach(key, time_ms)
        customer = self._load_customer(event.customer_id)
        customer.last_seen_ms = max(customer.last_seen_ms, time_ms)
        if isinstance(event, CartEvent):
            self._step(CART_KIND, event.customer_id, event.cart_id, cart_step(event))
        elif isinstance(event, ChatEvent):
            self._step(CHAT_KIND, event.customer_id, event.chat_id, chat_step(event))
        elif isinstance(event, TicketEvent):
            self._step(TICKET_KIND, event.customer_id, event.ticket_id, ticket_step(event))
        else:
            self._mail.handle(customer, event, time_ms, keys)
        if isinstance(event, ChatRated | TicketRated):
            customer.signs.feel_rating(event.rating, time_ms)
        self._save_customer(event.customer_id, customer)

    def _step(self, kind: str, customer_id: str, identifier: str, step: Step) -> None:
        automaton, drawer = self._kinds[kind]
        name = f"{len(customer_id)}:{customer_id}{identifier}"
        entity = drawer.get(name)
        if entity is None or entity.touched_ms < self.watermark.current_ms - self._settings.retention:
            entity = Entity(automaton.fresh())
        before = _burden(entity)
        apply(automaton, entity, step, self.watermark.current_ms, self._emit)
        self._customer.signs.feel_ticket(before, _burden(entity))
        drawer.put(name, entity)
        deadline = automaton.deadline_ms(entity.state())
        if deadline is not None:
            heappush(self._timers, (deadline, kind, name))

    def _pass_time(self) -> None:
        """Let come true what waited for a deadline that the watermark has passed."""
        timers, watermark_ms = self._timers, self.watermark.current_ms
        while timers and timers[0][0] < watermark_ms:
            _, kind, name = heappop(timers)
            automaton, drawer = self._kinds[kind]
            entity = drawer.get(name)
            deadline = None if entity is None else automaton.deadline_ms(entity.state())
            if entity is None or deadline is None or deadline >= watermark_ms:
                continue  # an event came in the meantime, and with it another timer
            customer_id = _customer_of(name)
            customer = self._load_customer(customer_id)
            pass_time(automaton, entity, watermark_ms, self._emit)
            drawer.put(name, entity)
            self._save_customer(customer_id, customer)

    def _emit(self, place: Place, slot: int, number: int) -> None:
        """Count for the customer at hand; what came true reaches its keys."""
        keys = ["all:all"]
        if place.segment:
            keys.append(f"segment:{place.segment}")
        if place.channel:
            keys.append(f"channel:{place.channel}")
        for key in keys:
            self._tallies.count(key, place.time_ms, slot, number)
            self._tallies.reach(key, place.time_ms)
        self._customer.signs.feel(slot, number, place.time_ms)

    def _load_customer(self, customer_id: str) -> Customer:
        customer = self.customers.get(customer_id)
        if customer is None or customer.last_seen_ms < self.watermark.current_ms - self._settings.retention:
            customer = Customer()
        self._customer = customer
        return customer

    def _save_customer(self, customer_id: str, customer: Customer) -> None:
        forget_old_campaigns(customer, self.watermark.current_ms - self._settings.retention)
        self.customers.put(customer_id, customer)
        self._changed_customers.add(customer_id)

    def _ids_horizon_ms(self) -> int:
        return self.watermark.current_ms - self._settings.duplicate_window

    def _restore(self, header: ShardHeader) -> None:
        self.watermark.current_ms = header.watermark_ms
        for topic, (newest_ms, next_offset, last_arrival_ms) in header.progress.items():
            self.watermark.partitions[topic] = PartitionProgress(
                newest_ms, next_offset, next_offset, last_arrival_ms, is_known=False
            )

    def _restore_timers(self) -> list[tuple[int, str, str]]:
        timers = []
        for kind, (automaton, drawer) in self._kinds.items():
            for name, entity in drawer.items():
                deadline = automaton.deadline_ms(entity.state())
                if deadline is not None:
                    timers.append((deadline, kind, name))
        heapify(timers)
        return timers

    def _restore_seen(self) -> None:
        for key, value in self._shelf.slices.items(IDS_KIND):
            topic, span, _ = key[2:].split(_SEPARATOR)
            self._seen.remember(topic, int(span), msgspec.msgpack.decode(value, type=list[str]))


def _burden(entity: Entity[Any]) -> tuple[int, int]:
    state = entity.state()
    return state.burden() if isinstance(state, TicketState) else (0, 0)


def _customer_of(name: str) -> str:
    """The customer in the name of a cart, chat or ticket, which bears the length of the id in front."""
    length, _, rest = name.partition(":")
    return rest[: int(length)]
