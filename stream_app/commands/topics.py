"""``stream-app topics create|check``: all topics, with the right number of partitions."""

from __future__ import annotations

from stream_app.ingest.topic_specs import topic_specs
from stream_app.output import json_line, result
from stream_app.settings import Settings
from stream_app.sinks.topic_admin import check_topics, ensure_topics


def create(settings: Settings, as_json: bool) -> int:
    """Create what is missing; 0, or a ``Failure`` if what is there is not as it must be."""
    created = set(ensure_topics(settings))
    _report(settings, created, as_json)
    if not as_json:
        result(f"{len(created)} created, {len(topic_specs(settings)) - len(created)} were there already")
    return 0


def check(settings: Settings, as_json: bool) -> int:
    """Verify and change nothing; 0, or a ``Failure``."""
    check_topics(settings)
    _report(settings, set(), as_json)
    if not as_json:
        result(f"all {len(topic_specs(settings))} topics are as they must be")
    return 0


def _report(settings: Settings, created: set[str], as_json: bool) -> None:
    for spec in topic_specs(settings):
        state = "created" if spec.name in created else "ok"
        if as_json:
            json_line({"topic": spec.name, "partitions": spec.partitions, "state": state})
        else:
            result(f"{state:<8} {spec.name}")
