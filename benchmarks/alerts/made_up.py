"""`python -m benchmarks.alerts.made_up`: the spike rule on made-up counts whose truth is known.

How many alerts it raises by chance, and how soon it catches a rate that is suddenly a multiple of the usual. Takes ten
minutes or so; prints two tables, and with `--write` puts them in docs/alerts-measured.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import msgspec

from benchmarks.alerts.__main__ import PAGE
from benchmarks.report import replace_section
from stream_app.alerts.spike_history import SpikeHistory, SpikeSettings
from tests.support.counts import alerts, counts_of, watch

SETTINGS = SpikeSettings()
DAY = SETTINGS.intervals_a_day
LEVELS = (0.1, 0.01, 0.001)
RATES = (0.1, 1, 10, 100, 1_000, 10_000)
DAYS = 35
FACTORS, BASES = (2, 3, 5, 10), (3, 10, 30, 100, 1_000)
TRIALS = 60


def steady(rate: float) -> Callable[[int], float]:
    """The same rate all the time."""
    return lambda _: rate


def wave(place: int) -> float:
    """Six times as busy by day as by night, and half as busy on two days of the week."""
    weekend = 0.5 if place // DAY % 7 >= 5 else 1.0
    return 30 * weekend * math.exp(0.9 * math.sin(2 * math.pi * place / DAY))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts.made_up", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="series of 35 days for each rate (10)")
    parser.add_argument("--write", action="store_true", help="write the sections in docs/alerts-measured.md")
    options = parser.parse_args()
    tables = {"by_chance": by_chance(options.seeds), "caught": caught()}
    for name, text in tables.items():
        print(f"{text}\n")
        if options.write:
            replace_section(PAGE, name, text)


def by_chance(seeds: int) -> str:
    """Alerts that steady rates, and a rate with days and weekends, raise at each level."""
    lines = [
        f"| events in five minutes | {' | '.join(f'at {level} a day' for level in LEVELS)} | history |",
        f"|---|{'---:|' * (len(LEVELS) + 1)}",
    ]
    lines += [_chance_row(f"{rate:,}", steady(rate), seeds) for rate in RATES]
    lines.append(_chance_row("30, with days, nights and weekends", wave, seeds))
    should_be = " | ".join(f"{level * seeds * DAYS:g}" for level in LEVELS)
    return "\n".join([*lines, f"| *as the level says* | {should_be} | |"])


def caught() -> str:
    """How many of a hundred sudden rises are caught within one, two and three intervals, at the level of 0.001."""
    lines = [
        f"| events in five minutes | {' | '.join(f'times {factor}' for factor in FACTORS)} |",
        f"|---|{'---:|' * len(FACTORS)}",
    ]
    for rate in BASES:
        history = SpikeHistory()
        watch(SETTINGS, history, counts_of(99, 5, steady(rate), SETTINGS))
        known = msgspec.msgpack.encode(history)
        cells = [" / ".join(f"{share:.0f}" for share in _shares(known, rate, factor)) for factor in FACTORS]
        lines.append(f"| {rate:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _chance_row(title: str, rate: Callable[[int], float], seeds: int) -> str:
    counts = dict.fromkeys(LEVELS, 0)
    size = 0
    for seed in range(seeds):
        history = SpikeHistory()
        seen = watch(SETTINGS, history, counts_of(seed, DAYS, rate, SETTINGS))
        size = max(size, len(msgspec.msgpack.encode(history)))
        for level in LEVELS:
            counts[level] += len(alerts(seen, level))
    return f"| {title} | {' | '.join(map(str, counts.values()))} | {size / 1000:.1f} kB |"


def _shares(known: bytes, rate: float, factor: int) -> list[float]:
    """The shares, in percent, that are caught within one, two and three intervals of the rise."""
    within = [0, 0, 0]
    for seed in range(TRIALS):
        history = msgspec.msgpack.decode(known, type=SpikeHistory)
        counts = counts_of(seed, 6 / DAY, lambda place: rate * (factor if place >= 3 else 1), SETTINGS)
        seen = watch(SETTINGS, history, counts, history.next_ms)
        fired = [one.fires_at(LEVELS[-1]) for one in seen[3:]]
        within = [count + any(fired[: place + 1]) for place, count in enumerate(within)]
    return [100 * count / TRIALS for count in within]


if __name__ == "__main__":
    main()
