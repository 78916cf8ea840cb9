"""Tables of a TOML file whose every mistake is named with its file, line, value and the mend. Pure.

Stands under ``rules`` and ``rule_reading``. A table knows where it starts; what is taken out of it is checked as it is
taken, so that no value is used unchecked and no key is silently ignored.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


class TableError(Exception):
    """Something in a file is wrong; the message names file, line, value and the mend."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file. ``start`` is the index of its first line."""

    file: str
    lines: list[str]
    start: int
    label: str
    values: dict[str, Any]

    @classmethod
    def of_file(cls, path: Path, label: str) -> Self:
        """The table of a whole file; ``label`` is what complaints call it.

        Raises:
            TableError: it cannot be read, or is no TOML.
        """
        try:
            text = path.read_text("utf-8")
            values = tomllib.loads(text)
        except OSError as problem:
            raise TableError(
                f"{path}: cannot be read ({problem.strerror}); name a TOML file of rules"
            ) from None
        except UnicodeDecodeError:
            raise TableError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
        except tomllib.TOMLDecodeError as problem:
            line = re.search(r"at line (\d+)", str(problem))
            place = f"{path}:{line[1]}" if line else f"{path}"
            raise TableError(f"{place}: is not valid TOML ({problem}); mend that line") from None
        return cls(str(path), text.splitlines(), 0, label, values)

    def wrong(self, key: str, problem: str) -> TableError:
        """The error for a key's value, or for its absence."""
        given = f"{_shown(key, self.values[key])} " if key in self.values else ""
        return TableError(f"{self.file}:{self._line(key) + 1}: {self.label}: {given}{problem}")

    def _line(self, key: str) -> int:
        """The index of the line that sets a key of this table; the table's own line if none does."""
        if key in self.values:
            pattern = re.compile(rf"""(?:^|[\[{{,\s.])["']?{re.escape(key)}["']?\s*[=\]]""")
            for index in range(self.start, len(self.lines)):
                if pattern.search(self.lines[index].partition("#")[0]):
                    return index
        return self.start

    def tables(self, name: str) -> list[Self]:
        """The tables that are written ``[[name]]``."""
        items = self.values.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.wrong(name, f"is not written as a table; write [[{name}]] above its keys")
        starts = self._starts(name)
        return [
            self._below(name, starts[min(index, len(starts) - 1)], item) for index, item in enumerate(items)
        ]

    def table(self, name: str) -> Self | None:
        """The table that is written ``[name]``; None where there is none."""
        if name not in self.values:
            return None
        if not isinstance(self.values[name], dict):
            raise self.wrong(name, f"is not written as a table; write [{name}] above its keys")
        return self._below(name, self._starts(name)[0], self.values[name])

    def _starts(self, name: str) -> list[int]:
        opening = re.compile(rf"\s*(\[\[?\s*{name}\s*\]|{name}\s*=)")
        return [index for index, line in enumerate(self.lines) if opening.match(line)] or [self.start]

    def _below(self, name: str, start: int, values: dict[str, Any]) -> Self:
        return type(self)(self.file, self.lines, start, f'{name} "{values.get("name", "")}"', values)

    def inner(self, key: str, example: str) -> Self:
        """A table within this one, such as ``key = { … }``."""
        values = self.take(key, dict, example)
        return type(self)(self.file, self.lines, self._line(key), f"{self.label} {key}", values)

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that are not known."""
        for key in self.values:
            if key not in known:
                raise self.wrong(key, f"has an unknown name; {nearest(key, known)}")

    def take(self, key: str, kind: type, example: str, *, needed: bool = True) -> Any:
        """A value of a type, or None where it is absent and not needed."""
        if key not in self.values:
            if needed:
                raise self.wrong(key, f"{key} is missing; write {key} = {example}")
            return None
        value = self.values[key]
        kinds = (int, float) if kind is float else kind
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise self.wrong(key, f"has the wrong type; write {key} = {example}")
        return value

    def flag(self, key: str) -> bool:
        """A switch, which is off where it is absent."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"has the wrong type; write {key} = true or {key} = false")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """A value out of a list of names."""
        options = tuple(allowed)
        value = self.take(key, str, f'"{options[0]}"', needed=default is None)
        if value is None and default is not None:
            return default
        if value not in options:
            raise self.wrong(key, f"is unknown; {nearest(value, options)}")
        return str(value)

    def number(self, key: str, example: str, highest: float) -> float:
        """A number above 0 and not above ``highest``."""
        value = self.take(key, float, example)
        if not 0 < value <= highest:
            end = f" and at most {highest:g} (a share: 0.5 is 50 %)" if highest == 1 else ""
            raise self.wrong(key, f"is out of range; write a number above 0{end}, such as {example}")
        return float(value)

    def duration(self, key: str, default: str | None = None) -> int:
        """A duration in milliseconds, such as ``"90s"`` or ``"2h"``."""
        text = self.take(key, str, '"2h"', needed=default is None)
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", default or "" if text is None else text)
        if match is None:
            raise self.wrong(key, "is no duration; write a number and a unit, such as 90s, 10m or 2h")
        return round(float(match[1]) * _UNITS[match[2]])

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        """A text or a list of texts; empty where it is absent."""
        value = self.values.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise self.wrong(key, f'has the wrong type; write {key} = "{example}" or {key} = ["{example}"]')
        return tuple(texts)

    def name_of_rule(self) -> str:
        """The rule's name, which goes into fingerprints, labels and summaries."""
        value = str(self.take("name", str, '"optout-spike"'))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value):
            raise self.wrong("name", 'may hold letters, digits, ".", "_" and "-", such as "optout-spike"')
        return value

    def runbook(self) -> str | None:
        """The address of what to do, for a person."""
        value: str | None = self.take("runbook", str, '"https://…"', needed=False)
        if value is not None and not re.match(r"https?://\S+$", value):
            raise self.wrong("runbook", "is no address; write one that starts with https://")
        return value


def nearest(value: str, options: Iterable[str]) -> str:
    """What to write instead of a value that is none of the options."""
    names = tuple(options)
    known = ", ".join(names)
    for close in get_close_matches(value, names, n=1, cutoff=0.5):
        return f'did you mean "{close}"' + ("?" if len(names) > 6 else f", out of {known}?")
    return f"use one of {known}"


def _shown(key: str, value: Any) -> str:
    """A key and its value as the file has them, a whole table by its name only."""
    if value and isinstance(value, (dict, list)):
        return key
    return f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value).lower())
