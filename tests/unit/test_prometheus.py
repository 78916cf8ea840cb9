"""What is served at /metrics: names as Prometheus wants them, and the numbers that were given."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from stream_app.metrics.catalogue import COUNTS, RATES, Dimension
from stream_app.notifiers.readiness import State
from stream_app.prometheus import families
from stream_app.prometheus.engagement import DIMENSIONS, MOST_KEYS, chosen_keys, engagement_samples
from stream_app.prometheus.exposition import Gathered, Sample, distribution, metrics_reply, process_samples
from stream_app.prometheus.families import (
    CONSOLE_FAMILIES,
    EXPOSED_WINDOWS,
    NOTIFY_FAMILIES,
    WORKER_FAMILIES,
    Family,
    engagement_families,
)
from stream_app.prometheus.notify import notify_samples
from stream_app.schemas.prometheus import prometheus_page
from stream_app.vitals import BATCH_BOUNDS, Histogram
from tests.support.shown import campaign, snapshot

ALL_FAMILIES = dict.fromkeys((*WORKER_FAMILIES, *NOTIFY_FAMILIES, *CONSOLE_FAMILIES, *engagement_families()))


def parsed(gathered: list[Gathered]) -> dict[str, Metric]:
    """What a scrape understands."""
    text = metrics_reply(gathered).body.decode()
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def sample_of(family: Family) -> Gathered:
    labels = tuple(f"some {label}" for label in family.labels)
    if family.kind is families.Kind.HISTOGRAM:
        return family, [distribution(Histogram(BATCH_BOUNDS), *labels)]
    return family, [Sample(1, labels)]


def test_names_are_unique_and_follow_the_conventions() -> None:
    names = [family.name for family in ALL_FAMILIES]
    assert len(names) == len(set(names))
    for family in ALL_FAMILIES:
        assert re.fullmatch(r"stream_app_[a-z0-9_]+", family.name)
        assert family.name.endswith("_total") == (family.kind is families.Kind.COUNTER)


def test_every_count_and_rate_of_the_catalogue_is_served_with_its_meaning() -> None:
    meanings = {family.name: family.meaning for family in engagement_families()}
    for count in COUNTS:
        assert meanings[f"stream_app_engagement_{count.name}"] == count.meaning
    assert [meanings[families.rate_families(rate)[0].name] for rate in RATES] == [r.meaning for r in RATES]


def test_every_family_is_on_the_reference_page() -> None:
    page = prometheus_page()
    assert [family.name for family in ALL_FAMILIES if f"| `{family.name}` |" not in page] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault_with_any_of_them() -> None:
    body = metrics_reply([sample_of(family) for family in ALL_FAMILIES]).body
    checked = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr + checked.stdout) == (0, b"")


@given(values=st.lists(st.floats(0, 20_000), max_size=40))
def test_a_histogram_is_told_as_prometheus_has_it(values: list[float]) -> None:
    histogram = Histogram(BATCH_BOUNDS)
    for value in values:
        histogram.observe(value)
    metric = parsed([(families.BATCHES, [distribution(histogram)])])["stream_app_batch_records"]
    told = {(one.name, one.labels.get("le")): one.value for one in metric.samples}
    for bound in BATCH_BOUNDS:
        below = told["stream_app_batch_records_bucket", str(bound)]
        assert below == sum(value <= bound for value in values)
    assert told["stream_app_batch_records_bucket", "+Inf"] == len(values)
    assert told["stream_app_batch_records_count", None] == len(values)
    assert told["stream_app_batch_records_sum", None] == pytest.approx(sum(values))


def test_the_numbers_of_a_snapshot_are_those_of_prometheus() -> None:
    shown = snapshot("campaign:spring", campaign(1000, clicks=20))
    metrics = parsed(engagement_samples([shown], Counter({"campaign": 3})))
    labels = {"dimension": "campaign", "key": "spring"}
    deliveries = metrics["stream_app_engagement_deliveries"].samples
    assert {(one.labels["window"], one.value) for one in deliveries} == {(w, 1000.0) for w in EXPOSED_WINDOWS}
    assert labels.items() <= deliveries[0].labels.items()
    ratio, low, high = (
        metrics[f"stream_app_engagement_ctr_ratio{bound}"].samples[0].value for bound in ("", "_low", "_high")
    )
    rate = shown.windows["5m"].rates["ctr"]
    assert (ratio, low, high) == (rate.value, rate.low, rate.high)
    assert metrics["stream_app_engagement_complaint_ratio"].samples[0].value == 0
    left_out = metrics["stream_app_engagement_keys_left_out"].samples
    assert [(one.labels, one.value) for one in left_out] == [({"dimension": "campaign"}, 3)]


def test_a_rate_that_nobody_can_know_is_not_there_and_amounts_have_their_currency() -> None:
    metrics = parsed(engagement_samples([snapshot("all:all", {"chats_started": 1})], Counter()))
    assert metrics["stream_app_engagement_csat_ratio"].samples == []
    assert metrics["stream_app_engagement_missed_chat_ratio"].samples[0].value == 0
    assert metrics["stream_app_engagement_purchased_value"].samples == []


@given(name=st.text(min_size=1, max_size=200))
def test_any_name_survives_the_way_to_prometheus(name: str) -> None:
    metrics = parsed([(families.NOTIFY_WAITING, [Sample(1, (name,))])])
    (sample,) = metrics["stream_app_notify_waiting"].samples
    assert sample.value == 1
    assert sample.labels["target"].splitlines() == name.splitlines()


@given(
    keys=st.dictionaries(
        st.tuples(st.sampled_from(list(Dimension)), st.integers(0, 999)), st.integers(0, 10**6), max_size=50
    ),
    detail=st.sampled_from(list(DIMENSIONS)),
)
def test_only_the_chosen_dimensions_are_served(keys: dict[tuple[Dimension, int], int], detail: str) -> None:
    given_keys = [(time_ms, f"{dimension}:{number}") for (dimension, number), time_ms in keys.items()]
    chosen, left_out = chosen_keys(given_keys, detail)  # type: ignore[arg-type]
    wanted = [key for _, key in given_keys if Dimension(key.split(":")[0]) in DIMENSIONS[detail]]  # type: ignore[index]
    assert sorted(chosen) == sorted(wanted)
    assert left_out.total() == 0


def test_campaigns_by_segment_are_served_only_with_the_campaigns() -> None:
    assert {detail for detail, held in DIMENSIONS.items() if Dimension.CAMPAIGN_SEGMENT in held} == {
        "campaigns"
    }


def test_of_too_many_keys_those_with_the_newest_events_are_served() -> None:
    chosen, left_out = chosen_keys([(number, f"segment:{number}") for number in range(1000)], "segments")
    assert set(chosen) == {f"segment:{number}" for number in range(1000 - MOST_KEYS, 1000)}
    assert left_out == {"segment": 1000 - MOST_KEYS}


def test_the_process_and_its_version_are_there() -> None:
    metrics = parsed(process_samples(is_ready=False))
    assert metrics["stream_app_build_info"].samples[0].value == 1
    assert metrics["stream_app_ready"].samples[0].value == 0
    assert metrics["process_resident_memory_bytes"].samples[0].value > 1_000_000


def test_notify_tells_for_how_long_a_target_has_taken_nothing() -> None:
    states = [State("well", waiting=0), State("failing", waiting=4, failing_since_ms=10_000)]
    metrics = parsed(notify_samples(states, is_ready=False, clock_ms=70_500))
    failing = {
        one.labels["target"]: one.value for one in metrics["stream_app_notify_failing_seconds"].samples
    }
    assert failing == {"well": 0, "failing": 60.5}
    waiting = {one.labels["target"]: one.value for one in metrics["stream_app_notify_waiting"].samples}
    assert waiting == {"well": 0, "failing": 4}
