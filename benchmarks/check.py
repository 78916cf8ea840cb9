"""`make bench-check`: whether an event has become dearer than recorded. A few minutes, on any machine.

Times differ from machine to machine and from hour to hour, so ratios are compared: of the CPU that our worker takes for
an event to the CPU that aiokafka's `getmany` takes for reading and decoding it, and of the pure path to decoding
alone. `--record` writes today's ratios to benchmarks/results/recorded.json, for a commit that changes them on purpose.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from operator import truediv
from pathlib import Path

import orjson

from benchmarks import pure_path
from benchmarks.contestants import GETMANY, OURS
from benchmarks.figures import cost
from benchmarks.input import Recipe
from benchmarks.places import RESULTS
from benchmarks.rounds import Plan, Rounds, best_broker, told
from benchmarks.stage import open_stage

RECORDED = RESULTS / "recorded.json"
TOLERANCE = 0.25  # two runs of the same code on a machine with other work differ by up to a sixth
RECORDS = 200_000
ROUNDS = 3
PURE_EVENTS = 100_000
_WORDS = {
    "worker": "an event costs our worker {now:.2f} times what `getmany` takes to read and decode it",
    "pure_path": "the pure path of an event costs {now:.2f} times what decoding it does",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record today's ratios")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="how much dearer is still the same"
    )
    parser.add_argument("--records", type=int, default=RECORDS)
    options = parser.parse_args()
    with told():
        ratios = {"pure_path": _pure_path(), "worker": _worker(options.records)}
    if options.record:
        recorded = {"records": options.records, **ratios}
        RECORDED.write_bytes(orjson.dumps(recorded, option=orjson.OPT_INDENT_2) + b"\n")
    for name, now in ratios.items():
        print(_WORDS[name].format(now=now))
    dearer = regressions(ratios, _recorded(options.records), options.tolerance)
    if dearer:
        raise SystemExit("\n".join(dearer))


def regressions(ratios: dict[str, float], recorded: dict[str, float], tolerance: float) -> list[str]:
    """A sentence for every ratio that is above the recorded one by more than the tolerance."""
    return [
        f"bench-check: {_WORDS[name].format(now=now)}; recorded is {recorded[name]:.2f}, and {tolerance:.0%} more is "
        "too much: find what made it dearer, or record it with `make bench-check ARGS=--record` if it must be so"
        for name, now in ratios.items()
        if now > recorded[name] * (1 + tolerance)
    ]


def _recorded(records: int) -> dict[str, float]:
    """The recorded ratios, which must be of an input as large: what a flush costs is spread over its events."""
    try:
        recorded: dict[str, float] = orjson.loads(RECORDED.read_bytes())
    except FileNotFoundError:
        raise SystemExit(
            "bench-check: no ratios are recorded yet; record them with `make bench-check ARGS=--record`"
        ) from None
    if recorded["records"] != records:
        raise SystemExit(
            f"bench-check: the recorded ratios are of {recorded['records']:,.0f} records, not {records:,}"
        )
    return recorded


def _pure_path() -> float:
    """The median ratio of the whole shard's work to decoding."""
    least, whole = pure_path.costs(PURE_EVENTS, ROUNDS).values()
    return float(statistics.median(map(truediv, whole, least)))


def _worker(records: int) -> float:
    """The median ratio of our worker's CPU to that of the limit."""
    with tempfile.TemporaryDirectory() as place:
        plan = Plan(best_broker(), Path(place, "raw.json"), Recipe(records), ROUNDS)
        with open_stage(plan.broker) as stage:
            _, figures = Rounds(stage, plan).run([OURS, GETMANY])
    ours, limit = figures.get(OURS.name), figures.get(GETMANY.name)
    ratio = limit.ratios(ours, cost) if ours and limit else None
    if ratio is None:
        raise SystemExit("bench-check: our worker or the limit did not come to a right result; see above")
    return ratio.median


if __name__ == "__main__":
    main()
