"""``python -m benchmarks.churn``: how good the churn score is on real histories.

Events are replayed through the worker's code up to a day, everyone is scored, and what came true afterwards is looked up
in a second replay, up to the end of the horizon. Customers are split in two by a hash of their ids: weights are fitted on
one half, and every figure printed is of the other, beside simple rules and the weights that ship; one line is of the halves
exchanged, which tells how much of a figure is the luck of the split. Run it on other histories with ``--events FILE
--as-of DAY --days N``, and on purchases in CDNOW's form with ``--cdnow FILE``; ``--as-of`` can be given again. With
``--learning`` the history is replayed with weights that are off, to see what learning from outcomes makes of them.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.churn.cdnow import purchases
from benchmarks.churn.learning import learning_lines, off
from benchmarks.churn.size import size_line
from benchmarks.places import SHARED_DATA
from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.outcomes import customers_at, examples_at
from stream_app.churn.facts import ChurnFacts
from stream_app.churn.fit import Example
from stream_app.churn.model import ChurnModel, assess, load_model, shipped_model
from stream_app.churn.quality import auc, brier, calibration
from stream_app.churn.training import fit_model, is_held_out
from stream_app.clock import DAY_MS, from_datetime
from stream_app.commands.destination import event_of
from stream_app.settings import Settings, load_settings

RETENTION_MS = 800 * DAY_MS
LONGEST_LINE = 262_144
NEVER_MONTHS = 99.0
LEARNING_DAYS = 60

Rule = Callable[[ChurnFacts], float]


def main() -> None:
    options = _arguments()
    settings = load_settings().model_copy(update={"retention": RETENTION_MS})
    given = None if options.model is None else load_model(options.model)
    newsletter = options.events or SHARED_DATA / "signals-2019.ndjson.gz"
    if options.learning:
        report_learning(_there(newsletter), settings)
        return
    as_of_days = options.as_of or [_day("2019-09-01")]
    if options.events or not options.cdnow:
        arrivals = list(events(_there(newsletter)))
        for as_of_ms in as_of_days:
            report(newsletter.name, settings, arrivals, as_of_ms, options.days, given)
    if options.cdnow or not options.events:
        path = _there(options.cdnow or SHARED_DATA / "cdnow" / "CDNOW_master.txt")
        arrivals = list(purchases(path))
        days = options.days if options.cdnow else 39 * 7
        for as_of_ms in as_of_days if options.cdnow else [_day("1997-10-01")]:
            report(path.name, settings, arrivals, as_of_ms, days, given)


def _there(path: Path) -> Path:
    """A history, or the end: those that the documents speak of do not come with the project."""
    if not path.is_file():
        raise SystemExit(
            f"benchmarks.churn: {path} is not there; name a history of yours: --events FILE, or --cdnow FILE"
        )
    return path


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.churn", description=__doc__)
    arguments.add_argument("--events", type=Path, help="NDJSON of the contract's events, plain or gzipped")
    arguments.add_argument("--cdnow", type=Path, help="purchases as CDNOW_master.txt has them")
    arguments.add_argument(
        "--as-of", type=_day, action="append", help="the first day that is foretold; can be given again"
    )
    arguments.add_argument("--days", type=int, default=120, help="how many days are foretold")
    arguments.add_argument("--model", type=Path, help="score with these weights too")
    arguments.add_argument(
        "--learning", action="store_true", help="replay with weights that are off, and learn from outcomes"
    )
    return arguments.parse_args()


def report_learning(path: Path, settings: Settings) -> None:
    """Print what learning from outcomes makes of weights that are off."""
    arrivals = list(events(path))
    for name, intercept, slope in (("shipped", 0.0, 1.0), ("off by 1.5, and half as steep", 1.5, 0.5)):
        model = off(shipped_model(), LEARNING_DAYS * DAY_MS, intercept, slope)
        print(f"\n{path.name}, silence over {LEARNING_DAYS} days, weights: {name}")
        for line in learning_lines(settings, arrivals, model):
            print(f"  {line}")


def events(path: Path) -> Iterable[Arrival]:
    """The events of a file, in its order."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            topic, event = event_of(line.rstrip(b"\n"), LONGEST_LINE)
            yield Arrival(topic, event.customer_id.encode(), line.rstrip(b"\n"), event.time_ms())


