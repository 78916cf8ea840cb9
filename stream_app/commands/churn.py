"""``stream-app churn fit``: the weights of the churn model from a company's own history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stream_app.backtest.arrivals import Arrival
from stream_app.backtest.outcomes import examples_at
from stream_app.churn.fit import Example
from stream_app.churn.model import model_text, shipped_model
from stream_app.churn.training import Quality, fit_model, held_out
from stream_app.clock import DAY_MS, from_datetime, to_rfc3339
from stream_app.commands.destination import event_of
from stream_app.commands.lines import read_blocks, total_bytes
from stream_app.commands.progress import Progress
from stream_app.commands.tally import Tally
from stream_app.failure import Failure
from stream_app.garbage import spare_the_old
from stream_app.ingest.decode import Rejected
from stream_app.output import json_line, result
from stream_app.settings import Settings

LONG_MEMORY_MS = 400 * DAY_MS
"""The shortest retention that is fitted with: a year's history, and a month to spare."""


def fit(
    settings: Settings, files: list[str], out: Path | None, horizon: int, days: list[datetime], as_json: bool
) -> int:
    """Fit the model to the events of the files; 0.

    Raises:
        Failure: a file cannot be read or written, or the history is too short.
    """
    spare_the_old()
    arrivals = asyncio.run(_read(settings, files))
    if not arrivals:
        raise Failure("no event was read; name files of one JSON event per line, such as `send` takes")
    settings = settings.model_copy(update={"retention": max(settings.retention, LONG_MEMORY_MS)})
    examples: list[Example] = []
    horizon_ms = horizon * DAY_MS
    as_of = _days_to_stand_on(arrivals, horizon_ms, days)
    for as_of_ms in as_of:
        examples += examples_at(settings, arrivals, as_of_ms, horizon_ms)
    if not examples:
        raise Failure(
            "nobody had got mail or bought by then; name a later day with --as-of, or a shorter --horizon"
        )
    found = held_out(examples, shipped_model(), horizon_ms)
    if out is not None:
        _write(out, model_text(fit_model(examples, shipped_model(), horizon_ms), _origin(as_of, examples)))
    if as_json:
        json_line(
            {"as_of": [to_rfc3339(time_ms) for time_ms in as_of], "heads": [_json(one) for one in found]}
        )
    else:
        for one in found:
            _print(one)
        result(f"The model is in {out}." if out else "Nothing is written; --out FILE keeps the model.")
    return 0


async def _read(settings: Settings, files: list[str]) -> list[Arrival]:
    arrivals: list[Arrival] = []
    tally = Tally()
    with Progress(total_bytes(files), "reading") as progress:
        for name in files:
            async for block in read_blocks(name, settings.max_event_bytes, asyncio.sleep):
                for number, line in enumerate(block.lines, block.first_number):
                    if line and not line.isspace():
                        try:
                            topic, event = event_of(line, settings.max_event_bytes)
                            arrivals.append(Arrival(topic, event.customer_id.encode(), line, event.time_ms()))
                        except Rejected as problem:
                            tally.refuse(name, number, problem)
                            continue
                        tally.take(topic)
                progress.show(block.bytes_read, tally.taken, tally.refused)
                await asyncio.sleep(0)  # for Ctrl-C
            progress.next_file()
    tally.say_unnamed()
    return arrivals


def _days_to_stand_on(arrivals: Sequence[Arrival], horizon_ms: int, days: list[datetime]) -> list[int]:
    """The days asked for, or the last one whose horizon is over.

    Raises:
        Failure: the horizon of one is not over within the events.
    """
    first_ms = min(arrival.time_ms for arrival in arrivals)
    latest_ms = (max(arrival.time_ms for arrival in arrivals) - horizon_ms) // DAY_MS * DAY_MS
    wanted = sorted({from_datetime(day.replace(tzinfo=UTC)) for day in days}) or [latest_ms]
    for time_ms in wanted:
        if not first_ms < time_ms <= latest_ms:
            raise Failure(
                f"{to_rfc3339(time_ms)[:10]} is no day to stand on: the events must begin before it and go on for "
                f"{horizon_ms // DAY_MS} days after it; they are from {to_rfc3339(first_ms)[:10]} to "
                f"{to_rfc3339(latest_ms + horizon_ms)[:10]}. Name another day, or a shorter --horizon"
            )
    return wanted


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, "utf-8")
    except OSError as problem:
        raise Failure(
            f"{out}: cannot be written ({problem.strerror}); name a file in a directory of yours"
        ) from None


def _origin(as_of: Sequence[int], examples: Sequence[Example]) -> str:
    days = ", ".join(to_rfc3339(time_ms)[:10] for time_ms in as_of)
    return f"Fitted by `stream-app churn fit` on {len(examples):,} customers as of {days}."


def _print(one: Quality) -> None:
    ranking = "–" if one.auc is None else f"{one.auc:.3f}"
    share = one.silent / one.customers
    result(
        f"{one.head}s held out: {one.customers:,}, of whom {share:.1%} fell silent; AUC {ranking}, Brier {one.brier:.3f}"
    )
    result("  score      customers  mean score  fell silent")
    for held in one.calibration:
        result(
            f"  {held.low:.1f} – {held.high:.1f}  {held.customers:9,}  {held.mean_score:10.3f}  {held.share:11.3f}"
        )


def _json(one: Quality) -> dict[str, object]:
    return {**one._asdict(), "calibration": [held._asdict() for held in one.calibration]}
