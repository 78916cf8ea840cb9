"""What an event costs as customers and campaigns become many, and what each of them takes in memory.

``python -m benchmarks.growth`` fills shards of four sizes, each in a process of its own, lets them work on everyday
life in turn and compares: a million customers with ten thousand, twenty thousand campaigns with a hundred. In memory
and on RocksDB. The way through a broker and Redis is not in it; ``restart.py`` has the whole worker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.growth_shard import Size, cost, fill
from benchmarks.life import Json
from benchmarks.own_system import finish, headline, run_checked, table

GOAL_DEARER = 1.3
GOAL_BYTES_A_CUSTOMER = 400
STORES = ("memory", "rocksdb")
OF_A_CUSTOMER = ("customers", "carts", "chats", "tickets")
OF_A_CAMPAIGN = ("keys", "panes")


def main() -> None:
    options = _options()
    figures = {
        "settings": {"events_a_turn": options.events, "turns": options.turns},
        "stores": {store: measure(store, options) for store in options.stores},
    }
    finish("growth", figures, as_markdown, options.write)


def measure(store: str, options: argparse.Namespace) -> Json:
    """All sizes on one store: weighed once, timed in turn."""
    few, many = options.customers
    scant, plenty = options.campaigns
    middle = min(many, 10 * few)
    pairs = {
        "customers": (Size(few, 10 * scant, store), Size(many, 10 * scant, store)),
        "campaigns": (Size(middle, scant, store), Size(middle, plenty, store)),
    }
    sizes = [size for pair in pairs.values() for size in pair]
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-app-bench-")))
        processes = [stack.enter_context(ProcessPoolExecutor(1, context)) for _ in sizes]
        weights = [
            process.submit(fill, size, directory).result()
            for process, size in zip(processes, sizes, strict=True)
        ]
        costs: list[list[float]] = [[] for _ in sizes]
        for turn in range(options.turns + 1):
            for process, found in zip(processes, costs, strict=True):
                found.append(process.submit(cost, turn, options.events).result())
    costs = [found[1:] for found in costs]  # the first turn warms up
    return {
        "sizes": [
            {**size._asdict(), **weight, "microseconds": [round(one, 2) for one in found]}
            for size, weight, found in zip(sizes, weights, costs, strict=True)
        ],
        "dearer": {name: _ratios(costs[2 * n], costs[2 * n + 1]) for n, name in enumerate(pairs)},
        "bytes_a_customer": _bytes_each(weights[1], many, OF_A_CUSTOMER, weights[0], many - few),
        "bytes_a_campaign": _bytes_each(weights[3], plenty, OF_A_CAMPAIGN, weights[2], plenty - scant),
    }


def as_markdown(figures: Json) -> str:
    """The figures as a section of the document."""
    rows = []
    for store, found in figures["stores"].items():
        for size in found["sizes"]:
            values = size["microseconds"]
            each = f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"
            megabytes = f"{size['resident_growth'] / 1e6:,.0f} MB"
            rows.append(
                [
                    f"{store}: {size['customers']:,} customers, {size['campaigns']:,} campaigns",
                    each,
                    megabytes,
                ]
            )
    lines = []
    for store, found in figures["stores"].items():
        customer, campaign = found["bytes_a_customer"], found["bytes_a_campaign"]
        dearer = {
            name: f"{ratio['median']:.2f} ({ratio['least']:.2f}–{ratio['most']:.2f})"
            for name, ratio in found["dearer"].items()
        }
        lines.append([f"{store}: dearer with more customers", dearer["customers"], f"{GOAL_DEARER}"])
        lines.append([f"{store}: dearer with more campaigns", dearer["campaigns"], f"{GOAL_DEARER}"])
        lines.append(
            [f"{store}: bytes a customer, resident", f"{customer['resident']:,}", f"{GOAL_BYTES_A_CUSTOMER}"]
        )
        lines.append([f"{store}: bytes a customer, on the shelf", f"{customer['shelf']:,}", ""])
        lines.append([f"{store}: bytes a campaign, resident", f"{campaign['resident']:,}", ""])
        lines.append([f"{store}: bytes a campaign, on the shelf", f"{campaign['shelf']:,}", ""])
    return "\n".join(
        [
            f"{headline(figures)} {figures['settings']['turns']} turns of {figures['settings']['events_a_turn']:,} events.\n",
            table(["", "µs of CPU per event", "resident growth"], rows),
            table(["", "found", "goal"], lines),
        ]
    )


def _ratios(small: Sequence[float], large: Sequence[float]) -> Json:
    found = [more / less for less, more in zip(small, large, strict=True)]
    return {
        "median": round(statistics.median(found), 3),
        "least": round(min(found), 3),
        "most": round(max(found), 3),
    }


def _bytes_each(large: Json, number: int, kinds: Sequence[str], small: Json, more: int) -> Json:
    """What one of them takes: of the process's growth, and on the shelf. The kinds are those that belong to it."""
    shelf = sum(large["shelf"].get(kind, {"bytes": 0})["bytes"] for kind in kinds)
    resident = large["resident_growth"] - small["resident_growth"]
    return {"resident": round(resident / more), "shelf": round(shelf / number)}


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    arguments.add_argument("--events", type=int, default=100_000, help="a turn")
    arguments.add_argument("--turns", type=int, default=5)
    arguments.add_argument(
        "--customers", type=int, nargs=2, default=(10_000, 1_000_000), metavar=("FEW", "MANY")
    )
    arguments.add_argument("--campaigns", type=int, nargs=2, default=(100, 20_000), metavar=("FEW", "MANY"))
    arguments.add_argument("--stores", choices=STORES, nargs="+", default=STORES)
    arguments.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    return arguments.parse_args()


if __name__ == "__main__":
    run_checked("growth", main)
