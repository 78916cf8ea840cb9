"""Events as producers send them, and the same events as records for the batch oracle."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from kafka import KafkaProducer

from stream_app.clock import to_rfc3339
from stream_app.ingest.events import EVENT_TYPES
from stream_app.settings import Settings
from stream_app.sinks.partitioner import partition_of
from tests.oracle.events import Record

Json = dict[str, Any]
Headers = Sequence[tuple[str, bytes]]

_CONFIRM_SECONDS = 110  # the producer itself gives up after 120
_numbers = itertools.count(1)
_ATTRIBUTES = {"event_id": "id", "event_type": "type", "event_time": "time", "customer_id": "subject"}


def event(event_type: str, customer: str, time_ms: int, **fields: Any) -> Json:
    """A plain event with an id of its own; fields that are None are left out."""
    given = {
        "event_id": f"{event_type}-{next(_numbers)}",
        "event_type": event_type,
        "event_time": to_rfc3339(time_ms),
        "customer_id": customer,
        **fields,
    }
    return {name: value for name, value in given.items() if value is not None}


def delivered(customer: str, time_ms: int, campaign: str = "sentinel") -> Json:
    """The plainest of all events."""
    return event("email.delivered", customer, time_ms, campaign_id=campaign)


def customers(partition: int, partitions: int, stem: str = "customer") -> Iterator[str]:
    """Names of customers whose events are in a partition, without end."""
    names = (f"{stem}-{number}" for number in itertools.count())
    return (name for name in names if partition_of(name.encode(), partitions) == partition)


def one_in_each(partitions: int, stem: str = "everywhere") -> list[str]:
    """A customer of every partition."""
    return [next(customers(partition, partitions, stem)) for partition in range(partitions)]


class Sender:
    """Sends events as a producer does, and remembers them for the oracle with the offsets they got."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        self._settings = settings
        given = {"enable_idempotence": False, "linger_ms": 2, "max_request_size": 20_000_000, **options}
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka, **given)
        self._sent: list[tuple[str, int, Json, Any]] = []
        self.records: list[Record] = []

    def send(self, *events: Json, form: str = "plain") -> None:
        """Send events; ``form`` is ``plain``, or ``structured`` or ``binary`` for CloudEvents."""
        for item in events:
            topic = EVENT_TYPES[item["event_type"]].topic
            value, headers = _written(item, form)
            key = item["customer_id"].encode()
            partition = partition_of(key, self._settings.partitions)
            future = self._producer.send(self._settings.topic(topic), value, key, list(headers), partition)
            self._sent.append((topic, partition, item, future))

    def raw(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int = 0
    ) -> Any:
        """Send any bytes; returns the future of where they lie."""
        return self._producer.send(self._settings.topic(topic), value, key, list(headers), partition)

    def flush(self) -> None:
        """Return when the broker has confirmed everything, also if it was away for a while; only then do
        ``records`` hold it."""
        self._producer.flush(_CONFIRM_SECONDS)
        for topic, partition, item, future in self._sent:
            self.records.append(Record(topic, partition, future.get(10).offset, item))
        self._sent.clear()

    def close(self) -> None:
        """Flush and disconnect."""
        self.flush()
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()


def _written(item: Json, form: str) -> tuple[bytes, Headers]:
    if form == "plain":
        return json.dumps(item).encode(), ()
    attributes = {"specversion": "1.0", "source": "/tests"}
    attributes |= {_ATTRIBUTES[name]: str(item[name]) for name in _ATTRIBUTES}
    if isinstance(item["event_time"], int):
        attributes["time"] = to_rfc3339(item["event_time"])
    data = {name: value for name, value in item.items() if name not in _ATTRIBUTES}
    if form == "structured":
        return json.dumps({**attributes, "data": data}).encode(), ()
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return json.dumps(data).encode(), [*headers, ("content-type", b"application/json")]


