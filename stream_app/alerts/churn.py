"""The churn rule: the bands of the churn score, and when a customer's alert begins and ends. Stands beside the rules.

The score itself, its model and its reasons are in ``stream_app/churn``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_app.churn.model import Assessment, ChurnModel, shipped_model


@dataclass(frozen=True, slots=True)
class ChurnRule:
    """Bands of the churn score. ``bands`` are (name, lowest score) from mild to severe; bands from
    ``alert_from`` on raise an alert of their severity, which resolves when the customer engages again, and below the
    score ``resolve``. For ``cool_off_ms`` after that the customer raises none. ``most_per_hour``: alerts that may begin
    in an hour of event time, over all shards; None for any number. ``learns``: scores are calibrated by what became of customers (``churn/learning.py``)."""

    name: str
    bands: tuple[tuple[str, float], ...]
    alert_from: str
    resolve: float
    severities: tuple[tuple[str, str], ...]
    runbook: str | None
    cool_off_ms: int = 0
    most_per_hour: int | None = None
    model: ChurnModel = field(default_factory=shipped_model)
    learns: bool = False

    def band_of(self, score: float) -> str | None:
        """The highest band a score reaches, or None below all of them."""
        reached = [band for band, lowest in self.bands if score >= lowest]
        return reached[-1] if reached else None

    def band_for(self, assessment: Assessment) -> str | None:
        """The band of a customer; None also where there is no silence to speak of."""
        return self.band_of(assessment.score) if assessment.is_silent else None

    def rank(self, band: str | None) -> int:
        """A band's place from mild to severe, from 0; -1 for none and for a band the rule does not know."""
        names = [name for name, _ in self.bands]
        return names.index(band) if band in names else -1
