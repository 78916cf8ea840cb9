"""Real-time customer-engagement signals: events in, live rates and alerts out.

The flow, in the order of the packages:

1. ``ingest``   Kafka batches are decoded, checked, freed of duplicates and of late events.
2. ``state``    A shard (one partition number over all input topics) counts panes and follows
                customers, carts, chats and tickets in event time; a journal makes it exact.
3. ``metrics``  Shards publish absolute totals; a merger adds them up into windows and snapshots.
4. ``alerts``   Rules watch the merged numbers; a churn score watches each customer.
5. ``sinks``    Snapshots and alerts go to their topics and to Redis.
6. ``notifiers``  A program beside the workers reads the alert topics and tells people.

Start reading at ``topology.py``, where the six agents and the merger are wired in this order.
"""

__version__ = "0.1.0"
