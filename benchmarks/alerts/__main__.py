"""`python -m benchmarks.alerts DIR`: the spike rule beside two simple rules, on labelled series, by NAB's own scoring.

DIR is laid out as the Numenta Anomaly Benchmark's: data/<category>/<name>.csv and labels/combined_windows.json. Takes a
minute or two for 160,000 readings. Figures go to benchmarks/results/alerts.json, with `--write` tables to docs/alerts-measured.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from benchmarks.alerts.corpus import Series, read_corpus
from benchmarks.alerts.detectors import DETECTORS
from benchmarks.alerts.measure import Measured, Outcome
from benchmarks.places import RESULTS, ROOT
from benchmarks.report import replace_section
from stream_app.clock import to_rfc3339

PAGE = ROOT / "docs" / "alerts-measured.md"
RAW = RESULTS / "alerts.json"
_TITLES = {detector.name: detector.title for detector in DETECTORS}
_HEADINGS = (
    *("series", "detector", "threshold", "score", "score, an alert counted once", "windows found"),
    *("false alerts a day", "delay from the window's beginning", "from the labelled instant"),
)


def main() -> None:
    options = _options()
    corpus = read_corpus(options.directory)
    measured = [Measured(detector, corpus) for detector in DETECTORS]
    shipped = [one.at_level(category) for category in measured[0].categories() for one in measured]
    best = [one.at_best(category) for category in measured[0].categories() for one in measured]
    options.raw.parent.mkdir(parents=True, exist_ok=True)
    raw = {"as_shipped": list(map(asdict, shipped)), "at_the_best_threshold": list(map(asdict, best))}
    options.raw.write_bytes(orjson.dumps(raw, option=orjson.OPT_INDENT_2) + b"\n")
    text = f"At the level as shipped:\n\n{table(shipped)}\n\nAt the threshold that suits all series best:\n\n{table(best)}"
    print(text)
    if options.scores:
        for one in measured:
            write_scores(one, corpus, options.scores)
    if options.write:
        replace_section(PAGE, "nab", text)


def table(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as a Markdown table."""
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|---|---|{'---:|' * (len(_HEADINGS) - 2)}"]
    lines += [f"| {' | '.join(_cells(outcome))} |" for outcome in outcomes]
    return "\n".join(lines)


def write_scores(measured: Measured, corpus: Sequence[Series], directory: Path) -> None:
    """Write the scores of every reading as the benchmark's own results are laid out, from 0 to 1 with the level at 0.5, so
    that its own programs can score them."""
    name, level = measured.detector.name, measured.detector.level
    for series in corpus:
        category, _, file_name = series.name.partition("/")
        path = directory / name / category / f"{name}_{file_name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("timestamp", "value", "anomaly_score"))
            for time_ms, count, score in zip(
                series.times_ms, series.counts, measured.scores[series.name], strict=True
            ):
                seen = max(score, 0.0)
                rows.writerow(
                    (to_rfc3339(time_ms)[:19].replace("T", " "), count, f"{seen / (seen + level):.6f}")
                )


def _cells(outcome: Outcome) -> list[str]:
    return [
        outcome.category,
        _TITLES[outcome.detector],
        f"{outcome.threshold:.3g}",
        _score(outcome.score),
        _score(outcome.alert_score),
        f"{outcome.found} of {outcome.windows}",
        f"{outcome.false_a_day:.2f}",
        _hours(outcome.delay_hours),
        _hours(outcome.after_label_hours),
    ]


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.1f}"


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{round(hours, 1) + 0.0:.1f} h"  # the sum makes 0.0 of -0.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="holds data/ and labels/")
    parser.add_argument("--raw", type=Path, default=RAW, help="where raw figures go")
    parser.add_argument(
        "--scores", type=Path, metavar="OUT", help="write every reading's score there as well"
    )
    parser.add_argument("--write", action="store_true", help="write the section in docs/alerts-measured.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
