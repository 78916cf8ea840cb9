"""`make bench`: the same input through our worker, its peers and the limits, side by side and in turns.

Every contestant first runs over almost nothing (what starting costs), then in each round over the input. Raw
figures go to benchmarks/results/, with `--write` table and chart to docs/performance.md as well.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.contestants import everybody
from benchmarks.input import Recipe
from benchmarks.report import LATEST, limit_share, table, write_page
from benchmarks.rounds import Plan, Rounds, best_broker, told
from benchmarks.stage import open_stage


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    contestants = everybody()
    options = _options([one.name for one in contestants])
    chosen = [one for one in contestants if not options.only or one.name in options.only]
    plan = Plan(
        options.broker,
        options.raw,
        Recipe(options.records),
        options.runs,
        tuple(options.small),
        options.small_records,
        options.seconds,
    )
    with told(), open_stage(plan.broker) as stage:
        rounds = Rounds(stage, plan)
        ready, figures = rounds.run(chosen)
    if not figures:
        raise SystemExit("benchmarks: nobody could take part")
    print(f"\n{table(ready, figures, rounds.left_out)}")
    share = limit_share(figures)
    if share is not None:
        print(f"\nours by the getmany limit: {share.shown(2)}")
    if options.write:
        write_page(ready, figures, rounds.left_out, plan.recipe, plan.broker)
    if any(held.problems for held in figures.values()):
        raise SystemExit("benchmarks: not every result was right")


def _options(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, epilog=f"Contestants: {', '.join(names)}."
    )
    default = best_broker()
    parser.add_argument("--runs", type=_positive, default=5, help="rounds (5)")
    parser.add_argument(
        "--records", type=_positive, default=Recipe().records, help="of the input (2,000,000)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, default=[], metavar="NAME", help="take only these"
    )
    parser.add_argument(
        "--small",
        nargs="+",
        choices=names,
        default=[],
        metavar="NAME",
        help="these get the small input, as Faust does",
    )
    parser.add_argument(
        "--small-records", type=_positive, default=100_000, help="of the small input (100,000)"
    )
    parser.add_argument("--seconds", type=float, default=900.0, help="a run may take no longer (900)")
    parser.add_argument("--raw", type=Path, default=LATEST, help="where raw figures go")
    parser.add_argument("--write", action="store_true", help="write the section in docs/performance.md")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default=default, help=f"here: {default}")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


if __name__ == "__main__":
    main()
