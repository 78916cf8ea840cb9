"""Grafana's dashboards, made from the catalogue and the families: one of engagement, one of the pipeline.

Stands beside the families. Grafana reads them from ``deploy/grafana/dashboards/``; what is changed there by hand is
lost, as these functions write them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from stream_app.metrics.catalogue import COUNTS, RATES, Dimension, Rate, Unit
from stream_app.prometheus import families
from stream_app.prometheus.families import EXPOSED_WINDOWS, Family, count_family, rate_families

Json = dict[str, Any]

DIRECTORY: Final = Path("deploy/grafana/dashboards")
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_COLUMNS = 24
_PANEL_WIDTH, _PANEL_HEIGHT = 8, 7
_KEY: Final = '{dimension="$dimension",key=~"$key",window="$window"}'
_PANE: Final = "[$__rate_interval]"


class Query(NamedTuple):
    """One line of a panel, or one for each set of labels."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """A chart; ``unit`` is Grafana's name of it."""

    title: str
    meaning: str
    unit: str
    queries: tuple[Query, ...]


class Row(NamedTuple):
    """Charts under one title."""

    title: str
    panels: tuple[Panel, ...]


def dashboards() -> dict[Path, Json]:
    """All dashboards by path."""
    return {
        DIRECTORY / "engagement.json": _dashboard("engagement", "Engagement", _engagement(), _key_choices()),
        DIRECTORY / "pipeline.json": _dashboard("pipeline", "Pipeline", _pipeline(), []),
    }


def _engagement() -> list[Row]:
    """Every rate, then every count, of e-mail, of customers and their carts, and of service."""
    rows = []
    for title, belongs in _SUBJECTS.items():
        rates = tuple(_rate_panel(rate) for rate in RATES if belongs(rate.dimensions))
        counts = tuple(
            _count_panel(count_family(count), count.unit) for count in COUNTS if belongs(count.dimensions)
        )
        rows += [Row(f"{title}: rates", rates), Row(f"{title}: counts", counts)]
    return rows


_SUBJECTS: Final[dict[str, Callable[[frozenset[Dimension]], bool]]] = {
    "E-mail": lambda dimensions: Dimension.CAMPAIGN in dimensions,
    "Customers and carts": lambda dimensions: dimensions.isdisjoint({Dimension.CAMPAIGN, Dimension.CHANNEL}),
    "Chats and tickets": lambda dimensions: Dimension.CHANNEL in dimensions,
}


def _rate_panel(rate: Rate) -> Panel:
    names = ("{{key}}", "{{key}} lower", "{{key}} upper")
    held = rate_families(rate)
    queries = tuple(Query(one.name + _KEY, name) for one, name in zip(held, names, strict=False))
    unit = "percentunit" if rate.interval else "s"
    return Panel(rate.name, _sentence(rate.meaning), unit, queries)


def _count_panel(family: Family, unit: Unit) -> Panel:
    legend = "{{key}} {{currency}}" if unit is Unit.AMOUNT else "{{key}}"
    name = family.name.removeprefix(families.ENGAGEMENT_PREFIX)
    shown = "s" if unit is Unit.SECONDS else "short"
    return Panel(name, _sentence(family.meaning), shown, (Query(family.name + _KEY, legend),))


