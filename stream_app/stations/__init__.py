"""Shards and mergers with their journals: how each is taken over, flushed and let go."""
