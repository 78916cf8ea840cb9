"""What the bench writes: raw figures as JSON, and a table and a chart in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks.chart import Bar, chart
from benchmarks.contestants import GETMANY, OURS, Contestant
from benchmarks.figures import Figures, Spread, cost, speed
from benchmarks.input import Recipe
from benchmarks.places import RESULTS, ROOT
from benchmarks.race import Run

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
LATEST = RESULTS / "latest.json"
_HEADINGS = (
    "contestant",
    "events/s",
    "CPU µs/event",
    "ours is faster, times",
    "its CPU by ours, times",
    "broker, cores",
    "Redis, cores",
)


def write_raw(
    path: Path, recipe: Recipe, broker: str, starts: Mapping[str, Sequence[Run]], runs: Sequence[Any]
) -> None:
    """Everything that was measured, after every run, so that a bench that is ended early has lost nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "broker": broker,
        "input": asdict(recipe),
        "starts": [asdict(run) for held in starts.values() for run in held],
        "runs": [{"round": number, **asdict(run)} for number, run in runs],
    }
    path.write_bytes(orjson.dumps(raw, option=orjson.OPT_INDENT_2) + b"\n")


def table(
    contestants: Sequence[Contestant], figures: Mapping[str, Figures], left_out: Mapping[str, str]
) -> str:
    """The figures of all as a Markdown table, ratios beside those of our worker; below it, who was wrong and who
    could not take part."""
    ours = figures.get(OURS.name)
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|---{'|---:' * (len(_HEADINGS) - 1)}|"]
    notes = []
    for contestant in contestants:
        held = figures.get(contestant.name)
        if held is None:
            continue
        notes += [f"- {contestant.title}: {problem}" for problem in sorted(set(held.problems))]
        lines.append(f"| {' | '.join(_cells(contestant, held, ours))} |")
    if notes:
        lines += ["", "Not right, and not in the figures:", "", *notes]
    if left_out:
        lines += ["", "Could not take part:", "", *(f"- {title}: {why}" for title, why in left_out.items())]
    return "\n".join(lines)


def _cells(contestant: Contestant, held: Figures, ours: Figures | None) -> list[str]:
    title = f"{contestant.title} ({held.records:,} records)"
    if held.problems:
        title += f", right in {len(held.laps)} of {held.runs} runs"
    return [
        title,
        _shown(held.spread(speed)),
        _shown(held.spread(cost), 2),
        _shown(held.ratios(ours, speed) if ours else None, 2),
        _shown(ours.ratios(held, cost) if ours else None, 2),
        _median(held.spread(lambda lap: lap.broker_cores)),
        _median(held.spread(lambda lap: lap.redis_cores)),
    ]


def _shown(held: Spread | None, digits: int = 0) -> str:
    """– where there is nothing right, or the run was too short to tell."""
    return "–" if held is None else held.shown(digits)


def _median(held: Spread | None) -> str:
    return "–" if held is None else f"{held.median:.2f}"


def write_page(
    contestants: Sequence[Contestant],
    figures: Mapping[str, Figures],
    left_out: Mapping[str, str],
    recipe: Recipe,
    broker: str,
) -> None:
    """Put table and chart into docs/performance.md, between the markers; the rest of the page is written by hand."""
    bars = [
        Bar(one.title, one.kind, held)
        for one in contestants
        if one.name in figures and (held := figures[one.name].spread(speed)) is not None
    ]
    if bars:
        CHART.write_text(chart("Events per second (median, least to most)", bars), "utf-8")
    rounds = max(held.runs for held in figures.values())
    said = (
        f"{datetime.now(UTC):%Y-%m-%d}, {broker}, {os.cpu_count()} cores, {rounds} rounds, "
        f"{recipe.records:,} records, {recipe.campaigns:,} campaigns, {recipe.customers:,} customers."
    )
    picture = "![Events per second of each contestant](performance.svg)"
    replace_section(PAGE, "bench", "\n\n".join([said, table(contestants, figures, left_out), picture]))


def replace_section(page: Path, name: str, text: str) -> None:
    """Put a text between a page's markers ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        SystemExit: the page has no such markers.
    """
    before = page.read_text("utf-8")
    section = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not section.search(before):
        raise SystemExit(f"benchmarks: {page} has no section <!-- {name} --> … <!-- /{name} -->")
    page.write_text(section.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", before), "utf-8")


def limit_share(figures: Mapping[str, Figures]) -> Spread | None:
    """Our speed as a share of that of aiokafka's `getmany` doing nothing."""
    if OURS.name not in figures or GETMANY.name not in figures:
        return None
    return figures[GETMANY.name].ratios(figures[OURS.name], speed)
