"""Values of a notifiers file that only targets have: secrets, addresses, labels, links. Pure but for variables.

Stands under ``targets``. A value that may hold a secret is never part of a complaint. It may stand elsewhere: ``env:NAME``
takes it from a variable.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from stream_app.alerts.tables import Table, TableError
from stream_app.notifiers.message import LINK_FIELDS

_FROM_VARIABLE: Final = "env:"


def secret(table: Table, key: str, example: str) -> str:
    """A text that may hold a secret, or the content of the variable that it names instead.

    Raises:
        TableError: it is missing, no text, empty, or the variable is not set.
    """
    if not isinstance(table.values.get(key, ""), str):
        raise wrong_secret(table, key, f"has the wrong type; write {key} = {example}")
    given = str(table.take(key, str, example))
    if given.startswith(_FROM_VARIABLE):
        name = given.removeprefix(_FROM_VARIABLE)
        text = os.environ.get(name, "")
        if not text:
            raise wrong_secret(table, key, f"takes the variable {name}, which is not set; set it")
        return text
    if not given:
        raise wrong_secret(table, key, f"is empty; write {key} = {example}")
    return given


def wrong_secret(table: Table, key: str, problem: str) -> TableError:
    """The error for a value that may hold a secret, which is not shown."""
    return replace(table, values=table.values | {key: "(hidden)"}).wrong(key, problem)


def only(table: Table, known: Iterable[str]) -> None:
    """Refuse keys that are not known, without their texts: a secret may stand at the wrong place."""
    names = tuple(known)
    shown = {
        key: "(hidden)" if isinstance(value, str) and key not in names else value
        for key, value in table.values.items()
    }
    replace(table, values=shown).only(names)


def authorization(table: Table) -> str | None:
    """What the Authorization header says; None where it is not given."""
    key = "authorization"
    if key not in table.values:
        return None
    text = secret(table, key, '"env:AUTHORIZATION"')
    if not re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", text):
        problem = 'cannot stand in a header; write what it is to say, such as "Bearer …" or "Basic …"'
        raise wrong_secret(table, key, problem)
    return text


def address(table: Table, key: str, example: str, default: str | None = None) -> str:
    """A web address; it may hold a secret, as that of a Slack webhook does."""
    if key not in table.values and default is not None:
        return default
    text = secret(table, key, f'"{example}"')
    if not _is_address(text):
        raise wrong_secret(table, key, f'is no web address; write one such as {key} = "{example}"')
    return text


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", text)


def link(table: Table) -> str | None:
    """The address of a page about an alert, with fields in braces; None where it is not given."""
    example = '"https://example.org/{dimension}/{key}"'
    text: str | None = table.take("link", str, example, needed=False)
    if text is None:
        return None
    try:
        parts = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:
        raise table.wrong("link", f"has a brace without its other half; write link = {example}") from None
    if any(name not in LINK_FIELDS or form or conversion for name, form, conversion in parts):
        known = ", ".join(f"{{{name}}}" for name in LINK_FIELDS)
        raise table.wrong("link", f"has a field that does not exist; use {known}")
    if not _is_address(text.format(**dict.fromkeys(LINK_FIELDS, "x"))):
        raise table.wrong("link", f"is no web address; write link = {example}")
    return text


def labels(table: Table, taken: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Labels with their values; ``taken`` are the names of those that we set ourselves."""
    if "labels" not in table.values:
        return ()
    inner = table.inner("labels", '{ team = "crm" }')
    for name in inner.values:
        inner.take(name, str, '"crm"')
        if name in taken:
            raise inner.wrong(name, "is set by stream-app itself; choose another name")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise inner.wrong(name, "has a wrong name; use letters, digits and _, and no digit first")
    return tuple(inner.values.items())


def names(table: Table, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """A list of names; an unknown one is named with the nearest. Empty where it is not given."""
    given = table.texts(key, allowed[0])
    for name in given:
        replace(table, values=table.values | {key: name}).choice(key, allowed)
    return given


def positive_duration(table: Table, key: str, default: str) -> int:
    """A duration in milliseconds, above 0."""
    milliseconds = table.duration(key, default)
    if milliseconds <= 0:
        raise table.wrong(key, f'is too short; write {key} = "{default}"')
    return milliseconds
