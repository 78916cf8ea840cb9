"""Counts everything METRICS.md names over the sorted distinct events of each shard.

A shard is one partition number over all topics, and holds everything about its customers. Shards are counted
one by one; every number is the sum over them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.oracle.events import END_OF_TIME, Event, Record, Settings, distinct
from tests.oracle.machines import Machines, find_machines, is_flagged
from tests.oracle.stages import count_stages
from tests.oracle.windows import ALL, Key, Result


def compute(
    records: Iterable[Record], *, settings: Settings | None = None, now_ms: int | Mapping[int, int] | None
) -> Result:
    """Everything that is counted, over the records of all shards.

    `now_ms` is the watermark, of each partition or one for all. What waits for time has come true once the
    watermark is *past* its deadline: an event at the deadline is in time, and is not late before that.
    None, or a partition that is missing, is a shard without a watermark: time alone decides nothing there.
    Stages are decided by days that are over; the end of time is none, so that none is decided there.
    """
    settings = settings or Settings()
    shards: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        shards[record.partition].append(record)
    result = Result()
    for partition in sorted(shards):
        now = now_ms.get(partition) if isinstance(now_ms, Mapping) else now_ms
        _count_shard(distinct(shards[partition], settings), settings, now, result)
    return result


def _count_shard(events: list[Event], settings: Settings, now: int | None, result: Result) -> None:
    """Count one shard's events: the emails all together, each cart, chat and ticket by itself.

    Carts, chats and tickets are told apart by customer and id: two customers may use the same id.
    """
    for event in events:
        result.touch(event.keys, event.time)
    machines = _count_emails([event for event in events if event.family == "email"], settings, result)
    if now is not None and now < END_OF_TIME:
        count_stages(events, _acts_of_people(events, machines), settings, now, result)
    for cart in _entities(events, "cart"):
        _count_cart(cart, settings, now, result)
    for chat in _entities(events, "chat"):
        _count_chat(chat, settings, now, result)
    for ticket in _entities(events, "ticket"):
        _count_ticket(ticket, result)


def _entities(events: list[Event], family: str) -> list[list[Event]]:
    """The events of each cart, chat or ticket, in order."""
    grouped = _grouped(
        [event for event in events if event.family == family],
        lambda event: (event.customer, event.body[f"{family}_id"]),
    )
    return list(grouped.values())


def _grouped(events: Iterable[Event], key: Callable[[Event], Any]) -> defaultdict[Any, list[Event]]:
    """Events by key; those of each key stay in order."""
    groups: defaultdict[Any, list[Event]] = defaultdict(list)
    for event in events:
        groups[key(event)].append(event)
    return groups


# --- emails


def _count_emails(emails: list[Event], settings: Settings, result: Result) -> Machines:
    """Count what the emails of a shard add to campaigns, segments and all; tells which clicks are machines'."""
    of_type = _grouped(emails, lambda event: event.type)
    deliveries, optouts = of_type["email.delivered"], of_type["email.opted_out"]
    machines = find_machines(deliveries, of_type["email.clicked"], optouts, settings)
    opens = _grouped(of_type["email.opened"], is_flagged)
    clicks = _grouped(of_type["email.clicked"], machines.clicked)
    for count, events in (
        ("deliveries", deliveries),
        ("bounces", of_type["email.bounced"]),
        ("opens", opens[False]),
        ("clicks", clicks[False]),
        ("machine_opens", opens[True]),
        ("machine_clicks", clicks[True]),
        (
            "machine_by_flag",
            opens[True] + [click for click in clicks[True] if click.offset in machines.flagged],
        ),
        ("machine_by_haste", [click for click in clicks[True] if click.offset in machines.hasty]),
        ("machine_by_burst", [click for click in clicks[True] if click.offset in machines.in_burst]),
    ):
        for event in events:
            result.add(event.keys, event.time, count)
    for count, events in (
        ("unique_opens", opens[False]),
        ("unique_clicks", clicks[False]),
        ("unique_engaged", _engagements(opens[False], clicks[False])),
        ("optouts", optouts),
        ("optouts_suspected", _without_any_but(machines.suspected_optouts, optouts)),
        ("complaints", of_type["email.complained"]),
    ):
        _count_unique(events, count, result)
    leavings = sorted(optouts + of_type["email.complained"], key=lambda event: event.order)
    _count_customers(deliveries, "reached", result)
    _count_customers(leavings, "disengaged", result)
    _count_lost_before(deliveries, optouts, result)
    return machines


def _acts_of_people(events: list[Event], machines: Machines) -> list[Event]:
    """Purchases, opens by people, and clicks that nothing speaks against."""
    return [
        event
        for event in events
        if event.type == "cart.purchased"
        or (event.type == "email.opened" and not is_flagged(event))
        or (event.type == "email.clicked" and event.offset not in machines.doubtful)
    ]