class Life:
    """Generated events of all types, repeated by the seed: out of order by a little, some twice. ``stem`` keeps
    the carts, chats and tickets of several lives apart."""

    def __init__(self, seed: int, start_ms: int, span_ms: int, stem: str = "") -> None:
        self._random = random.Random(seed)
        self._stem = stem
        self._start_ms = start_ms
        self._span_ms = span_ms

    def events(self, count: int) -> list[Json]:
        """About so many events in order of arrival, up to two minutes out of order of event time."""
        made: list[Json] = []
        stories = (self._mail, self._mail, self._cart, self._chat, self._ticket)
        for number in itertools.count():
            if len(made) >= count:
                break
            made += stories[number % len(stories)](number)
        made += [dict(item) for item in self._random.sample(made, len(made) // 50)]
        return [item for _, item in sorted(((self._arrival(item), item) for item in made), key=_first)]

    def _arrival(self, item: Json) -> int:
        at: int = item["event_time"]
        return at + self._random.randrange(120_000)

    def _customer(self) -> str:
        return f"c{self._random.randrange(200)}"

    def _moment(self) -> int:
        return self._start_ms + self._random.randrange(self._span_ms)

    def _later(self, time_ms: int, most_ms: int) -> int:
        return min(time_ms + self._random.randrange(1, most_ms), self._start_ms + self._span_ms)

    def _made(self, event_type: str, customer: str, time_ms: int, **fields: Any) -> Json:
        segment = self._random.choice([None, "new", "loyal"])
        made = event(event_type, customer, time_ms, segment=segment, **fields)
        return made | {"event_time": time_ms}

    def _mail(self, number: int) -> Iterable[Json]:
        chance, customer, at = self._random.random, self._customer(), self._moment()
        campaign = self._random.choice(["spring", "summer", "winter sale ☃"])
        if chance() < 0.05:
            return [self._made("email.bounced", customer, at, campaign_id=campaign)]
        made = [self._made("email.delivered", customer, at, campaign_id=campaign)]
        soon = self._later(at, 600_000)
        if chance() < 0.6:
            machine = self._random.choice([None, True, False])
            made.append(self._made("email.opened", customer, soon, campaign_id=campaign, machine=machine))
        if chance() < 0.4:
            made.append(
                self._made("email.clicked", customer, soon, campaign_id=campaign, machine=chance() < 0.3)
            )
        if chance() < 0.2:
            made += self._by_a_gateway(customer, campaign, at)
        if chance() < 0.1:
            given = self._random.choice([campaign, None])
            leaving = self._random.choice(["email.opted_out", "email.complained"])
            made.append(self._made(leaving, customer, soon, campaign_id=given))
        return made

    def _by_a_gateway(self, customer: str, campaign: str, delivered_ms: int) -> Iterable[Json]:
        """Clicks that give themselves away, by their haste or by a burst of links; or a hasty opt-out."""
        kind = self._random.choice(["haste", "burst", "opt-out"])
        if kind == "opt-out":
            return [self._made("email.opted_out", customer, delivered_ms + 500, campaign_id=campaign)]
        at = delivered_ms + 500 if kind == "haste" else self._later(delivered_ms + 5_000, 600_000)
        links = range(4 if kind == "burst" else 1)
        return [
            self._made("email.clicked", customer, at, campaign_id=campaign, link_url=f"https://a/{link}")
            for link in links
        ]

    def _cart(self, number: int) -> Iterable[Json]:
        customer, at, cart = (
            self._customer(),
            self._moment(),
            f"cart-{self._stem}{self._random.randrange(400)}",
        )
        money: Json = {"value": number % 90 + 0.25, "currency": self._random.choice(["EUR", "USD", None])}
        made = [self._made("cart.updated", customer, at, cart_id=cart, items=number % 5, **money)]
        if self._random.random() < 0.5:
            at = self._later(at, 600_000)
            made.append(self._made("cart.checkout_started", customer, at, cart_id=cart))
        if self._random.random() < 0.4:
            at = self._later(at, 7_200_000)
            made.append(self._made("cart.purchased", customer, at, cart_id=cart, **money))
        return made

    def _chat(self, number: int) -> Iterable[Json]:
        customer, at = self._customer(), self._moment()
        said: Json = {
            "chat_id": f"chat-{self._stem}{number}",
            "channel": self._random.choice(["web", "phone", None]),
        }
        made = [self._made("chat.started", customer, at, **said)]
        made.append(self._made("chat.message", customer, at + 1000, author="customer", **said))
        if self._random.random() < 0.7:
            at = self._later(at, 240_000)
            made.append(self._made("chat.answered", customer, at, **said))
        made.append(self._made("chat.ended", customer, self._later(at, 60_000), **said))
        if self._random.random() < 0.5:
            made.append(self._made("chat.rated", customer, at, rating=number % 5 + 1, **said))
        return made

    def _ticket(self, number: int) -> Iterable[Json]:
        customer, at = self._customer(), self._moment()
        case: Json = {
            "ticket_id": f"ticket-{self._stem}{number}",
            "channel": self._random.choice(["web", "social"]),
        }
        made = [self._made("ticket.opened", customer, at, **case)]
        for _ in range(self._random.randrange(3)):
            at = self._later(at, 900_000)
            made.append(self._made("ticket.replied", customer, at, author="agent", **case))
        at = self._later(at, 900_000)
        made.append(self._made("ticket.resolved", customer, at, **case))
        if self._random.random() < 0.2:
            at = self._later(at, 900_000)
            made.append(self._made("ticket.reopened", customer, at, **case))
        made.append(self._made("ticket.rated", customer, at, rating=number % 5 + 1, **case))
        return made


def _first(pair: tuple[int, Json]) -> int:
    return pair[0]


class Load(threading.Thread):
    """Sends events in a thread of its own at a steady pace, each chunk confirmed before the next.

    A chunk spans less event time than the lateness that the test allows, so that nothing it sends is late.
    ``every`` so many events comes a bad record; where these lie is in ``bad``.
    """

    def __init__(self, sender: Sender, events: Sequence[Json], a_second: int, every: int = 500) -> None:
        super().__init__(name="load", daemon=True)
        self._sender = sender
        self._events = events
        self._a_second = a_second
        self._every = every
        self._stop_now = threading.Event()
        self.bad: list[Any] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        """Send everything, or until it is told to stop."""
        try:
            chunk = max(1, self._a_second // 20)
            begun = time.monotonic()
            for first in range(0, len(self._events), chunk):
                self._sender.send(*self._events[first : first + chunk])
                if first % self._every < chunk:
                    self.bad.append(self._sender.raw("email.opens", b"nobody", b"{", partition=first % 3))
                self._sender.flush()
                if self._stop_now.wait(max(0.0, begun + first / self._a_second - time.monotonic())):
                    return
        except BaseException as problem:  # noqa: BLE001 - raised again where the test waits for it
            self.problem = problem

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until everything has been sent."""
        self.join(seconds)
        if self.problem is not None:
            raise self.problem
        assert not self.is_alive(), f"not all was sent within {seconds} s"

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop_now.set()
        self.join(30)
