"""The alerts bench: NAB's score on worked examples, how series are read, and what is told of a corpus."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.alerts import made_up
from benchmarks.alerts.__main__ import main
from benchmarks.alerts.corpus import Series, Window, read_corpus, series_of
from benchmarks.alerts.detectors import DETECTORS, Detector, median_scores, sigma_scores, spike_scores
from benchmarks.alerts.measure import ALL, Measured, alert_starts, first_of_alerts
from benchmarks.alerts.scoring import (
    NOWHERE,
    STANDARD,
    Scored,
    best_threshold,
    probation,
    score_at,
    sigmoid_worth,
    weigh,
)
from stream_app.clock import MINUTE_MS
from tests.support.counts import START_MS, poisson

FIVE_MS = 5 * MINUTE_MS


def marked(length: int, *places: int) -> list[float]:
    """Scores of 1 at some places, of 0 elsewhere."""
    return [1.0 if place in places else 0.0 for place in range(length)]


def points(scored: Scored, threshold: float = 1.0) -> float:
    """The sum before it is normalised, of a corpus of one window."""
    score = score_at([scored], threshold)
    assert score is not None
    return score / 100 * 2 - 1


def made(counts: list[int], *windows: tuple[int, int], name: str = "made/up.csv") -> Series:
    """A series of five minutes whose windows are given by places."""
    times = [START_MS + place * FIVE_MS for place in range(len(counts))]
    edges = [(times[first], times[last]) for first, last in windows]
    return series_of(name, times, counts, edges, [(start + end) // 2 for start, end in edges])


# --- The benchmark's score --------------------------------------------------------------------------------------


def test_the_papers_example() -> None:
    """Figure 2 of the paper: a false positive before the window, two detections in it (the second does not count), one false
    positive close behind it and one far: -1.0 A_FP + 0.9999 A_TP - 0.8093 A_FP - 1.0 A_FP = 0.6909."""
    window = Window(5_000, 14_999)
    worth = weigh([0.0] * 60_000, [window]).worth
    start = probation(60_000)
    close, far = 14_999 + 4_500, 14_999 + 35_000
    assert worth[5_015 - start] == pytest.approx(0.9999, abs=5e-5)
    assert worth[close - start] / STANDARD.false_positive == pytest.approx(-0.8093, abs=5e-5)
    scored = weigh(marked(60_000, 1_000, 5_015, 9_000, close, far), [window])
    assert points(scored) == pytest.approx(0.6909, abs=1e-4)


def test_the_sigmoid_is_the_papers() -> None:
    """Worth nearly 1 at the window's beginning, 0 at its end, nearly -1 a width behind it."""
    assert sigmoid_worth(-1) == pytest.approx(0.98661, abs=1e-5)
    assert sigmoid_worth(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert sigmoid_worth(0) == 0
    assert sigmoid_worth(1) == pytest.approx(-0.98661, abs=1e-5)
    assert sigmoid_worth(3) == -1


def test_who_says_nothing_has_0_and_who_says_just_the_windows_at_once_has_100() -> None:
    windows = [Window(300, 399), Window(700, 799)]
    perfect = weigh(marked(1_000, 300, 700), windows)
    assert score_at([perfect], 1.0) == pytest.approx(100)
    assert score_at([perfect], NOWHERE) == pytest.approx(0)
    assert score_at([weigh(marked(1_000, 300), windows)], 1.0) == pytest.approx(50)


def test_a_false_alert_costs_a_ninth_of_a_missed_window_and_less_just_behind_one() -> None:
    window = [Window(300, 399)]
    null = points(weigh(marked(1_000), window))
    assert null == -1
    assert points(weigh(marked(1_000, 200), window)) == pytest.approx(-1.11)
    assert points(weigh(marked(1_000, 900), window)) == pytest.approx(-1.11)
    assert -1.02 < points(weigh(marked(1_000, 401), window)) < -1


def test_the_probation_is_not_scored() -> None:
    assert probation(1_000) == 150
    assert probation(16_000) == 750
    window = [Window(300, 399)]
    assert points(weigh(marked(1_000, 0, 149), window)) == -1
    assert points(weigh(marked(1_000, 150), window)) == pytest.approx(-1.11)
    early = weigh(marked(1_000, 20), [Window(10, 100), Window(300, 399)])
    assert score_at([early], 1.0) == pytest.approx(0), (
        "a window within the probation cannot be found or missed"
    )


def test_a_corpus_without_windows_has_no_score() -> None:
    scored = weigh(marked(1_000, 500), [])
    assert score_at([scored], 1.0) is None
    assert best_threshold([scored]) == (NOWHERE, None)


@given(
    scores=st.lists(st.integers(0, 5), min_size=40, max_size=80),
    edges=st.lists(st.integers(0, 39), min_size=2, max_size=4, unique=True),
)
def test_no_threshold_is_better_than_the_best(scores: list[int], edges: list[int]) -> None:
    ordered = sorted(edges)[: len(edges) // 2 * 2]
    windows = [Window(*pair) for pair in zip(ordered[::2], ordered[1::2], strict=True)]
    corpus = [weigh(scores, windows, skip=0), weigh(scores[::-1], windows, skip=0)]
    tried = [
        score for threshold in (*range(6), NOWHERE) if (score := score_at(corpus, threshold)) is not None
    ]
    best = best_threshold(corpus)
    assert best.score == pytest.approx(max(tried))
    assert best.score == pytest.approx(score_at(corpus, best.threshold))


# --- What is read -----------------------------------------------------------------------------------------------


def write_series(directory: Path, name: str, values: list[str], windows: list[list[str]]) -> None:
    """Add a series of five minutes from 2020-09-10 on to a directory laid out as NAB's."""
    path = directory / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = datetime(2020, 9, 10)  # noqa: DTZ001 - the files have no offset
    lines = [f"{begin + timedelta(minutes=5 * place)},{value}" for place, value in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")
    labels = directory / "labels" / "combined_windows.json"
    labels.parent.mkdir(exist_ok=True)
    held = json.loads(labels.read_text()) if labels.exists() else {}
    labels.write_text(json.dumps({**held, name: windows}))


def test_a_series_is_read_with_its_windows(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        "real/a.csv",
        ["1", "2.0", "3"],
        [["2020-09-10 00:05:00.000000", "2020-09-10 00:10:00.000000"]],
    )
    (series,) = read_corpus(tmp_path)
    begin_ms = int(datetime(2020, 9, 10, tzinfo=UTC).timestamp() * 1000)
    assert (series.name, series.category, series.counts) == ("real/a.csv", "real", [1, 2, 3])
    assert series.times_ms == [begin_ms, begin_ms + FIVE_MS, begin_ms + 2 * FIVE_MS]
    assert series.windows == [Window(1, 2)]
    assert series.interval_ms == FIVE_MS
    assert series.are_counts


def test_what_is_no_count_is_read_in_thousandths_and_never_below_0(tmp_path: Path) -> None:
    write_series(tmp_path, "real/a.csv", ["0.25", "-3", "1e2"], [])
    (series,) = read_corpus(tmp_path)
    assert series.counts == [250, 0, 100_000]
    assert not series.are_counts


def test_the_interval_is_the_usual_gap_as_a_part_of_an_hour() -> None:
    for minutes, expected in ((5, 5), (9, 10), (31, 30), (60, 60), (1440, 60)):
        times = [place * minutes * MINUTE_MS for place in range(5)]
        assert series_of("a/b", times, [1] * 5, []).interval_ms == expected * MINUTE_MS


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    times = [START_MS + place * FIVE_MS for place in (*range(400), *range(388, 800))]
    series = series_of("a/b", times, [10] * len(times), [(times[390], times[410])])
    assert series.windows == [Window(390, 410)]
    assert [len(detector.score(series)) for detector in DETECTORS] == [len(times)] * 3


@pytest.mark.parametrize(
    ("values", "windows", "says"),
    [
        (["1", "x"], [], "no series"),
        (["1", "nan"], [], "no series"),
        (["1"], [], "two readings"),
        (["1", "2"], [["2021-01-01 00:00:00", "2021-01-02 00:00:00"]], "2021-01-01"),
    ],
)
def test_what_is_no_series_is_told(
    tmp_path: Path, values: list[str], windows: list[list[str]], says: str
) -> None:
    write_series(tmp_path, "real/a.csv", values, windows)
    with pytest.raises(SystemExit, match=says):
        read_corpus(tmp_path)


def test_a_directory_that_is_no_corpus_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cannot be read"):
        read_corpus(tmp_path)
    (tmp_path / "labels").mkdir()
    labels = tmp_path / "labels" / "combined_windows.json"
    labels.write_text("[]")
    with pytest.raises(SystemExit, match="file of labels"):
        read_corpus(tmp_path)
    labels.write_text("{}")
    with pytest.raises(SystemExit, match="has no data"):
        read_corpus(tmp_path)


# --- The detectors ----------------------------------------------------------------------------------------------


def noisy(days: float, rate: float = 50) -> list[int]:
    random = Random(4)
    return [poisson(random, rate) for _ in range(round(days * 288))]


def test_the_simple_rules_are_what_their_names_say() -> None:
    counts = [(8, 12)[place % 2] for place in range(288)]
    series = made([*counts, 16, 16])
    assert sigma_scores(series)[288] == pytest.approx((16 - 10) / 2)
    assert median_scores(series)[288] == pytest.approx((16 - 10) / (1.4826 * 2))
    assert sigma_scores(series)[:288] == median_scores(series)[:288] == [0.0] * 288


def test_the_median_rule_agrees_with_a_plain_one() -> None:
    counts = noisy(1.2, rate=3)
    scores = median_scores(made(counts))
    for place in range(288, len(counts)):
        past = sorted(counts[place - 288 : place])
        middle = (past[143] + past[144]) / 2
        spread = sorted(abs(value - middle) for value in past)[143]
        assert scores[place] == pytest.approx((counts[place] - middle) / max(1.4826 * spread, 1))


def test_every_detector_sees_a_spike_and_no_drop() -> None:
    counts = noisy(4)
    counts[900], counts[1_000] = 500, 0
    for detector in DETECTORS:
        scores = detector.score(made(counts))
        assert scores[900] >= detector.level
        assert scores[1_000] < detector.level


def test_no_detector_looks_ahead() -> None:
    counts = noisy(3)
    for detector in DETECTORS:
        assert detector.score(made([*counts, 900]))[: len(counts)] == detector.score(made(counts))


def test_a_second_reading_of_an_interval_is_not_looked_at() -> None:
    counts = noisy(2)
    times = [START_MS + place * FIVE_MS for place in range(len(counts))]
    series = series_of("a/b", [*times, times[-1] + MINUTE_MS], [*counts, 900], [])
    assert spike_scores(series)[-1] == 0


# --- What is told of a corpus -----------------------------------------------------------------------------------

COUNTS = Detector(
    "counts", "the count itself", 100.0, lambda series: [float(count) for count in series.counts]
)


def test_an_alert_is_counted_once_an_hour() -> None:
    scores = marked(60, 10, 11, 22, 40)
    series = made([0] * 60)
    assert [place for place, score in enumerate(first_of_alerts(series, scores)) if score] == [10, 40]
    assert list(alert_starts(series, scores, 1.0)) == [10, 40]
    louder = [5.0 if place == 11 else score for place, score in enumerate(scores)]
    assert first_of_alerts(series, louder)[11] == 5.0, "at a higher threshold it would be the first"


def test_an_outcome_counts_finds_delays_and_false_alerts() -> None:
    counts = [0] * 2_880
    counts[1_012] = counts[2_000] = counts[2_001] = counts[2_500] = 100
    series = made(counts, (1_000, 1_099), (1_500, 1_599))
    outcome = Measured(COUNTS, [series]).at_level(ALL)
    assert (outcome.found, outcome.windows, outcome.false_alerts) == (1, 2, 2)
    assert outcome.delay_hours == pytest.approx(1.0)
    assert outcome.after_label_hours == pytest.approx(-37.5 * 5 / 60)
    assert outcome.days == pytest.approx((2_880 - 432 - 200) / 288)
    assert outcome.false_a_day == pytest.approx(2 / outcome.days)
    assert outcome.score is not None and outcome.alert_score is not None
    assert outcome.alert_score == pytest.approx(outcome.score + 100 * 0.11 / 4)


def test_the_best_threshold_is_that_of_all_series() -> None:
    loud, soft = [0] * 1_000, [0] * 1_000
    loud[400], soft[400], soft[800] = 1_000, 50, 60
    corpus = [made(loud, (390, 410), name="loud/a.csv"), made(soft, (390, 410), name="soft/a.csv")]
    measured = Measured(COUNTS, corpus)
    assert measured.categories() == [ALL, "loud", "soft"]
    best = measured.at_best(ALL)
    assert best.threshold == 50
    assert {measured.at_best(category).threshold for category in measured.categories()} == {50}
    assert (best.found, best.false_alerts) == (2, 1)


def test_the_bench_runs_over_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = noisy(5)
    counts[1_200] = 600
    window = ["2020-09-14 03:00:00", "2020-09-14 05:00:00"]
    write_series(tmp_path, "made/spike.csv", list(map(str, counts)), [window])
    write_series(tmp_path, "quiet/none.csv", list(map(str, noisy(3))), [])
    raw, scores = tmp_path / "raw.json", tmp_path / "scores"
    monkeypatch.setattr(sys, "argv", ["alerts", str(tmp_path), "--raw", str(raw), "--scores", str(scores)])
    main()
    told = capsys.readouterr().out
    assert "| made | spike rule | 3 | 9" in told
    assert "| quiet | spike rule | 3 | – | – | 0 of 0 | 0.00 | – | – |" in told
    held = json.loads(raw.read_text())
    assert {one["detector"] for one in held["as_shipped"]} == {detector.name for detector in DETECTORS}
    (first,) = [one for one in held["as_shipped"] if one["detector"] == "spike" and one["category"] == "made"]
    assert (first["found"], first["windows"], first["false_alerts"]) == (1, 1, 0)
    rows = (scores / "spike" / "made" / "spike_spike.csv").read_text().splitlines()
    assert rows[0] == "timestamp,value,anomaly_score"
    assert rows[1_201].startswith("2020-09-14 04:00:00,600,0.9")
    assert all(0 <= float(row.rsplit(",", 1)[1]) <= 1 for row in rows[1:])
    assert len(rows) == 5 * 288 + 1


def test_made_up_counts_are_told_by_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DAYS": 2, "RATES": (10,), "BASES": (100,), "FACTORS": (1, 5), "TRIALS": 2}.items():
        monkeypatch.setattr(made_up, name, value)
    assert "\n| 10 | 0 | 0 | 0 | 0.1 kB |\n" in made_up.by_chance(1)
    assert made_up.by_chance(1).endswith("| 0.2 | 0.02 | 0.002 | |")
    assert made_up.caught().endswith("\n| 100 | 0 / 0 / 0 | 100 / 100 / 100 |")
