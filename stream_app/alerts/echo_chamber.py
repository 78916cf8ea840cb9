"""The echo chamber: a campaign's click rate looks better only because those who left no longer count. Pure.

Stands beside ``detection``; judges the ledger of campaigns, not the counts of one key. Compared is a campaign with its
last predecessors in its segment, taken together. It fires where ``ctr`` rose by the rule's share, ``ctr_adjusted``
(which divides by the audience once had) did not, and the share of those lost before the campaign grew beyond chance:
the lower end of its 95 % Wilson interval lies above the predecessors' share. The first two are plain arithmetic, for
they say how a rate *looks*; that people left is what needs evidence.
"""

from __future__ import annotations

from stream_app.alerts.observation import Evidence, Observation
from stream_app.alerts.rule import Rule
from stream_app.metrics.catalogue import LONGEST_WINDOW_MS
from stream_app.metrics.ledger import Campaign
from stream_app.metrics.rates import wilson

_NOTHING = Observation(None, None, None, None, None, None, Evidence.THIN, None, None)


def observe_echo(
    rule: Rule, name: str, campaign: Campaign, before: Campaign | None, now_ms: int
) -> Observation:
    """Judge a campaign against its predecessors, None if it has none. The value is its ``ctr``, the baseline theirs;
    the rule's levels are shares of the baseline."""
    if before is None or min(campaign.deliveries, before.deliveries) < rule.minimum_evidence:
        return _NOTHING
    value, baseline = _rate(campaign), _rate(before)
    low, high = wilson(min(campaign.unique_clicks, campaign.deliveries), campaign.deliveries)
    levels = tuple((severity, baseline * (1 + share)) for severity, share in rule.levels)
    resolve = baseline * (1 + rule.resolve)
    is_quiet = campaign.newest_ms + LONGEST_WINDOW_MS <= now_ms
    severity = held = None
    if not is_quiet and baseline > 0:
        stays = _adjusted(campaign) <= _adjusted(before) * (1 + rule.resolve)
        if value >= resolve and stays:
            held = _worst(levels, value) or levels[0][0]
        # Whole numbers are compared for "did not rise", as the same audience gives the same rate to the last digit.
        did_not_rise = campaign.unique_clicks * before.audience <= before.unique_clicks * campaign.audience
        if did_not_rise and _lost_grew(campaign, before):
            severity = _worst(levels, value)
    return Observation(
        value,
        campaign.unique_clicks,
        campaign.deliveries,
        low,
        high,
        baseline,
        Evidence.QUIET if is_quiet else Evidence.ENOUGH,
        severity,
        held,
        levels,
        resolve,
        reasons=_in_words(name, campaign, before),
    )


def _rate(campaign: Campaign) -> float:
    return campaign.unique_clicks / campaign.deliveries


def _adjusted(campaign: Campaign) -> float:
    return campaign.unique_clicks / campaign.audience


def _lost_grew(campaign: Campaign, before: Campaign) -> bool:
    low, _ = wilson(campaign.lost_before, campaign.audience)
    return low > before.lost_before / before.audience


def _worst(levels: tuple[tuple[str, float], ...], value: float) -> str | None:
    reached = [severity for severity, level in levels if value >= level]
    return reached[-1] if reached else None


def _in_words(name: str, campaign: Campaign, before: Campaign) -> tuple[str, ...]:
    """The sentence of the summary, then the numbers behind it."""
    segment = f" in segment {campaign.segment}" if campaign.segment else ""
    clicks, deliveries = campaign.unique_clicks, campaign.deliveries
    return (
        f"the click-through rate of campaign {name}{segment} looks better than its predecessors' "
        f"({_percent(_rate(campaign))} against {_percent(_rate(before))}) only because the "
        f"{campaign.lost_before:,} who left before it no longer count: with them it is {_percent(_adjusted(campaign))}, "
        f"where it was {_percent(_adjusted(before))}",
        f"{clicks:,} clicks of {deliveries:,} deliveries, and of {campaign.audience:,} with those who left",
        f"predecessors: {before.unique_clicks:,} clicks of {before.deliveries:,} deliveries, and of "
        f"{before.audience:,} with those who had left",
        f"{_percent(campaign.lost_before / campaign.audience)} of its audience had left before it, "
        f"{_percent(before.lost_before / before.audience)} before its predecessors",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
