"""``stream-app watch``: alerts or metrics as they are published, one line each."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from stream_app.clock import monotonic_seconds
from stream_app.commands.reading import POLL_MS, consumer
from stream_app.ingest.topics import ALERT_TOPICS, METRICS
from stream_app.metrics.catalogue import TOTAL
from stream_app.output import json_line, printable, reader_has_gone, result, until_told
from stream_app.settings import Settings

MAIN_RATES = ("ctr", "open_rate", "optout_rate", "abandonment_rate", "missed_chat_rate", "csat")
SHOWN_WINDOWS = ("5m", TOTAL)
_COLOURS = {"critical": "\x1b[1;31m", "warning": "\x1b[33m"}
_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"


@dataclass(frozen=True)
class Choice:
    """What is shown, and when it ends by itself. ``window`` narrows down what people are shown of metrics."""

    dimension: str | None = None
    key: str | None = None
    window: str | None = None
    limit: int | None = None
    seconds: float | None = None

    def wants(self, item: dict[str, Any]) -> bool:
        """Whether a snapshot or alert is to be shown."""
        return (self.dimension is None or item.get("dimension") == self.dimension) and (
            self.key is None or item.get("key") == self.key
        )


def run(settings: Settings, what: str, choice: Choice, from_beginning: bool, as_json: bool) -> int:
    """Print what is published until told to end; 0."""
    topics = [settings.topic(name) for name in (ALERT_TOPICS if what == "alerts" else (METRICS,))]
    windows = SHOWN_WINDOWS if choice.window is None else (choice.window,)
    show_metrics = partial(_show_metrics, shown=windows)
    show = json_line if as_json else _show_alert if what == "alerts" else show_metrics
    with until_told() as told, consumer(settings, topics) as reader:
        if not from_beginning:
            reader.seek_to_end(*reader.assignment())
            # Seeking alone waits for the first poll, and would miss what comes before it.
            for partition in reader.assignment():
                reader.position(partition)
        for shown, item in enumerate(_items(reader, choice, told), 1):
            show(item)
            if shown == choice.limit:
                break
    return 0


def _items(reader: Any, choice: Choice, told: threading.Event) -> Iterator[dict[str, Any]]:
    """What is published and wanted, until told to end or the time is up."""
    end = float("inf") if choice.seconds is None else monotonic_seconds() + choice.seconds
    while not told.is_set() and not reader_has_gone() and monotonic_seconds() < end:
        for records in reader.poll(timeout_ms=POLL_MS).values():
            for record in records:
                if told.is_set():
                    return
                item = _parsed(record.value)
                if item is not None and choice.wants(item):
                    yield item


def _parsed(value: bytes | None) -> dict[str, Any] | None:
    """The JSON object of a record; None for a deletion, or what is none of ours."""
    try:
        item = orjson.loads(value or b"null")
    except orjson.JSONDecodeError:
        return None
    return item if isinstance(item, dict) else None


def _show_alert(alert: dict[str, Any]) -> None:
    """One line; its state in colour on a terminal."""
    state = str(alert.get("state", "?"))
    colour = _GREEN if state == "resolved" else _COLOURS.get(str(alert.get("severity")), "")
    judged = printable(f"{state:<8} {alert.get('severity', '?')!s:<8}")
    if colour and sys.stdout.isatty():
        judged = f"{colour}{judged}{_PLAIN}"
    about = f"{alert.get('dimension', '?')}:{alert.get('key', '?')}"
    words = printable(
        f"{alert.get('rule', '?')}  {about}{_fired_for(alert)}  {alert.get('summary', '')}", 400
    )
    result(f"{_time(alert.get('as_of'))}  {judged}  {words}")


def _fired_for(alert: dict[str, Any]) -> str:
    """For how long a resolved alert fired, such as ``  after 1h 5m``."""
    try:
        began, ended = (datetime.fromisoformat(str(alert[name])) for name in ("started_at", "ended_at"))
        minutes = round((ended - began).total_seconds() / 60)
    except (KeyError, TypeError, ValueError):
        return ""
    hours, minutes = divmod(minutes, 60)
    return f"  after {f'{hours}h ' if hours else ''}{minutes}m"


def _show_metrics(snapshot: dict[str, Any], shown: Sequence[str]) -> None:
    windows = snapshot.get("windows")
    windows = windows if isinstance(windows, dict) else {}
    about = printable(f"{snapshot.get('dimension', '?')}:{snapshot.get('key', '?')}")
    parts = [f"{name} {line}" for name in shown if (line := _rates(windows.get(name)))]
    result(f"{_time(snapshot.get('as_of'))}  {about:<28}  {'  |  '.join(parts) or 'no rates yet'}")


def _rates(window: Any) -> str:
    """The main rates of a window that have a denominator, such as ``ctr 10.0% (100/1000)``."""
    rates = window.get("rates", {}) if isinstance(window, dict) else {}
    shown = []
    for name in MAIN_RATES:
        rate = rates.get(name)
        if isinstance(rate, dict) and isinstance(rate.get("value"), int | float):
            label = name.removesuffix("_rate")
            shown.append(f"{label} {rate['value']:.1%} ({rate.get('numerator')}/{rate.get('denominator')})")
    return ", ".join(shown)


def _time(text: Any) -> str:
    """An RFC 3339 time in UTC, to the second: ``2026-11-22 10:00:10Z``."""
    return f"{printable(str(text or '?'))[:19].replace('T', ' ')}Z"
