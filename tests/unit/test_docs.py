"""The documentation against the code: nobody can add a metric, a setting or a topic and forget it.

After datasette's ``tests/test_docs.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream_app.ingest import topics
from stream_app.ingest.decode import Reason
from stream_app.ingest.events import EVENT_TYPES
from stream_app.metrics.catalogue import COUNT_BY_NAME, COUNTS, RATE_BY_NAME, RATES, Count, Dimension, Rate
from stream_app.schemas.files import ROOT
from stream_app.schemas.markdown import PAGES
from stream_app.schemas.snapshots import formula_of
from stream_app.settings import ENV_PREFIX, Settings, format_duration, parse_duration

REFERENCE = ROOT / "docs" / "reference"
LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE
)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text("utf-8")


def rows_of(page: str) -> dict[str, list[str]]:
    """The table rows of a page by their first cell."""
    lines = [line for line in text_of(page).splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_page_equals_the_code(path: Path) -> None:
    assert (ROOT / path).read_text("utf-8") == PAGES[path](), "run `python -m stream_app.schemas`"


@pytest.mark.parametrize("count", COUNTS, ids=lambda count: str(count.name))
def test_every_count_is_documented(count: Count) -> None:
    unit, dimensions, meaning = rows_of("metrics.md")[count.name]
    assert unit == count.unit
    assert set(re.findall(r"\w+", dimensions)) == {str(one) for one in count.dimensions}
    assert meaning == count.meaning


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: str(rate.name))
def test_every_rate_is_documented_with_its_formula(rate: Rate) -> None:
    formula, dimensions, interval, meaning = rows_of("metrics.md")[rate.name]
    assert formula == f"`{formula_of(rate)}`"
    assert set(re.findall(r"\w+", formula)) == {rate.numerator, *rate.denominator}
    assert set(re.findall(r"\w+", dimensions)) == {str(one) for one in rate.dimensions}
    assert bool(interval) == rate.interval
    assert meaning == rate.meaning


def test_no_metric_is_documented_that_does_not_exist() -> None:
    assert list(rows_of("metrics.md")) == [*COUNT_BY_NAME, *RATE_BY_NAME]


def test_every_dimension_is_documented() -> None:
    assert all(f"`{dimension}`" in text_of("metrics.md") for dimension in Dimension)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    default, _, meaning = rows_of("settings.md")[ENV_PREFIX + name.upper()]
    assert default
    assert meaning


def test_no_setting_is_documented_that_does_not_exist() -> None:
    assert list(rows_of("settings.md")) == [ENV_PREFIX + name.upper() for name in Settings.model_fields]


def test_defaults_are_written_as_a_person_writes_them() -> None:
    rows = rows_of("settings.md")
    written = {"ALLOWED_LATENESS": "10m", "IDLE_TIMEOUT": "30s", "CART_TIMEOUT": "1h", "RETENTION": "30d"}
    written |= {"CHAT_TIMEOUT": "2m", "KAFKA": "127.0.0.1:9092", "PREFIX": "engagement.", "PARTITIONS": "4"}
    for name, default in written.items():
        assert rows[ENV_PREFIX + name][0] == f"`{default}`"


@pytest.mark.parametrize(
    "milliseconds", [0, 1, 200, 1000, 90_000, 600_000, 5_400_000, 86_400_000, 86_400_001]
)
def test_a_duration_as_written_is_read_as_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize("topic", [*topics.INPUT_TOPICS, *topics.OUTPUT_TOPICS])
def test_every_topic_is_documented(topic: str) -> None:
    assert f"\n### `{topic}`\n" in text_of("topics.md")
    assert f"[`{topic}`](#{topic.replace('.', '')})" in text_of("topics.md")


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_type_and_its_fields_are_documented(event_type: str) -> None:
    section = text_of("topics.md").split(f"\n### `{EVENT_TYPES[event_type].topic}`\n")[1].split("\n##")[0]
    assert f"[`{event_type}`](../../schemas/events/{event_type}.json)" in section
    for name in ("event_type", *EVENT_TYPES[event_type].__struct_fields__):
        assert f"\n| `{name}` | " in section


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_dead_letter_is_documented(reason: Reason) -> None:
    assert f"\n| `{reason}` | " in text_of("topics.md")


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def links_of(text: str) -> list[str]:
    found = LINK.findall(CODE.sub("`", text))
    return [inline or reference for inline, reference in found]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    missing = []
    for link in links_of(page.read_text("utf-8")):
        target = link.partition("#")[0]
        if re.match(r"[a-z][a-z0-9+.-]*:", link) or not target:
            continue
        if target.startswith("/") or not (page.parent / target).exists():
            missing.append(link)
    assert not missing


def test_links_are_found() -> None:
    text = "[a](b.md) ![c](d.png) [`e`](f.md#g) [![h](i.svg)](j)\n[k]: l.md\n`[no](x)`\n```\n[no](y)\n```\n"
    assert links_of(text) == ["b.md", "d.png", "f.md#g", "j", "l.md"]
