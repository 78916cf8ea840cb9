"""The rounds of the bench: who can take part, over which input, in turns, everything noted at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.environment import CannotPrepare
from benchmarks.figures import Figures, figures_of
from benchmarks.input import EMAIL_TOPICS, Recipe
from benchmarks.race import Run, race
from benchmarks.report import write_raw
from benchmarks.stage import BrokerName, Input, Stage
from stream_app.dev import ServerError
from tests.support.brokers import JARS

START_RECORDS = 1_000
START_RUNS = 3
START_SECONDS = 180.0


@dataclass(frozen=True)
class Plan:
    """What is run: how many rounds, over how much, who gets the small input, and where raw figures go."""

    broker: BrokerName
    raw: Path
    recipe: Recipe
    rounds: int = 5
    small: tuple[str, ...] = ()
    small_records: int = 100_000
    seconds: float = 900.0

    def input_of(self, contestant: Contestant) -> Input:
        """The input that a contestant gets."""
        if contestant.name in self.small or contestant.input == "small":
            return Input("small", Recipe(min(self.small_records, self.recipe.records)))
        if contestant.input == "email":
            return Input("email", self.recipe, EMAIL_TOPICS)
        return Input("full", self.recipe)


class Rounds:
    """All runs over one stage."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self._stage = stage
        self._plan = plan
        self._starts: dict[str, list[Run]] = {}
        self._runs: list[tuple[int, Run]] = []
        self.left_out: dict[str, str] = {}
        """The titles of those who could not take part, and why."""

    def run(self, contestants: Sequence[Contestant]) -> tuple[list[Contestant], dict[str, Figures]]:
        """Those who could take part, and their figures by name."""
        ready = [one for one in contestants if self._starts_well(one)]
        for number in range(1, self._plan.rounds + 1):
            turn = number % max(len(ready), 1)  # nobody always comes first
            for contestant in ready[turn:] + ready[:turn]:
                given = self._plan.input_of(contestant)
                self._stage.fill(given)
                self._note(number, race(self._stage, contestant, given, self._plan.seconds))
        by_name: dict[str, list[tuple[int, Run]]] = {}
        for number, run in self._runs:
            by_name.setdefault(run.contestant, []).append((number, run))
        return ready, {name: figures_of(self._starts[name], rounds) for name, rounds in by_name.items()}

    def _starts_well(self, contestant: Contestant) -> bool:
        """Prepare it and run it over almost nothing; who cannot is left out, and told."""
        try:
            contestant.prepare()
        except CannotPrepare as problem:
            return self._leave_out(contestant, str(problem))
        nothing = Input("start", Recipe(START_RECORDS))
        self._stage.fill(nothing)
        for _ in range(START_RUNS):
            run = race(self._stage, contestant, nothing, START_SECONDS)
            if run.problem is not None:
                return self._leave_out(contestant, f"not right over {START_RECORDS:,} records: {run.problem}")
            print(
                f"{contestant.name}: started and done with {START_RECORDS:,} records in {run.seconds:.1f} s, "
                f"{run.cpu_seconds:.1f} s of CPU",
                flush=True,
            )
            self._starts.setdefault(contestant.name, []).append(run)
        return True

    def _leave_out(self, contestant: Contestant, reason: str) -> bool:
        print(f"{contestant.name} is left out: {reason}", flush=True)
        self.left_out[contestant.title] = reason
        return False

    def _note(self, number: int, run: Run) -> None:
        self._runs.append((number, run))
        write_raw(self._plan.raw, self._plan.recipe, self._plan.broker, self._starts, self._runs)
        result = "right" if run.problem is None else "NOT RIGHT"
        print(
            f"round {number}: {run.contestant}: {run.records:,} records in {run.seconds:.1f} s, "
            f"{run.cpu_seconds:.1f} s of CPU, {result}",
            flush=True,
        )


def best_broker() -> BrokerName:
    """Apache Kafka where it has been fetched, else the embedded broker."""
    return "kafka" if any(JARS.glob("kafka_*.jar")) else "embedded"


@contextmanager
def told() -> Iterator[None]:
    """What is missing is told in a sentence."""
    try:
        yield
    except (CannotPrepare, ServerError) as problem:
        raise SystemExit(f"benchmarks: {problem}") from None
    except KeyboardInterrupt:
        raise SystemExit("benchmarks: ended early") from None