def report(
    name: str,
    settings: Settings,
    arrivals: Sequence[Arrival],
    as_of_ms: int,
    days: int,
    given: ChurnModel | None,
) -> None:
    """Print how good the score is on one history."""
    horizon_ms = days * DAY_MS
    before = sum(arrival.time_ms < as_of_ms for arrival in arrivals)
    began = time.process_time()
    known = customers_at(settings, arrivals, as_of_ms)
    replay_seconds = time.process_time() - began
    examples = list(examples_at(settings, arrivals, as_of_ms, horizon_ms))
    half = [one for one in examples if is_held_out(one.customer_id)]
    rest = [one for one in examples if not is_held_out(one.customer_id)]
    fitted = fit_model(rest, shipped_model(), horizon_ms)
    exchanged = fit_model(half, shipped_model(), horizon_ms)
    left = sum(customer.opted_out and is_held_out(name) for name, customer in known.items())
    day = datetime.fromtimestamp(as_of_ms / 1000, UTC).date()
    print(f"\n{name}, as of {day}, silence over {days} days; {len(half):,} customers held out")
    print(f"  {before:,} events replayed at {replay_seconds / max(1, before) * 1e6:.1f} µs of CPU each")
    print(f"  {size_line(known.values())}")
    for whose, is_buyer in (("readers", False), ("buyers", True)):
        some = [one for one in half if one.facts.is_buyer == is_buyer]
        if len({one.was_silent for one in some}) == 2:
            silent = sum(one.was_silent for one in some) / len(some)
            print(
                f"\n  {whose}: {len(some):,}, of whom {silent:.1%} were silent"
                + (f"; {left:,} more had opted out" if not is_buyer else "")
            )
            _compare(
                some,
                is_buyer,
                left if not is_buyer else 0,
                {
                    "fitted on the other half": fitted,
                    "shipped": shipped_model(),
                    **({"given": given} if given else {}),
                },
            )
            scored = [
                (assess(one.facts, exchanged).score, one.was_silent)
                for one in rest
                if one.facts.is_buyer == is_buyer
            ]
            if scored:
                print(f"    halves exchanged: AUC {auc(scored) or 0:.4f}, Brier score {brier(scored):.4f}")


def _compare(some: Sequence[Example], is_buyer: bool, left: int, models: dict[str, ChurnModel]) -> None:
    print("    score                       AUC     Brier   AUC with those who opted out")
    for name, rule in (_BUYER_RULES if is_buyer else _READER_RULES).items():
        scored = [(rule(one.facts), one.was_silent) for one in some]
        print(f"    {name:26}  {auc(scored) or 0:.4f}  –")
    for name, model in models.items():
        began = time.process_time()
        scored = [(assess(one.facts, model).score, one.was_silent) for one in some]
        spent = (time.process_time() - began) / len(some) * 1e6
        whole = [*scored, *[(1.0, True)] * left]
        print(
            f"    {name:26}  {auc(scored) or 0:.4f}  {brier(scored):.4f}  {auc(whole) or 0:.4f}   {spent:.0f} µs per score"
        )
    scored = [(assess(one.facts, models["fitted on the other half"]).score, one.was_silent) for one in some]
    print("    score      customers  mean score  were silent   (fitted on the other half)")
    for held in calibration(scored):
        print(
            f"    {held.low:.1f} – {held.high:.1f}  {held.customers:9,}  {held.mean_score:10.3f}  {held.share:11.3f}"
        )


def _recency(facts: ChurnFacts) -> float:
    return facts.months_silent if facts.answered_before else NEVER_MONTHS


def _unweighted(facts: ChurnFacts) -> float:
    return -(facts.recently_answered + 0.3) / (facts.recently_received + 1)


_READER_RULES: dict[str, Rule] = {"months since the last answer": _recency, "weighted open rate": _unweighted}
_BUYER_RULES: dict[str, Rule] = {"months since the last": lambda facts: facts.months_since_purchase}


def _day(text: str) -> int:
    return from_datetime(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC))


if __name__ == "__main__":
    main()
