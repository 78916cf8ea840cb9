"""The engagement metrics of a worker's keys as samples. Pure; stands behind the snapshots.

A rate that nobody can know is left out. So are keys beyond the most: series cost Prometheus memory, and who names
segments is not always who pays for that. Those with the newest events are served.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from stream_app.metrics.catalogue import COUNTS, RATES, Dimension
from stream_app.metrics.snapshots import Snapshot
from stream_app.prometheus.exposition import Gathered, Sample
from stream_app.prometheus.families import (
    EXPOSED_WINDOWS,
    KEYS_LEFT_OUT,
    Family,
    count_family,
    engagement_families,
    rate_families,
)

Detail = Literal["all", "segments", "campaigns"]
MOST_KEYS = 200
"""Of a dimension and a worker; a segment has 320 series, a campaign 152, a campaign within a segment some fewer."""
DIMENSIONS: dict[Detail, frozenset[Dimension]] = {
    "all": frozenset({Dimension.ALL}),
    "segments": frozenset({Dimension.ALL, Dimension.SEGMENT, Dimension.CHANNEL}),
    "campaigns": frozenset(Dimension),
}
_COUNTS = {count.name: count_family(count) for count in COUNTS}
_RATES = {rate.name: rate_families(rate) for rate in RATES}


def chosen_keys(newest: Iterable[tuple[int, str]], detail: Detail) -> tuple[list[str], Counter[str]]:
    """The keys (``dimension:key``) to be served, of those given with the time of their newest event; and how many
    are left out, by dimension."""
    by_dimension: dict[Dimension, list[tuple[int, str]]] = defaultdict(list)
    for time_ms, full_key in newest:
        dimension = Dimension(full_key.partition(":")[0])
        if dimension in DIMENSIONS[detail]:
            by_dimension[dimension].append((time_ms, full_key))
    chosen: list[str] = []
    left_out: Counter[str] = Counter()
    for dimension, keys in by_dimension.items():
        chosen += [full_key for _, full_key in sorted(keys, reverse=True)[:MOST_KEYS]]
        left_out[dimension.value] = max(0, len(keys) - MOST_KEYS)
    return chosen, left_out


def engagement_samples(snapshots: Iterable[Snapshot], left_out: Counter[str]) -> list[Gathered]:
    """Everything that the catalogue has of these keys."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for snapshot in snapshots:
        for family, sample in _of(snapshot):
            found[family.name].append(sample)
    gathered: list[Gathered] = [(family, found[family.name]) for family in engagement_families()]
    return [*gathered, (KEYS_LEFT_OUT, [Sample(count, (name,)) for name, count in left_out.items()])]


def _of(snapshot: Snapshot) -> Iterator[tuple[Family, Sample]]:
    for window in EXPOSED_WINDOWS:
        labels = (snapshot.dimension, snapshot.key, window)
        view = snapshot.windows[window]
        for name, count in view.counts.items():
            if isinstance(count, dict):
                for currency, amount in count.items():
                    yield _COUNTS[name], Sample(amount, (*labels, currency))
            else:
                yield _COUNTS[name], Sample(count, labels)
        for name, rate in view.rates.items():
            for family, value in zip(_RATES[name], (rate.value, rate.low, rate.high), strict=False):
                if value is not None:
                    yield family, Sample(value, labels)
