"""What the schemas say in words: the meaning of every field, header and topic, and example values.

Data only. Stands beside ``ingest/events.py``, which says the types; a field or topic that is added
there and not here makes the generation (and so a test) fail with its name.
"""

from __future__ import annotations

from typing import Any, Final

from stream_app.ingest import topics
from stream_app.ingest.decode import Reason

Json = dict[str, Any]

EVENT_TIME_TEXT: Final = "2026-11-22T10:00:00.000Z"
EVENT_TIME_OFFSET: Final = "2026-11-22T11:00:00.250+01:00"
EVENT_TIME_MS: Final = 1_795_341_600_000
"""The same moment as ``EVENT_TIME_TEXT``, in milliseconds since 1970."""

FIELD_MEANINGS: Final = {
    "event_id": "unique per event; the same id again on the same topic is a duplicate and counts once",
    "event_type": "what happened; one of the types of the topic",
    "event_time": "when it happened, at the customer: RFC 3339 with an offset, or milliseconds since 1970",
    "customer_id": "the customer; equals the record key",
    "campaign_id": "the campaign that the message belongs to, a dimension",
    "segment": "customer segment, a dimension",
    "channel": "where the customer came in: web, phone, social, …; a dimension",
    "link_url": "the link that was followed",
    "user_agent": "for telling machines from people; never stored",
    "machine": "true if the sender already knows that a machine did it",
    "chat_id": "the conversation",
    "cart_id": "the cart",
    "ticket_id": "the case",
    "value": "what the cart is worth after the event",
    "currency": "currency of the value, ISO 4217",
    "items": "how many items are in the cart; 0 closes it, neither bought nor abandoned",
    "author": "who wrote",
    "rating": "satisfaction, 5 is best; 4 and 5 are positive",
}

EXAMPLE_VALUES: Final[Json] = {
    "customer_id": "customer-1042",
    "campaign_id": "spring-sale",
    "segment": "returning",
    "channel": "web",
    "link_url": "https://shop.example/spring",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "machine": False,
    "chat_id": "chat-77",
    "cart_id": "cart-311",
    "ticket_id": "INC0000045",
    "value": 59.9,
    "currency": "EUR",
    "items": 3,
    "author": "agent",
    "rating": 5,
}

TOPIC_MEANINGS: Final = {
    topics.EMAIL_DELIVERIES: "messages accepted or refused by the receiver: the denominators",
    topics.EMAIL_OPENS: "messages opened",
    topics.EMAIL_CLICKS: "links followed",
    topics.EMAIL_OPTOUTS: "unsubscribes and spam complaints",
    topics.CHATS: "conversations, from their start to their rating",
    topics.CARTS: "shopping carts, from the first item to the purchase",
    topics.TICKETS: "cases, from their opening to their rating",
    topics.METRICS: "live metrics: the newest snapshot of each campaign, segment, channel, and of all",
    "alerts.ctr": "alerts on click rates",
    "alerts.optout": "alerts on opt-outs, complaints and bounces: on who can be reached no longer",
    "alerts.abandonment": "alerts on carts: abandoned ones, and none at all",
    "alerts.service": "alerts on chats and tickets",
    "alerts.churn": "alerts on customers who are likely to leave",
    topics.DEAD_LETTERS: "records that are not counted: the original bytes, with the reason in the headers",
}

KEY_MEANINGS: Final = {
    **dict.fromkeys(topics.INPUT_TOPICS, "the `customer_id`"),
    topics.METRICS: "`dimension:key`, such as `campaign:spring-sale` or `all:all`",
    **dict.fromkeys(topics.ALERT_TOPICS, "the alert's fingerprint"),
    topics.DEAD_LETTERS: "the original key",
}

REASON_MEANINGS: Final = {
    Reason.INVALID_JSON: "the value is not JSON in UTF-8, or nested too deeply",
    Reason.INVALID_EVENT: "it is no object, or a field is missing or has a wrong type or value",
    Reason.UNKNOWN_TYPE: "the event type is not one of the topic's",
    Reason.KEY_MISMATCH: "the record key is not the customer_id",
    Reason.TOO_LARGE: "the record is larger than `STREAM_APP_MAX_EVENT_BYTES`",
    Reason.LATE: "the event is older than its shard's watermark",
    Reason.FUTURE: "the event is more than 5 minutes ahead of the clock",
}

CLOUD_EVENT_ATTRIBUTES: Final = {
    "specversion": "the version of CloudEvents, 1.0",
    "id": "stands for event_id",
    "source": "who sent it; CloudEvents asks for it, it is not used",
    "type": "stands for event_type",
    "time": "stands for event_time",
    "subject": "stands for customer_id",
}

ALERT_HEADERS: Final = {
    "ce_specversion": "the version of CloudEvents, 1.0",
    "ce_id": "derived from fingerprint, state and started_at: a repeat after a crash bears the same id",
    "ce_source": "which installation sent it",
    "ce_type": "what kind of event it is",
    "ce_time": "when the state changed",
}
