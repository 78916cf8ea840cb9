"""All generated files as texts by path, and how they are written or compared.

Stands at the end of this package; ``__main__`` and the tests use it.
"""

from __future__ import annotations

import json
from pathlib import Path

from stream_app.schemas.alerts import alert_schema
from stream_app.schemas.asyncapi import asyncapi_document
from stream_app.schemas.events import cloud_event_schema, event_schemas
from stream_app.schemas.grafana import dashboards
from stream_app.schemas.markdown import PAGES
from stream_app.schemas.prometheus import PATH, prometheus_page
from stream_app.schemas.snapshots import snapshot_schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = Path("schemas")
EVENTS = SCHEMAS / "events"
LINE_LENGTH = 110


def generated_files() -> dict[Path, str]:
    """What every generated file should hold, by its path from the project's root."""
    documents = {
        **{EVENTS / f"{event_type}.json": schema for event_type, schema in event_schemas().items()},
        SCHEMAS / "cloudevent.json": cloud_event_schema(),
        SCHEMAS / "metrics.snapshot.json": snapshot_schema(),
        SCHEMAS / "alert.json": alert_schema(),
        SCHEMAS / "asyncapi.json": asyncapi_document(),
        **dashboards(),
    }
    texts = {path: pretty(document) + "\n" for path, document in documents.items()}
    return texts | {path: page() for path, page in PAGES.items()} | {PATH: prometheus_page()}


def differences(root: Path = ROOT) -> list[str]:
    """One line for each file that is missing, not what the code says, or no longer generated."""
    files = generated_files()
    problems = []
    for path, text in files.items():
        if not (root / path).is_file():
            problems.append(f"{path}: missing")
        elif (root / path).read_text("utf-8") != text:
            problems.append(f"{path}: differs from the code")
    return problems + [f"{path}: belongs to no event type" for path in _stale(root, files)]


def write(root: Path = ROOT) -> list[Path]:
    """Write every file that differs and remove the schemas of event types that are gone.

    Returns:
        The paths that were written or removed.
    """
    files = generated_files()
    stale = _stale(root, files)
    for path in stale:
        (root / path).unlink()
    changed = []
    for path, text in files.items():
        target = root / path
        if target.is_file() and target.read_text("utf-8") == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="\n")
        changed.append(path)
    return changed + stale


def _stale(root: Path, files: dict[Path, str]) -> list[Path]:
    found = sorted(path.relative_to(root) for path in (root / EVENTS).glob("*.json"))
    return [path for path in found if path not in files]


def pretty(value: object, indent: int = 0, used: int = 0) -> str:
    """JSON for reading: what fits on a line stays on it. ``used`` is what the line holds already."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(line) + used + 1 <= LINE_LENGTH or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        names = {name: f"{inner}{json.dumps(name, ensure_ascii=False)}: " for name in value}
        lines = [names[name] + pretty(one, indent + 2, len(names[name])) for name, one in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    lines = [inner + pretty(one, indent + 2, indent + 2) for one in value]
    return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
