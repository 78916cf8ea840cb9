"""``stream-app doctor``: what keeps an installation from working, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stream_app.clock import DAY_MS, now_ms, to_rfc3339
from stream_app.failure import Failure
from stream_app.output import json_line, result, say
from stream_app.settings import ENV_PREFIX, Settings, SettingsError
from stream_app.sinks.connections import redis_options
from stream_app.sinks.reach import kafka_problem, redis_problem
from stream_app.sinks.topic_admin import check_topics
from stream_app.state.slices import check_store

CLOCK_MAY_DIFFER_MS = 60_000
_NOT_BEFORE_MS = 20_000 * DAY_MS  # a day in 2024: a clock before it was never set


@dataclass(frozen=True)
class Finding:
    """What one check found: that all is well, or what is wrong and how to mend it."""

    check: str
    ok: bool
    words: str


def run(settings: Settings, as_json: bool) -> int:
    """One line for each check; 1 if something is wrong, else 0."""
    wrong = 0
    for finding in _findings(settings):
        wrong += not finding.ok
        if as_json:
            json_line({"check": finding.check, "ok": finding.ok, "detail": finding.words})
        else:
            result(f"{'ok' if finding.ok else 'WRONG':<6} {finding.check:<9} {finding.words}")
    if wrong and not as_json:
        say(f"{wrong} of the checks found something wrong; each line says how to mend it")
    return 1 if wrong else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    words = f"prefix {settings.prefix!r}, {settings.partitions} partitions"
    yield _finding("settings", words, lambda: check_store(settings))
    kafka = _finding("kafka", f"{settings.kafka} answers", lambda: kafka_problem(settings))
    yield kafka
    if kafka.ok:
        yield _finding("topics", "all are there, with the right partitions", lambda: _topics(settings))
    else:
        yield Finding("topics", False, "not checked: Kafka has to be reached first")
    redis = _finding("redis", "answers", lambda: redis_problem(settings))
    yield redis
    yield _finding("rules", _rules_name(settings), lambda: _rules(settings))
    if settings.notifiers is not None:
        yield _finding("notifiers", f"{settings.notifiers} is valid", lambda: _notifiers(settings))
    yield _finding("data_dir", f"{settings.data_dir} can be written", lambda: _data_dir(settings.data_dir))
    yield _finding("clock", to_rfc3339(now_ms()), lambda: _clock(settings, redis.ok))


def _finding(check: str, all_well: str, problem_of: Callable[[], str | None]) -> Finding:
    try:
        problem = problem_of()
    except (Failure, SettingsError) as found:
        problem = str(found).replace("\n", "; ")
    return Finding(check, problem is None, all_well if problem is None else problem)


def _topics(settings: Settings) -> str | None:
    check_topics(settings)
    return None


def _rules_name(settings: Settings) -> str:
    return "the shipped rules" if settings.rules is None else f"{settings.rules} is valid"


def _rules(settings: Settings) -> str | None:
    from stream_app.alerts.rules import RulesError, load_rules

    try:
        load_rules(settings.rules, settings)
    except RulesError as problem:
        return str(problem)
    return None


def _notifiers(settings: Settings) -> str | None:
    from stream_app.notifiers.targets import load_targets

    load_targets(settings)
    return None


def _data_dir(path: Path) -> str | None:
    """Nothing is created: a directory that is missing is made by the worker, if the one above allows it."""
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    name = f"{ENV_PREFIX}DATA_DIR={str(path)!r}"
    if not existing.is_dir():
        return f"{name}: {existing} is no directory; name another place"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{name}: {existing} cannot be written by this user; change its owner or name another place"
    return None


def _clock(settings: Settings, redis_answers: bool) -> str | None:
    """A clock that is behind makes good events look as if they came from the future."""
    now = now_ms()
    if now < _NOT_BEFORE_MS:
        return f"this machine's clock says {to_rfc3339(now)}; set it"
    if not redis_answers:
        return None
    import redis

    with redis.Redis.from_url(**redis_options(settings)) as client:
        seconds, microseconds = client.time()
    apart = now - (seconds * 1000 + microseconds // 1000)
    if abs(apart) > CLOCK_MAY_DIFFER_MS:
        return (
            f"this machine's clock is {abs(apart) / 1000:.0f} s {'ahead of' if apart > 0 else 'behind'} "
            "the one of Redis; let NTP set both"
        )
    return None
