"""Who is told of alerts: how the notifiers file becomes targets. Stands before the delivery.

``STREAM_APP_NOTIFIERS`` names the file; ``example.toml`` beside this module is one. Everything in it is checked when the
program starts, and a mistake is named with its file, line, value and the mend, as those of the rules are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream_app.alerts.rules import SEVERITIES
from stream_app.alerts.tables import Table, TableError
from stream_app.ingest.topics import ALERT_TOPICS, alert_topic
from stream_app.metrics.catalogue import Dimension
from stream_app.notifiers import values
from stream_app.notifiers.alertmanager import IDENTITY, Alertmanager
from stream_app.notifiers.apprise import Apprise, apprise_problem
from stream_app.notifiers.follow import Choice
from stream_app.notifiers.pagerduty import ADDRESS, PagerDuty
from stream_app.notifiers.slack import Slack
from stream_app.notifiers.webhook import Webhook, decode_secret
from stream_app.settings import ENV_PREFIX, Settings, SettingsError

EXAMPLE: Final = Path(__file__).with_name("example.toml")

KINDS: Final = tuple(topic.removeprefix(alert_topic("")) for topic in ALERT_TOPICS)
"""The kinds of alerts, each with a topic of its own."""

DIMENSIONS: Final = (*(str(dimension) for dimension in Dimension), "customer")

_COMMON = ("name", "type", "kinds", "minimum_severity", "dimensions", "keys", "timeout", "give_up_after")

AnyService = Alertmanager | PagerDuty | Slack | Webhook | Apprise


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver of alerts. ``timeout_ms`` is for one try; ``give_up_ms`` is how long a change is tried at most."""

    name: str
    service: AnyService
    choice: Choice
    timeout_ms: int
    give_up_ms: int


def load_targets(settings: Settings) -> tuple[Target, ...]:
    """Read and check the notifiers file.

    Raises:
        SettingsError: none is named, it cannot be read, or something in it is wrong (the first mistake found).
    """
    path = settings.notifiers
    if path is None:
        mend = f"name a file such as {EXAMPLE}, which is an example"
        raise SettingsError(f"{ENV_PREFIX}NOTIFIERS is not set, and says who is told of alerts; {mend}")
    if not path.is_file():
        raise SettingsError(f"{ENV_PREFIX}NOTIFIERS={str(path)!r}: there is no such file")
    try:
        return _read(Table.of_file(path, "notifiers file"))
    except TableError as problem:
        raise SettingsError(str(problem)) from None


def _read(file: Table) -> tuple[Target, ...]:
    values.only(file, ("target", "link"))
    link = values.link(file)
    tables = file.tables("target")
    if not tables:
        raise file.wrong(
            "target", 'no target is named; write [[target]] with name = "…" and type = "…" below it'
        )
    seen = set()
    targets = []
    for table in tables:
        target = _target(table, link)
        if target.name in seen:
            raise table.wrong(
                "name", "is used twice; give each its own, what it was told is remembered by it"
            )
        seen.add(target.name)
        targets.append(target)
    return tuple(targets)


def _target(table: Table, link: str | None) -> Target:
    read, own_keys = _TYPES[table.choice("type", _TYPES)]
    values.only(table, (*_COMMON, *own_keys))
    return Target(
        name=_name(table),
        service=read(table, link),
        choice=_choice(table),
        timeout_ms=values.positive_duration(table, "timeout", "10s"),
        give_up_ms=values.positive_duration(table, "give_up_after", "24h"),
    )


def _name(table: Table) -> str:
    """The target's name, which the consumer group and the log bear."""
    name = str(table.take("name", str, '"on-call"'))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}", name):
        raise table.wrong("name", 'may hold letters, digits, "_" and "-", 50 at most, such as "on-call"')
    return name


def _choice(table: Table) -> Choice:
    return Choice(
        kinds=values.names(table, "kinds", KINDS) or KINDS,
        lowest_rank=SEVERITIES.index(table.choice("minimum_severity", SEVERITIES, SEVERITIES[0])),
        dimensions=values.names(table, "dimensions", DIMENSIONS),
        keys=table.texts("keys", "spring-*"),
    )


# --- The services, each from its table ----------------------------------------------------------------------


def _alertmanager(table: Table, link: str | None) -> Alertmanager:
    return Alertmanager(
        url=values.address(table, "url", "http://127.0.0.1:9093"),
        resend_ms=values.positive_duration(table, "resend", "1m"),
        labels=values.labels(table, IDENTITY),
        link=link,
        authorization=values.authorization(table),
    )


def _pagerduty(table: Table, link: str | None) -> PagerDuty:
    key = values.secret(table, "routing_key", '"env:PAGERDUTY_ROUTING_KEY"')
    if not re.fullmatch(r"[A-Za-z0-9]{32}", key):
        mend = "write the 32 letters and digits of the integration key of an Events API v2 integration"
        raise values.wrong_secret(table, "routing_key", f"is no integration key; {mend}")
    return PagerDuty(key, values.address(table, "url", ADDRESS, ADDRESS), link)


def _slack(table: Table, link: str | None) -> Slack:
    return Slack(values.address(table, "url", "env:SLACK_WEBHOOK_URL"), link)


def _webhook(table: Table, link: str | None) -> Webhook:
    text = values.secret(table, "secret", '"env:WEBHOOK_SECRET"')
    try:
        secret = decode_secret(text)
    except ValueError:
        mend = "write 24 to 64 random bytes in base64, as `openssl rand -base64 32` prints, with or without whsec_"
        raise values.wrong_secret(table, "secret", f"is no secret of a webhook; {mend}") from None
    url = values.address(table, "url", "https://example.org/alerts")
    return Webhook(url, secret, values.authorization(table))


def _apprise(table: Table, link: str | None) -> Apprise:
    url = values.secret(table, "url", '"env:APPRISE_URL"')
    problem = apprise_problem(url)
    if problem is not None:
        raise values.wrong_secret(table, "url", problem)
    return Apprise(url, link)


_Reader = Callable[[Table, str | None], AnyService]
_TYPES: Final[dict[str, tuple[_Reader, tuple[str, ...]]]] = {
    "alertmanager": (_alertmanager, ("url", "resend", "labels", "authorization")),
    "pagerduty": (_pagerduty, ("routing_key", "url")),
    "slack": (_slack, ("url",)),
    "webhook": (_webhook, ("url", "secret", "authorization")),
    "apprise": (_apprise, ("url",)),
}
"""What makes a service of a table, and the keys that only this type has."""
