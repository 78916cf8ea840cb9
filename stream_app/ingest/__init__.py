"""From Kafka batches to checked events: topics, event types, decoding, duplicates, watermarks."""
