"""The names of all topics, before the prefix. Stands at the start of the flow.

The seven input topics have the same number of partitions and the customer as record key, so that
one partition number (a shard) holds everything about a customer.
"""

from __future__ import annotations

from typing import Final

EMAIL_DELIVERIES: Final = "email.deliveries"
EMAIL_OPENS: Final = "email.opens"
EMAIL_CLICKS: Final = "email.clicks"
EMAIL_OPTOUTS: Final = "email.optouts"
CHATS: Final = "chats"
CARTS: Final = "carts"
TICKETS: Final = "tickets"

INPUT_TOPICS: Final = (EMAIL_DELIVERIES, EMAIL_OPENS, EMAIL_CLICKS, EMAIL_OPTOUTS, CHATS, CARTS, TICKETS)

METRICS: Final = "metrics"
ALERT_TOPICS: Final = ("alerts.ctr", "alerts.optout", "alerts.abandonment", "alerts.service", "alerts.churn")
DEAD_LETTERS: Final = "deadletters"
PARTIALS: Final = "partials"  # internal: from the shards to the mergers

COUNTED_TOPICS: Final = (*INPUT_TOPICS, PARTIALS)
"""Those that the agents read: their offsets are in the journals, and their partition numbers are shards."""

OUTPUT_TOPICS: Final = (METRICS, *ALERT_TOPICS, DEAD_LETTERS)


def alert_topic(kind: str) -> str:
    """The topic that alerts of a kind (``ctr``, ``optout``, ``abandonment``, ``service``, ``churn``) go to."""
    return f"alerts.{kind}"