def _pipeline() -> list[Row]:
    """What a person looks at who is called at night, from the health of all to the single worker."""
    f = families
    events = f"sum by (topic) (rate({f.EVENTS.name}{_PANE}))"
    letters = f"sum by (reason) (rate({f.DEAD_LETTERS.name}{_PANE}))"
    batch = f"sum(rate({f.BATCHES.name}_sum{_PANE})) / sum(rate({f.BATCHES.name}_count{_PANE}))"
    return [
        Row(
            "All workers",
            (
                _panel(f.READY, "short", Query(f.READY.name, "{{job}} {{instance}}")),
                _panel(f.EVENTS, "ops", Query(events, "{{topic}}")),
                _panel(f.DEAD_LETTERS, "ops", Query(letters, "{{reason}}")),
                _panel(f.LAG, "short", Query(f.LAG.name, "{{instance}}")),
                _panel(f.WATERMARK_DELAY, "s", Query(f.WATERMARK_DELAY.name, "shard {{shard}}")),
                _panel(f.ALERTS, "short", Query(f"sum by (kind, severity) ({f.ALERTS.name})", "{{kind}} {{severity}}")),
                _panel(f.CHURN_HELD_BACK, "short", Query(f.CHURN_HELD_BACK.name, "{{instance}}")),
            ),
        ),
        Row(
            "Each worker",
            (
                _panel(f.FLUSHES, "s", *_quantiles(f.FLUSHES, "of", "{{of}}")),
                _panel(f.COMMITS, "s", *_quantiles(f.COMMITS, "instance", "{{instance}}")),
                _panel(f.BATCHES, "short", Query(batch, "mean")),
                _panel(f.BLOCK, "s", Query(f.BLOCK.name, "{{instance}} {{by}}")),
                _panel(f.STATE_OBJECTS, "short", Query(f.STATE_OBJECTS.name, "{{instance}} {{of}}")),
                _panel(f.PARTITIONS, "short", Query(f.PARTITIONS.name, "{{instance}} {{of}}")),
                _panel(f.REDIS_UP, "short", Query(f.REDIS_UP.name, "{{instance}}")),
                _panel(f.REDIS_ERRORS, "ops", Query(f"rate({f.REDIS_ERRORS.name}{_PANE})", "{{instance}}")),
                Panel("process_resident_memory_bytes", "Memory of each process.", "bytes",
                      (Query('process_resident_memory_bytes{job=~"stream-app.*"}', "{{job}} {{instance}}"),)),
            ),
        ),
        Row(
            "Who is told",
            (
                _panel(f.NOTIFY_WAITING, "short", Query(f.NOTIFY_WAITING.name, "{{target}}")),
                _panel(f.NOTIFY_FAILING, "s", Query(f.NOTIFY_FAILING.name, "{{target}}")),
                _panel(f.NOTIFY_GIVEN_UP, "short", Query(f"increase({f.NOTIFY_GIVEN_UP.name}[1h])", "{{target}}")),
            ),
        ),
    ]  # fmt: skip


def _panel(family: Family, unit: str, *queries: Query) -> Panel:
    return Panel(family.name.removeprefix("stream_app_"), _sentence(family.meaning), unit, queries)


def _quantiles(family: Family, label: str, legend: str) -> Iterator[Query]:
    for quantile in (0.5, 0.95):
        rates = f"sum by (le, {label}) (rate({family.name}_bucket{_PANE}))"
        yield Query(f"histogram_quantile({quantile}, {rates})", f"{legend} {quantile:.0%}")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _dashboard(name: str, title: str, rows: Sequence[Row], choices: list[Json]) -> Json:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"stream-app-{name}",
        "title": f"stream-app: {title}",
        "description": "Generated by `python -m stream_app.schemas`; change the code, not this file.",
        "tags": ["stream-app"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "templating": {"list": [source, *choices]},
        "panels": list(_placed(rows)),
    }


def _key_choices() -> list[Json]:
    first = count_family(COUNTS[0]).name
    keys = f'label_values({first}{{dimension="$dimension"}}, key)'
    windows = ",".join(EXPOSED_WINDOWS)
    return [
        _choice("dimension", f"label_values({first}, dimension)", Dimension.ALL.value),
        _choice("key", keys, "$__all") | {"multi": True, "includeAll": True},
        {"name": "window", "type": "custom", "query": windows, "current": {"text": "1h", "value": "1h"}},
    ]


def _choice(name: str, query: str, first: str) -> Json:
    text = "All" if first == "$__all" else first
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "current": {"text": text, "value": first},
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """The panels, from left to right and from above, with their rows' titles."""
    number, y = 0, 0
    for row in rows:
        number += 1
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        y += 1
        for position, panel in enumerate(row.panels):
            number += 1
            line, column = divmod(position, _COLUMNS // _PANEL_WIDTH)
            x, top = column * _PANEL_WIDTH, y + line * _PANEL_HEIGHT
            place = {"h": _PANEL_HEIGHT, "w": _PANEL_WIDTH, "x": x, "y": top}
            yield {"id": number, "gridPos": place} | _chart(panel)
        y += -(-len(row.panels) // (_COLUMNS // _PANEL_WIDTH)) * _PANEL_HEIGHT


def _chart(panel: Panel) -> Json:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _SOURCE,
            "expr": one.expression,
            "legendFormat": one.legend,
        }
        for number, one in enumerate(panel.queries)
    ]
    custom = {"lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": False}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": targets,
    }
