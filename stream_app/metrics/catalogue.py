"""The catalogue of every count and every rate, as data. Stands beside the whole flow.

The state counts what is named here, the snapshots show it, and the docs, help texts and the check
of alert rules are made from it; a metric that is not in it does not exist. Source of all
definitions: the project's METRICS document, shown in docs/reference/metrics.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS

PANE_MS: Final = 10_000
WINDOWS: Final = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS}
LONGEST_WINDOW_MS: Final = max(WINDOWS.values())
TOTAL: Final = "total"


class Dimension(StrEnum):
    """What a metric is broken down by. ``CAMPAIGN_SEGMENT`` is counted only where the setting ``campaign_segments`` says so."""

    ALL = "all"
    CAMPAIGN = "campaign"
    SEGMENT = "segment"
    CHANNEL = "channel"
    CAMPAIGN_SEGMENT = "campaign_segment"


class Unit(StrEnum):
    """How a count is to be read. ``SECONDS`` are summed as integer milliseconds, ``AMOUNT`` per
    currency as integer ten-thousandths (the finest minor unit of ISO 4217)."""

    EVENTS = "events"
    CUSTOMERS = "customers"
    EPISODES = "episodes"
    SECONDS = "seconds"
    AMOUNT = "amount"


class Count(NamedTuple):
    """One count: what it is called, in which dimensions it exists, and what it means.

    ``is_balance``: those who go are taken off it, so that ``total`` is how many there are now, and a window by how many
    that changed, down as well as up.
    """

    name: str
    unit: Unit
    dimensions: frozenset[Dimension]
    meaning: str
    is_balance: bool = False


class Rate(NamedTuple):
    """One rate: the sum of counts ``numerator`` over the sum of counts ``denominator``.

    ``interval`` says that it is a proportion, so that Wilson's 95 % interval is given with it.
    """

    name: str
    numerator: str
    denominator: tuple[str, ...]
    dimensions: frozenset[Dimension]
    interval: bool
    meaning: str


_MAIL = frozenset({Dimension.CAMPAIGN, Dimension.CAMPAIGN_SEGMENT, Dimension.SEGMENT, Dimension.ALL})
_CAMPAIGN = frozenset({Dimension.CAMPAIGN})
_PEOPLE = frozenset({Dimension.SEGMENT, Dimension.ALL})
_SERVICE = frozenset({Dimension.CHANNEL, Dimension.SEGMENT, Dimension.ALL})

_STAGES: Final = {
    "new": "are new: seen for the first time less than `stage_new` ago",
    "active": "are active: no longer new, and not silent for long",
    "cooling": "are cooling: no engagement for `stage_cooling`",
    "dormant": "are dormant: no engagement for `stage_dormant`",
    "left": "have left: opted out, or complained of spam",
    "returned": "have returned: engaged again less than `stage_new` ago, having been dormant",
}

# A count's place is its number in journals and partials: add new ones at the end.
COUNTS: Final = (
    Count("deliveries", Unit.EVENTS, _MAIL, "messages accepted by the receiver"),
    Count("bounces", Unit.EVENTS, _MAIL, "messages refused by the receiver"),
    Count("opens", Unit.EVENTS, _MAIL, "opens by people"),
    Count("clicks", Unit.EVENTS, _MAIL, "clicks by people"),
    Count("machine_opens", Unit.EVENTS, _MAIL, "opens by machines, which are in no rate"),
    Count("machine_clicks", Unit.EVENTS, _MAIL, "clicks by machines, which are in no rate"),
    Count("unique_opens", Unit.CUSTOMERS, _MAIL, "customers who opened, once per campaign"),
    Count("unique_clicks", Unit.CUSTOMERS, _MAIL, "customers who clicked, once per campaign"),
    Count("unique_engaged", Unit.CUSTOMERS, _MAIL, "customers who opened or clicked, once per campaign"),
    Count("optouts", Unit.CUSTOMERS, _MAIL, "customers who unsubscribed, once per campaign"),
    Count("complaints", Unit.CUSTOMERS, _MAIL, "customers who complained of spam, once per campaign"),
    Count(
        "lost_before",
        Unit.CUSTOMERS,
        _CAMPAIGN,
        "customers who had opted out before the campaign's first delivery in their shard",
    ),
    Count("reached", Unit.CUSTOMERS, _PEOPLE, "customers with a first delivery"),
    Count("disengaged", Unit.CUSTOMERS, _PEOPLE, "customers with a first opt-out or complaint"),
    Count("carts_started", Unit.EPISODES, _PEOPLE, "cart episodes begun"),
    Count("carts_purchased", Unit.EPISODES, _PEOPLE, "cart episodes that ended in a purchase"),
    Count("carts_abandoned", Unit.EPISODES, _PEOPLE, "cart episodes left for longer than the cart timeout"),
    Count("carts_recovered", Unit.EPISODES, _PEOPLE, "purchases of a cart that had been abandoned"),
    Count("purchased_value", Unit.AMOUNT, _PEOPLE, "what was paid, per currency"),
    Count("abandoned_value", Unit.AMOUNT, _PEOPLE, "what abandoned carts were worth, per currency"),
    Count("chats_started", Unit.EPISODES, _SERVICE, "chats begun by customers"),
    Count("chats_answered", Unit.EPISODES, _SERVICE, "chats an agent answered"),
    Count("chats_missed", Unit.EPISODES, _SERVICE, "chats nobody answered within the chat timeout"),
    Count("chats_ended", Unit.EPISODES, _SERVICE, "chats that ended"),
    Count("chat_wait_seconds", Unit.SECONDS, _SERVICE, "from a chat's start to its answer, summed"),
    Count("tickets_opened", Unit.EPISODES, _SERVICE, "tickets opened"),
    Count("tickets_resolved", Unit.EVENTS, _SERVICE, "resolutions of tickets"),
    Count("tickets_reopened", Unit.EVENTS, _SERVICE, "tickets opened again"),
    Count(
        "tickets_first_contact",
        Unit.EPISODES,
        _SERVICE,
        "tickets solved with at most one reply of an agent and not reopened",
    ),
    Count("ticket_resolution_seconds", Unit.SECONDS, _SERVICE, "from opening to each resolution, summed"),
    Count("ticket_reply_seconds", Unit.SECONDS, _SERVICE, "from opening to the first reply, summed"),
    Count("tickets_replied", Unit.EPISODES, _SERVICE, "tickets an agent replied to"),
    Count("ratings", Unit.EVENTS, _SERVICE, "ratings of chats and tickets"),
    Count("ratings_positive", Unit.EVENTS, _SERVICE, "ratings of 4 or 5"),
    Count("machine_by_flag", Unit.EVENTS, _MAIL, "opens and clicks that their sender calls a machine's"),
    Count("machine_by_agent", Unit.EVENTS, _MAIL, "opens and clicks by a machine's user agent"),
    Count("machine_by_haste", Unit.EVENTS, _MAIL, "machine clicks too soon before or after their delivery"),
    Count(
        "machine_by_burst", Unit.EVENTS, _MAIL, "machine clicks among many links of a mail within a second"
    ),
    Count(
        "optouts_suspected",
        Unit.CUSTOMERS,
        _MAIL,
        "of the opt-outs, those that a machine may have made; they are in every rate all the same",
    ),
    *(
        Count(f"stage_{stage}", Unit.CUSTOMERS, _PEOPLE, f"customers who {meaning}", is_balance=True)
        for stage, meaning in _STAGES.items()
    ),
    *(
        Count(f"became_{stage}", Unit.CUSTOMERS, _PEOPLE, f"moves of customers to the stage {stage}")
        for stage in _STAGES
    ),
)

RATES: Final = (
    Rate("open_rate", "unique_opens", ("deliveries",), _MAIL, True, "of the messages delivered, opened"),
    Rate("ctr", "unique_clicks", ("deliveries",), _MAIL, True, "click-through rate"),
    Rate("ctor", "unique_clicks", ("unique_engaged",), _MAIL, True, "click-to-open rate, never above 1"),
    Rate("optout_rate", "optouts", ("deliveries",), _MAIL, True, "opt-outs per delivery"),
    Rate("complaint_rate", "complaints", ("deliveries",), _MAIL, True, "spam complaints per delivery"),
    Rate("bounce_rate", "bounces", ("deliveries", "bounces"), _MAIL, True, "of the messages sent, refused"),
    Rate(
        "ctr_adjusted",
        "unique_clicks",
        ("deliveries", "lost_before"),
        _CAMPAIGN,
        True,
        "click rate on the audience you once had",
    ),
    Rate(
        "disengagement_rate", "disengaged", ("reached",), _PEOPLE, True, "of the customers reached, opted out"
    ),
    Rate(
        "abandonment_rate",
        "carts_abandoned",
        ("carts_abandoned", "carts_purchased"),
        _PEOPLE,
        True,
        "of the carts that ended, abandoned",
    ),
    Rate(
        "recovery_rate",
        "carts_recovered",
        ("carts_abandoned",),
        _PEOPLE,
        True,
        "abandoned carts bought later",
    ),
    Rate("missed_chat_rate", "chats_missed", ("chats_started",), _SERVICE, True, "chats nobody answered"),
    Rate("mean_chat_wait", "chat_wait_seconds", ("chats_answered",), _SERVICE, False, "seconds to an answer"),
    Rate("reopen_rate", "tickets_reopened", ("tickets_resolved",), _SERVICE, True, "resolutions undone"),
    Rate(
        "first_contact_rate",
        "tickets_first_contact",
        ("tickets_resolved",),
        _SERVICE,
        True,
        "resolutions at first contact",
    ),
    Rate(
        "mean_resolution_time",
        "ticket_resolution_seconds",
        ("tickets_resolved",),
        _SERVICE,
        False,
        "seconds from opening to resolution",
    ),
    Rate(
        "mean_reply_time",
        "ticket_reply_seconds",
        ("tickets_replied",),
        _SERVICE,
        False,
        "seconds from opening to the first reply",
    ),
    Rate("csat", "ratings_positive", ("ratings",), _SERVICE, True, "of the ratings, 4 or 5"),
)

COUNT_BY_NAME: Final = {count.name: count for count in COUNTS}
RATE_BY_NAME: Final = {rate.name: rate for rate in RATES}


def counts_of(dimension: Dimension) -> tuple[Count, ...]:
    """The counts that exist in a dimension, in the catalogue's order."""
    return tuple(count for count in COUNTS if dimension in count.dimensions)


def rates_of(dimension: Dimension) -> tuple[Rate, ...]:
    """The rates that exist in a dimension, in the catalogue's order."""
    return tuple(rate for rate in RATES if dimension in rate.dimensions)


def campaign_segment(campaign: str, segment: str) -> str:
    """The name of a campaign within a segment, ``<campaign>/<segment>``: both are percent-encoded, so that a slash in a
    name is none."""
    return f"{quote(campaign, safe='')}/{quote(segment, safe='')}"


def campaign_and_segment(name: str) -> tuple[str, str]:
    """What ``campaign_segment`` was made of."""
    campaign, _, segment = name.partition("/")
    return unquote(campaign), unquote(segment)
