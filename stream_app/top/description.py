"""A scene as one JSON object, for programs that read ``stream-app top --json``. Pure.

Names are those of docs/reference/metrics.md; a number that nobody can know is null. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from stream_app.clock import SECOND_MS, to_rfc3339
from stream_app.figures import STAGE_MOVES_WINDOW, STAGES, Numbers
from stream_app.metrics.catalogue import TOTAL, Dimension, Unit, counts_of, rates_of
from stream_app.top.panels import Scene, watermark_delay_ms
from stream_app.top.reading import CAMPAIGN_COUNTS, CAMPAIGN_RATES, Worker
from stream_app.top.table import chosen_campaigns, machine_share

Json = dict[str, Any]


def describe(scene: Scene) -> Json:
    """Everything that the screen says, and all campaigns, in the order and with the filter of the view."""
    look, view = scene.look, scene.view
    return {
        "read_at": to_rfc3339(look.read_at_ms),
        "window": view.window,
        "alerts": list(look.alerts),
        "all": _everything(look.everything, view.window),
        "campaigns": [
            _campaign(name, look.campaigns[name], view.window)
            for name in chosen_campaigns(look.campaigns, view)
        ],
        "campaign_count": look.campaign_count,
        "churn": {
            "stages": {stage: _stage(look.everything, stage) for stage in STAGES},
            "held_back": look.churn_held_back,
            "customer_count": look.customer_count,
            "customers": [customer._asdict() for customer in look.customers],
        },
        "pipeline": _pipeline(scene),
    }


def _everything(numbers: Numbers, window: str) -> Json:
    counts = {
        count.name: numbers.amounts(window, count.name)
        if count.unit is Unit.AMOUNT
        else numbers.count(window, count.name)
        for count in counts_of(Dimension.ALL)
    }
    rates = {rate.name: numbers.rate(window, rate.name)._asdict() for rate in rates_of(Dimension.ALL)}
    return {"as_of": numbers.as_of or None, "counts": counts, "rates": rates}


def _stage(numbers: Numbers, stage: str) -> Json:
    """How many customers are in it now, and how many came to it within a day."""
    return {
        "customers": numbers.known(TOTAL, f"stage_{stage}"),
        f"became_within_{STAGE_MOVES_WINDOW}": numbers.known(STAGE_MOVES_WINDOW, f"became_{stage}"),
    }


def _campaign(name: str, numbers: Numbers, window: str) -> Json:
    return {
        "key": name,
        "as_of": numbers.as_of,
        "counts": {count: numbers.count(window, count) for count in CAMPAIGN_COUNTS},
        "rates": {rate: numbers.rate(window, rate)._asdict() for rate in CAMPAIGN_RATES},
        "machine_share": machine_share(numbers, window),
    }


def _pipeline(scene: Scene) -> Json:
    delay_ms = watermark_delay_ms(scene.look, scene.clock_ms)
    return {
        "workers": [_worker(worker) for worker in scene.look.workers],
        "events_per_second": None if scene.pace is None else Counter(scene.pace),
        "watermark_delay_seconds": None if delay_ms is None else delay_ms / SECOND_MS,
    }


def _worker(worker: Worker) -> Json:
    described = worker._asdict()
    watermark_ms = described.pop("watermark_ms")
    return described | {"watermark": None if watermark_ms is None else to_rfc3339(watermark_ms)}
