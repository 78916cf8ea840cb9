"""Chaos: real processes under load, faults drawn from a seed, and every number held against the batch."""
