"""What is computed and shown: the catalogue, the merging of shards, windows and snapshots."""
