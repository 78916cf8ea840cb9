"""Samples as text: what ``/metrics`` answers. Pure but for the figures of the process; stands at the edge.

Every answer has a registry of its own, filled with what was gathered for it: nothing is global, and nothing that is gone
(a partition, a campaign) is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from stream_app import __version__
from stream_app.prometheus.families import BUILD, READY, Family, Kind
from stream_app.sinks.http_server import Reply
from stream_app.vitals import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TYPES = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}


class Sample(NamedTuple):
    """One value with those of its family's labels."""

    value: float
    labels: tuple[str, ...] = ()


class Distribution(NamedTuple):
    """A histogram as it was at one moment, with the values of its family's labels."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    sum: float
    labels: tuple[str, ...] = ()


Gathered = tuple[Family, Sequence[Sample] | Sequence[Distribution]]


def distribution(histogram: Histogram, *labels: str) -> Distribution:
    """A histogram as it is now."""
    return Distribution(histogram.bounds, tuple(histogram.buckets), histogram.sum, labels)


def process_samples(is_ready: bool) -> list[Gathered]:
    """What every program serves: its version, and whether it is ready."""
    return [(BUILD, [Sample(1, (__version__,))]), (READY, [Sample(is_ready)])]


def metrics_reply(gathered: Iterable[Gathered]) -> Reply:
    """The answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Given([_metric(family, samples) for family, samples in gathered]))
    return Reply(200, generate_latest(registry), CONTENT_TYPE)


class _Given(Collector):
    """Hands on what was gathered already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._metrics


def _metric(family: Family, samples: Sequence[Sample] | Sequence[Distribution]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        return _histogram(family, [one for one in samples if isinstance(one, Distribution)])
    metric: CounterMetricFamily | GaugeMetricFamily = _TYPES[family.kind](
        family.name, family.meaning, labels=family.labels
    )
    for one in samples:
        if isinstance(one, Sample):
            metric.add_metric(one.labels, float(one.value))
    return metric


def _histogram(family: Family, distributions: Sequence[Distribution]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    for one in distributions:
        bounds = [*map(floatToGoString, one.bounds), "+Inf"]
        sums = accumulate(one.buckets)
        metric.add_metric(one.labels, list(zip(bounds, map(float, sums), strict=True)), one.sum)
    return metric
