"""The churn model: a customer's facts in, the probability of silence out, and why. Pure.

Stands between the features and the churn rule. A logistic regression: the log-odds of silence within the horizon are an
intercept and a weighted sum of the features (``features.py``), one head for readers (silence: no open or click by the
person) and one for buyers (no purchase). The weights are data: ``model.toml`` beside this module, or another file that
``stream-app churn fit`` has written. What a factor contributed is what its features add beyond those of a usual customer who stays,
and the reasons are the largest contributions, so that nothing is said which did not raise the score.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from stream_app.churn.facts import ChurnFacts
from stream_app.churn.features import BUYER, READER, Factor, feature_names, values_of
from stream_app.clock import DAY_MS

SHIPPED_MODEL: Final = Path(__file__).with_name("model.toml")
MOST_REASONS: Final = 3
_LEAST_SAID = 0.1
"""Log-odds; what raises the score by less is no reason."""


class ModelError(Exception):
    """A model's file is wrong; the message names the file, what is wrong, and the mend."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weights of one kind of customer. ``usual`` are the mean features of those who stayed, which reasons are told against."""

    intercept: float
    weights: dict[str, float]
    usual: dict[str, float]

    def log_odds(self, values: dict[str, float]) -> float:
        """The log-odds of silence within the horizon."""
        return self.intercept + sum(self.weights[name] * value for name, value in values.items())


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    horizon: str
    reader: Head
    buyer: Head


class Assessment(NamedTuple):
    """The score, rounded to four digits, and up to three reasons, the weightiest first. ``is_silent``: there is a silence
    to speak of; without, the score has no band. ``engaged_ms``: when the customer last did what the score is about; -1 where
    that is not known. ``segment``: the customer's latest, where one is known."""

    score: float
    reasons: tuple[str, ...]
    is_silent: bool = True
    engaged_ms: int = -1
    segment: str | None = None


@dataclass(frozen=True, eq=False)
class ChurnModel:
    """Both heads, and the horizon that their probabilities are about."""

    horizon_ms: int
    reader: Head
    buyer: Head

    def head_of(self, facts: ChurnFacts) -> tuple[Head, dict[str, Factor]]:
        """The head that a customer is scored by, and its factors."""
        return (self.buyer, BUYER) if facts.is_buyer else (self.reader, READER)


@lru_cache(maxsize=2_000)  # after a mailing, many customers share their facts
def assess(facts: ChurnFacts, model: ChurnModel) -> Assessment:
    """Score a customer and say what raised the score most."""
    head, factors = model.head_of(facts)
    log_odds = head.log_odds(values_of(factors, facts))
    parts = contributions(facts, model)
    heaviest = sorted((name for name in parts if parts[name] >= _LEAST_SAID), key=lambda name: -parts[name])
    reasons = tuple(factors[name].words(facts) for name in heaviest[:MOST_REASONS])
    return Assessment(round(1 / (1 + exp(-log_odds)), 4), reasons, facts.is_silent)


def contributions(facts: ChurnFacts, model: ChurnModel) -> dict[str, float]:
    """What each factor adds to the log-odds of a usual customer, by the factor's name."""
    head, factors = model.head_of(facts)
    return {
        name: sum(
            head.weights[feature] * (value(facts) - head.usual[feature])
            for feature, value in factor.features.items()
        )
        for name, factor in factors.items()
    }


@cache
def shipped_model() -> ChurnModel:
    """The model that ships."""
    return load_model(SHIPPED_MODEL)


def load_model(path: Path) -> ChurnModel:
    """Read and check a model's file.

    Raises:
        ModelError: it cannot be read, or something in it is wrong.
    """
    mend = "write it with `stream-app churn fit`"
    try:
        held = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File)
    except OSError as problem:
        raise ModelError(
            f"{path}: cannot be read ({problem.strerror}); name a file of a churn model"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as problem:
        raise ModelError(f"{path}: is no churn model ({problem}); {mend}") from None
    horizon = re.fullmatch(r"([1-9]\d{0,3})d", held.horizon)
    if horizon is None:
        raise ModelError(f'{path}: horizon = "{held.horizon}" is no number of days; write "90d"')
    for name, head, factors in (("reader", held.reader, READER), ("buyer", held.buyer, BUYER)):
        wanted = feature_names(factors)
        for part, given in (("weights", head.weights), ("usual", head.usual)):
            wrong = sorted(set(wanted) ^ set(given))
            if wrong:
                raise ModelError(
                    f"{path}: [{name}.{part}] must name {', '.join(wanted)}; it is {', '.join(wrong)} "
                    f"where they differ; {mend}"
                )
    return ChurnModel(int(horizon[1]) * DAY_MS, held.reader, held.buyer)


def model_text(model: ChurnModel, origin: str) -> str:
    """A model as its file has it; ``origin`` says where the weights come from, in a line or several."""
    lines = [*(f"# {line}" for line in origin.splitlines()), f'horizon = "{model.horizon_ms // DAY_MS}d"']
    for name, head, factors in (("reader", model.reader, READER), ("buyer", model.buyer, BUYER)):
        lines += ["", f"[{name}]", f"intercept = {head.intercept:.4f}"]
        for part, numbers in (("weights", head.weights), ("usual", head.usual)):
            lines += ["", f"[{name}.{part}]"]
            lines += [f"{feature} = {numbers[feature]:.4f}" for feature in feature_names(factors)]
    return "\n".join(lines) + "\n"
