"""From runs to figures, tables and verdicts: what the bench says must follow from what it measured."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from benchmarks.chart import Bar, chart
from benchmarks.check import regressions
from benchmarks.contestants import OWN
from benchmarks.figures import Figures, Spread, figures_of, speed
from benchmarks.race import Run
from benchmarks.report import limit_share, replace_section, table


def run(name: str, seconds: float, cpu: float, records: int = 101_000, problem: str | None = None) -> Run:
    return Run(name, "full", records, seconds, seconds / 2, cpu, 1.0, 0.5, problem)


def figures(name: str, *seconds: float) -> Figures:
    start = run(name, 1.0, 1.0, records=1_000)
    return figures_of([start], [(n, run(name, 1.0 + s, 1.0 + s)) for n, s in enumerate(seconds, 1)])


def test_the_start_is_taken_off() -> None:
    lap = figures("ours", 2.0).laps[1]
    assert lap.events_a_second == 50_000
    assert lap.microseconds == 20.0


def test_of_several_starts_the_median_is_taken_off() -> None:
    starts = [run("ours", seconds, seconds, records=1_000) for seconds in (1.0, 9.0, 2.0)]
    assert figures_of(starts, [(1, run("ours", 4.0, 3.0))]).laps[1].events_a_second == 50_000


def test_what_took_hardly_longer_than_a_start_has_no_speed() -> None:
    held = figures("ours", 0.2, 0.1)
    assert held.spread(speed) is None
    assert "| – |" in table(OWN, {"ours": held}, {})


def test_ratios_are_formed_within_rounds() -> None:
    ours, other = figures("ours", 1.0, 2.0, 4.0), figures("faust", 10.0, 40.0, 120.0)
    assert other.ratios(ours, speed) == Spread(20.0, 10.0, 30.0)


def test_a_wrong_run_is_in_no_figure_and_is_told() -> None:
    wrong = run("faust", 1.1, 1.1, problem="campaign-1, pane 0: 2 instead of 1")
    held = figures_of([run("faust", 1.0, 1.0, records=1_000)], [(1, wrong), (2, run("faust", 3.0, 3.0))])
    assert held.spread(speed) == Spread(50_000, 50_000, 50_000)
    text = table(OWN, {"ours": figures("ours", 1.0, 1.0), "faust": held}, {"Other": "no wheel"})
    assert "right in 1 of 2 runs" in text
    assert "2 instead of 1" in text
    assert "- Other: no wheel" in text


def test_the_share_of_the_limit_is_our_speed_by_its_own() -> None:
    held = {"ours": figures("ours", 4.0), "getmany": figures("getmany", 2.0)}
    assert limit_share(held) == Spread(0.5, 0.5, 0.5)


def test_a_ratio_above_the_tolerance_is_a_regression() -> None:
    recorded = {"worker": 4.0, "pure_path": 3.0}
    assert regressions({"worker": 4.9, "pure_path": 3.7}, recorded, 0.25) == []
    (sentence,) = regressions({"worker": 5.1, "pure_path": 3.0}, recorded, 0.25)
    assert "5.10" in sentence and "4.00" in sentence and "25%" in sentence


def test_the_chart_has_a_bar_for_each() -> None:
    bars = [Bar("a < b", "ours", Spread(10, 5, 20)), Bar("c", "peer", Spread(5, 5, 5))]
    drawn = Xml.fromstring(chart("Speed & more", bars)).findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(rectangle.attrib["width"]) for rectangle in drawn[1:]]
    assert widths[0] == 2 * widths[1] > 0


def test_only_the_section_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold \\1\n<!-- /bench -->\nafter\n")
    replace_section(page, "bench", "new \\1")
    assert page.read_text() == "before\n<!-- bench -->\n\nnew \\1\n\n<!-- /bench -->\nafter\n"
    with pytest.raises(SystemExit, match="no section"):
        replace_section(page, "other", "new")