def _without_any_but(suspected: set[int], optouts: list[Event]) -> list[Event]:
    """The opt-outs of those customers and campaigns where every one is suspected."""
    groups = _grouped(optouts, lambda event: (event.customer, event.text("campaign_id"))).values()
    return [event for same in groups if all(one.offset in suspected for one in same) for event in same]


def _engagements(opens: list[Event], clicks: list[Event]) -> list[Event]:
    """Opens and clicks by people, in order of time; of those at the same time, opens before clicks.

    (Their offsets are of different topics and say nothing of each other.)
    """
    return sorted(
        [*opens, *clicks], key=lambda event: (event.time, event.type != "email.opened", event.offset)
    )


def _count_unique(events: list[Event], count: str, result: Result) -> None:
    """Count once per customer and campaign, in the pane, segment and campaign of the earliest event.

    Events without a campaign share one campaign of their own: they count in their segment and in all, but in
    no campaign's key.
    """
    for same in _grouped(events, lambda event: (event.customer, event.text("campaign_id"))).values():
        result.add(same[0].keys, same[0].time, count)


def _count_customers(events: list[Event], count: str, result: Result) -> None:
    """Count once per customer in each segment and once per customer in all, at the earliest event there."""
    seen: set[tuple[Key, str]] = set()
    for event in events:
        for key in event.keys:
            if key[0] in ("segment", "all") and (key, event.customer) not in seen:
                seen.add((key, event.customer))
                result.add([key], event.time, count)


def _count_lost_before(deliveries: list[Event], optouts: list[Event], result: Result) -> None:
    """Count for each campaign the customers who had opted out before its first delivery, both in this shard.

    The first opt-out may be of any campaign or none; it is strictly before the delivery, in whose pane it
    counts. Complaints are no opt-outs. A campaign's number is the sum over the shards.
    """
    first_optouts = [same[0].time for same in _grouped(optouts, lambda event: event.customer).values()]
    for campaign, same in _grouped(deliveries, lambda event: event.text("campaign_id")).items():
        lost = sum(time < same[0].time for time in first_optouts)
        if lost:
            result.add([("campaign", campaign)], same[0].time, "lost_before", lost)


# --- carts


class _Episode:
    """A cart from its first update on, and what its events bore latest."""

    def __init__(self) -> None:
        self.last = 0
        self.segment: str | None = None
        self.value: Decimal | None = None
        self.currency = ""

    def take(self, event: Event) -> None:
        """Add an event: segment and value are the latest that one bore, the currency goes with the value."""
        self.last = event.time
        self.segment = self.segment if event.text("segment") is None else event.text("segment")
        if event.body.get("value") is not None:
            self.value = _value(event)
            self.currency = event.text("currency") or ""


def _count_cart(events: list[Event], settings: Settings, now: int | None, result: Result) -> None:
    """Count the episodes of one cart.

    - An episode starts with an update or a checkout while none is open, in the dimensions of that event.
    - It is abandoned where nothing of the cart came within the timeout, inclusive, of its last event: decided
      by a following event of the cart that is later than that, or by the watermark.
    - A purchase counts in its own dimensions, with its own value, with or without an open episode; as
      recovered where none is open and the cart's last one was abandoned. After a purchase without an episode,
      too, the last end is a purchase: nothing is recovered twice.
    - `items: 0` on an update ends the episode, counted nowhere; where none is open, it is nothing: it starts
      none, and a purchase after it still recovers an episode that was abandoned before it.
    """
    episode: _Episode | None = None
    last_end = ""
    for event in events:
        if episode and event.time > episode.last + settings.cart_timeout_ms:
            _count_abandoned(episode, settings, result)
            episode, last_end = None, "abandoned"
        if event.type == "cart.purchased":
            _count_purchase(event, result, recovered=episode is None and last_end == "abandoned")
            episode, last_end = None, "purchased"
        elif event.type == "cart.updated" and event.body.get("items") == 0:
            if episode:
                episode, last_end = None, "emptied"
        else:
            if not episode:
                episode = _Episode()
                result.add(event.keys, event.time, "carts_started")
            episode.take(event)
    if episode and now is not None and now > episode.last + settings.cart_timeout_ms:
        _count_abandoned(episode, settings, result)


def _count_purchase(event: Event, result: Result, *, recovered: bool) -> None:
    """Count a purchase in the dimensions it bears itself."""
    result.add(event.keys, event.time, "carts_purchased")
    result.add(event.keys, event.time, "purchased_value", _value(event), event.text("currency") or "")
    if recovered:
        result.add(event.keys, event.time, "carts_recovered")


def _count_abandoned(episode: _Episode, settings: Settings, result: Result) -> None:
    """Count an abandoned cart when the timeout ran out, in the latest segment its episode's events bore.

    Its value is the last that an event of the episode bore; where none bore one, nothing is added.
    """
    keys = [ALL] if episode.segment is None else [ALL, ("segment", episode.segment)]
    time = episode.last + settings.cart_timeout_ms
    result.add(keys, time, "carts_abandoned")
    if episode.value is not None:
        result.add(keys, time, "abandoned_value", episode.value, episode.currency)


