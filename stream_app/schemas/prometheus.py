"""The reference page of the metrics for Prometheus, from the families. Stands beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stream_app.prometheus.engagement import MOST_KEYS
from stream_app.prometheus.families import (
    CONSOLE_FAMILIES,
    EXPOSED_WINDOWS,
    NOTIFY_FAMILIES,
    WORKER_FAMILIES,
    Family,
    engagement_families,
)
from stream_app.schemas.markdown import page, table
from stream_app.settings import ENV_PREFIX

PATH = Path("docs/reference/prometheus.md")


def prometheus_page() -> str:
    """Every family that our programs serve."""
    windows = ", ".join(f"`{window}`" for window in EXPOSED_WINDOWS)
    detail = f"`{ENV_PREFIX}PROMETHEUS_DETAIL`"
    return page(
        "Metrics for Prometheus",
        f"Every worker and `stream-app notify` serve them at `/metrics` of `{ENV_PREFIX}HTTP`, in Prometheus's text "
        "format, and with them the usual `process_…` of the process. How to scrape them, and what to be told of: "
        "[monitor.md](../how-to/monitor.md).",
        f"## Of a worker\n\n{_families(WORKER_FAMILIES)}",
        f"## Of `stream-app notify`\n\n{_families(NOTIFY_FAMILIES)}",
        f"## Of `stream-app console`\n\nAt `{ENV_PREFIX}CONSOLE_HTTP`, for whoever gives its token as `Authorization: Bearer …`."
        f"\n\n{_families(CONSOLE_FAMILIES)}",
        "## Engagement\n\nWhat [metrics.md](metrics.md) defines, served by the worker that has the key, so that each key is "
        f"served once; in the windows {windows}. {detail} says of which keys: `all` of `all:all` only, `segments` of "
        "segments and channels as well, `campaigns` of campaigns as well, by segment too where they are counted so. Of each "
        f"dimension a worker serves the {MOST_KEYS} keys with the newest events. A rate that nobody can know is not there. All are gauges, in event "
        "time as of the key's newest event: for a pace of what comes in, use `stream_app_events_total`.",
        _families(engagement_families()),
    )


def _families(families: Iterable[Family]) -> str:
    rows = [
        [f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.meaning]
        for one in families
    ]
    return table(["metric", "type", "labels", "meaning"], rows)
