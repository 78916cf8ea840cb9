"""All that the pages show at one moment, and what of it has changed since the last. Pure.

Stands between ``reading`` and ``hub``. A part is sent again only where it differs; of the campaigns, segments and
channels only the keys that differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stream_app.clock import HOUR_MS, SECOND_MS
from stream_app.console.history import History
from stream_app.console.numbers import (
    ALL_CURVES,
    CAMPAIGN_CURVES,
    CURVE_WINDOWS,
    SPARK,
    CampaignRow,
    Fields,
    campaign_row,
    curve_point,
    customer_view,
    key_view,
)
from stream_app.console.pipeline import Pipeline
from stream_app.console.reading import Seen, SeenAlerts
from stream_app.metrics.snapshots import split_key

SPARK_POINTS = 32
SPARKS_EVERY_MS = 5 * SECOND_MS
RESOLVED_FOR_MS = HOUR_MS
MOST_ALERTS = 200
MOST_RESOLVED = 30
ALL = "all:all"
_PIPELINE_CURVES = ("speed", "lag")
_DIGITS = 6

Json = dict[str, Any]


class World:
    """The state of everything shown. ``whole`` is all of it; ``take`` and ``take_alerts`` move it on and tell the
    difference."""

    def __init__(self) -> None:
        self._campaigns: dict[str, Sequence[Any]] = {}
        self._points: dict[str, list[float]] = {}
        self._sparks: dict[str, list[float | None]] = {}
        self._keys: dict[str, Json] = {}
        self._all_point: list[float] = []
        self._parts: dict[str, Any] = {}
        self._pipeline = Pipeline()
        self._sparks_at_ms = 0
        self.campaign_history = History(len(CAMPAIGN_CURVES))
        self.all_history = History(len(ALL_CURVES) + len(_PIPELINE_CURVES))

    def take(self, seen: Seen, clock_ms: int) -> Json:
        """Move on to what was seen; returns what has changed."""
        change: Json = {}
        self._take_campaigns(seen.campaigns, change)
        self._take_keys(seen.groups, change)
        pipeline = self._pipeline.take(seen.workers)
        self._remember(clock_ms, pipeline)
        churn = {
            "bands": seen.bands,
            "segments": seen.segment_bands,
            "worst": [customer_view(held) for held in seen.worst],
        }
        self._take_parts({"churn": churn, "pipeline": pipeline}, change)
        if clock_ms - self._sparks_at_ms >= SPARKS_EVERY_MS:
            self._sparks_at_ms = clock_ms
            self._take_sparks(change)
        return change

    def take_alerts(self, seen: SeenAlerts, clock_ms: int) -> Json:
        """Move on to the alerts that were seen; returns what has changed, which is nothing nearly always."""
        change: Json = {}
        parts = {
            "alerts": _in_order(seen.firing)[:MOST_ALERTS],
            "firing": Counter(str(alert.get("severity")) for alert in seen.firing),
            "resolved": _resolved(seen, clock_ms),
        }
        self._take_parts(parts, change)
        return change

    def whole(self) -> Json:
        """Everything as it is now."""
        return {
            "campaigns": self._campaigns,
            "sparks": self._sparks,
            "keys": self._keys,
            "since": self.all_history.times[0] if self.all_history.times else None,
            **self._parts,
        }

    def curves(self, full_key: str) -> Json:
        """What is remembered of a key: ``times`` and, by name, the values."""
        if full_key == ALL:
            names: Sequence[str] = (*ALL_CURVES, *_PIPELINE_CURVES)
            history, key = self.all_history, ALL
        elif full_key.startswith("campaign:"):
            names, history, key = CAMPAIGN_CURVES, self.campaign_history, full_key.partition(":")[2]
        else:
            return {"times": [], "curves": {}}
        curves = {name: history.curve(key, column) for column, name in enumerate(names)}
        return {"times": history.times, "curves": curves}

    def _take_campaigns(self, found: Mapping[str, Fields | None], change: Json) -> None:
        rows: dict[str, Sequence[Any] | None] = {}
        for name, fields in found.items():
            if fields is None or fields.get("as_of") is None:
                if self._campaigns.pop(name, None) is not None:
                    rows[name] = None
                self._points.pop(name, None)
                self._sparks.pop(name, None)
                continue
            row = _rounded(campaign_row(fields))
            self._points[name] = curve_point(fields, CAMPAIGN_CURVES)
            if row != self._campaigns.get(name):
                self._campaigns[name] = rows[name] = row
        if rows:
            change["campaigns"] = rows

    def _take_keys(self, found: Mapping[str, Fields | None], change: Json) -> None:
        keys: dict[str, Json | None] = {}
        for name, fields in found.items():
            if fields is None:
                if self._keys.pop(name, None) is not None:
                    keys[name] = None
                continue
            view = key_view(split_key(name)[0], fields, CURVE_WINDOWS)
            if name == ALL:
                self._all_point = curve_point(fields, ALL_CURVES)
            if view != self._keys.get(name):
                self._keys[name] = keys[name] = view
        if keys:
            change["keys"] = keys

    def _take_parts(self, parts: Json, change: Json) -> None:
        for name, part in parts.items():
            if part != self._parts.get(name):
                self._parts[name] = change[name] = part

    def _remember(self, clock_ms: int, pipeline: Json) -> None:
        if self.campaign_history.is_due(clock_ms):
            self.campaign_history.note(clock_ms, self._points)
        if self.all_history.is_due(clock_ms):
            now = [*(self._all_point or [0.0] * len(ALL_CURVES)), pipeline["speed"], pipeline["lag"]]
            self.all_history.note(clock_ms, {ALL: now})

    def _take_sparks(self, change: Json) -> None:
        changed = {}
        for name in self._campaigns:
            spark = self.campaign_history.thin_curve(name, SPARK, SPARK_POINTS)
            if spark != self._sparks.get(name):
                self._sparks[name] = changed[name] = spark
        if changed:
            change["sparks"] = changed


def _rounded(row: CampaignRow) -> list[Any]:
    return [round(value, _DIGITS) if isinstance(value, float) else value for value in row]


def _in_order(alerts: Sequence[Json]) -> list[Json]:
    """The critical first, customers behind all others, and of those the newest first."""
    newest_first = sorted(alerts, key=lambda alert: str(alert.get("started_at")), reverse=True)
    return sorted(
        newest_first,
        key=lambda alert: (alert.get("severity") != "critical", alert.get("dimension") == "customer"),
    )


def _resolved(seen: SeenAlerts, clock_ms: int) -> list[Json]:
    """The alerts whose end was told within the hour and that do not fire again, newest first."""
    known = {str(alert.get("fingerprint")) for alert in seen.firing}
    found: list[Json] = []
    for alert in seen.changes:
        fingerprint = str(alert.get("fingerprint"))
        if fingerprint in known or len(found) >= MOST_RESOLVED:
            continue
        known.add(fingerprint)
        if alert.get("state") == "resolved" and clock_ms - alert["told_at"] < RESOLVED_FOR_MS:
            found.append(alert)
    return found