def _value(event: Event) -> Decimal:
    """The `value` of an event as the decimal it was written as."""
    return Decimal(str(event.body.get("value", 0)))


# --- chats and tickets


def _count_chat(events: list[Event], settings: Settings, now: int | None, result: Result) -> None:
    """Count one chat; everything goes to the dimensions of its opening event.

    - Started once, at the first `chat.started`.
    - Answered at the first `chat.answered` or message by an agent whose time is not before the start's,
      however late (at the time of the start: whichever arrived first); the wait counts there too.
    - Missed where no answer is within the timeout, inclusive, of the start, once the watermark is past that;
      counted when the timeout ran out. A later answer takes nothing back.
    - Without a `chat.started` none of these is counted.
    - Ended once, at the first `chat.ended`.
    """
    start, keys = _opening(events, "chat.started")
    if start:
        result.add(keys, start.time, "chats_started")
        answer = _first(event for event in events if _is_answer(event) and event.time >= start.time)
        deadline = start.time + settings.chat_timeout_ms
        if answer:
            result.add(keys, answer.time, "chats_answered")
            result.add(keys, answer.time, "chat_wait_seconds", answer.time - start.time)
        if (answer is None or answer.time > deadline) and now is not None and now > deadline:
            result.add(keys, deadline, "chats_missed")
    end = _first(event for event in events if event.type == "chat.ended")
    if end:
        result.add(keys, end.time, "chats_ended")
    _count_ratings(events, keys, result)


def _is_answer(event: Event) -> bool:
    """Whether an agent took up the chat with this event."""
    return event.type == "chat.answered" or (event.type == "chat.message" and _by_agent(event))


def _count_ticket(events: list[Event], result: Result) -> None:
    """Count one ticket; everything goes to the dimensions of its opening event.

    - Opened once, at the first `ticket.opened`.
    - Every resolution and every reopening counts. Each resolution's time runs from the opening; none is added
      where the opening is not known or is later than the resolution.
    - The reply time runs from the opening to the first reply by an agent that is not earlier, once per
      ticket; without a `ticket.opened` there is none.
    """
    opened, keys = _opening(events, "ticket.opened")
    if opened:
        result.add(keys, opened.time, "tickets_opened")
        reply = _first(event for event in events if _is_agent_reply(event) and event.time >= opened.time)
        if reply:
            result.add(keys, reply.time, "tickets_replied")
            result.add(keys, reply.time, "ticket_reply_seconds", reply.time - opened.time)
    for event in events:
        if event.type == "ticket.reopened":
            result.add(keys, event.time, "tickets_reopened")
        if event.type == "ticket.resolved":
            result.add(keys, event.time, "tickets_resolved")
            if opened and event.time >= opened.time:
                result.add(keys, event.time, "ticket_resolution_seconds", event.time - opened.time)
    _count_first_contact(events, keys, result)
    _count_ratings(events, keys, result)


def _count_first_contact(events: list[Event], keys: tuple[Key, ...], result: Result) -> None:
    """Count a first resolution with at most one agent reply before it and no reopening ever after it.

    It counts in the resolution's pane. Before and after are the order of time and offset.
    """
    resolved = _first(event for event in events if event.type == "ticket.resolved")
    if not resolved:
        return
    replies = [event for event in events if _is_agent_reply(event) and event.order < resolved.order]
    reopenings = [
        event for event in events if event.type == "ticket.reopened" and event.order > resolved.order
    ]
    if len(replies) <= 1 and not reopenings:
        result.add(keys, resolved.time, "tickets_first_contact")


def _is_agent_reply(event: Event) -> bool:
    """Whether this is an agent's reply to a ticket."""
    return event.type == "ticket.replied" and _by_agent(event)


def _by_agent(event: Event) -> bool:
    """Whether an agent wrote this."""
    return event.body.get("author") == "agent"


def _count_ratings(events: list[Event], keys: tuple[Key, ...], result: Result) -> None:
    """Count every rating, and those of 4 and 5 as positive, in the dimensions of the opening."""
    for event in events:
        if event.type in ("chat.rated", "ticket.rated"):
            result.add(keys, event.time, "ratings")
            if event.body["rating"] >= 4:
                result.add(keys, event.time, "ratings_positive")


def _opening(events: list[Event], opening_type: str) -> tuple[Event | None, tuple[Key, ...]]:
    """The first event of the opening type, if any, and the dimensions that the whole entity counts in.

    Those are the dimensions of the opening or, where there is none, of the first event.
    """
    opening = _first(event for event in events if event.type == opening_type)
    return opening, (opening or events[0]).keys


def _first(events: Iterable[Event]) -> Event | None:
    """The first of the events, which are in order."""
    return next(iter(events), None)
