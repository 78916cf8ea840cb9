"""The backtest without a broker: when records arrived, what fired, how two files differ, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.alerts.lifecycle import AlertChange
from stream_app.alerts.rules import load_rules
from stream_app.backtest.arrivals import Arrival, ArrivalClock
from stream_app.backtest.comparison import DIFFERS, ONLY_HERE, ONLY_THERE, SAME, Comparison, Pair
from stream_app.backtest.firings import Firings, Summary
from stream_app.backtest.judge import Judge
from stream_app.backtest.replay import MOST_WAITING, Replay
from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.commands.backtest import Choice, run
from stream_app.failure import Failure
from stream_app.ingest.events import EVENT_TYPES
from stream_app.metrics.catalogue import PANE_MS
from stream_app.settings import Settings
from stream_app.state.shard import FUTURE_LIMIT_MS
from tests.support.comparison import to_ms
from tests.support.traffic import Json, delivered, event

START = 1_767_571_200_000
LATENESS_MS = 10 * MINUTE_MS
RULES = """
[[rule]]
name = "carts-left"
kind = "abandonment"
dimension = "all"
metric = "abandonment_rate"
window = "1h"
warning = 0.5
critical = 0.9
resolve = 0.4
minimum_denominator = 10
"""


def arrival(time_ms: int) -> Arrival:
    return Arrival("email.deliveries", b"c", b"", time_ms)


def arrived(times: Sequence[int]) -> list[int]:
    """The clock's time at each record."""
    clock = ArrivalClock(LATENESS_MS)
    known = [one for time_ms in times for one in clock.take(arrival(time_ms))] + list(clock.rest())
    assert [one.time_ms for one, _ in known] == list(times)
    return [clock_ms for _, clock_ms in known]


# --- When records arrived ---


@given(st.lists(st.integers(0, 2 * DAY_MS), max_size=60))
def test_the_clock_never_goes_back_and_shows_times_of_the_records_only(times: list[int]) -> None:
    clocks = arrived(times)
    assert clocks == sorted(clocks)
    assert set(clocks) <= set(times)


@given(st.lists(st.integers(0, LATENESS_MS // 2), min_size=1, max_size=60), st.integers(0, 30 * MINUTE_MS))
def test_in_order_of_arrival_the_clock_is_the_newest_event_time(delays: list[int], apart_ms: int) -> None:
    """Also over quiet times: nothing is taken for an event of the future."""
    times = [START + number * apart_ms - delay for number, delay in enumerate(delays)]
    assert arrived(times) == [max(times[: place + 1]) for place in range(len(times))]


@pytest.mark.parametrize("place", [0, 3, 30])
@pytest.mark.parametrize("ahead_ms", [HOUR_MS, 365 * DAY_MS])
def test_an_event_of_the_future_does_not_move_the_clock(place: int, ahead_ms: int) -> None:
    times = [START + number * SECOND_MS for number in range(60)]
    clocks = arrived([*times[:place], START + ahead_ms, *times[place:]])
    assert max(clocks) == times[-1]
    assert clocks[place] < START + ahead_ms - FUTURE_LIMIT_MS


# --- The replay ---


def abandoned(number: int, time_ms: int) -> list[Json]:
    """Carts that nobody touches any more."""
    return [
        event("cart.updated", f"c-{one}", time_ms + one, cart_id=f"{time_ms}-{one}", value=1, currency="EUR")
        for one in range(number)
    ]


def written(events: Sequence[Json], path: Path) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in events), "utf-8")
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES, "utf-8")
    return path


def replayed(
    events: Sequence[Json], rules: Path, kind: type[Replay] = Replay
) -> tuple[Replay, list[AlertChange]]:
    settings = Settings()
    replay = kind(settings, [Judge(load_rules(rules), settings)])
    changes = []
    for one in events:
        topic = EVENT_TYPES[one["event_type"]].topic
        key, value = one["customer_id"].encode(), json.dumps(one).encode()
        changes += replay.feed(Arrival(topic, key, value, to_ms(one["event_time"])))
    changes += replay.finish()
    return replay, [change for _, change in changes]


def test_time_goes_on_between_events_as_in_a_live_run(rules: Path) -> None:
    """The carts are abandoned an hour after they were touched, and the alert is over an hour later: to the pane,
    although the next event comes only the day after."""
    events = [*abandoned(40, START), delivered("later", START + DAY_MS)]
    _, changes = replayed(events, rules)
    assert [change.state for change in changes] == ["firing", "resolved"]
    fired, resolved = changes
    assert START + HOUR_MS <= fired.as_of_ms <= START + HOUR_MS + 10 * SECOND_MS
    assert START + 2 * HOUR_MS <= resolved.as_of_ms <= START + 2 * HOUR_MS + 20 * SECOND_MS


def test_the_end_of_the_file_is_no_event_and_decides_only_what_was_before(rules: Path) -> None:
    replay, changes = replayed([*abandoned(40, START), delivered("later", START + 90 * MINUTE_MS)], rules)
    assert [change.state for change in changes] == ["firing"]
    assert (replay.first_ms, replay.newest_ms) == (START, START + 90 * MINUTE_MS)


def test_what_comes_too_late_is_counted_as_refused(rules: Path) -> None:
    events = [delivered(f"c-{n}", START + n * MINUTE_MS) for n in range(60)] + [delivered("late", START)] * 2
    replay, _ = replayed(events, rules)
    assert (replay.accepted, dict(replay.refused)) == (60, {"late": 2})


def test_many_records_of_one_moment_are_applied_in_turns(rules: Path) -> None:
    events = [delivered(f"c-{number}", START) for number in range(MOST_WAITING + 100)]
    replay, _ = replayed([*events, events[0]], rules)
    assert (replay.accepted, replay.duplicates) == (MOST_WAITING + 100, 1)


class PaneByPane(Replay):
    """A replay that looks at every pane of a quiet time."""

    def _next_edge_ms(self) -> int:
        return self._edge_ms + PANE_MS


WAITING = """
[[rule]]
name = "chats-missed"
kind = "service"
dimension = "channel"
metric = "missed_chat_rate"
window = "1h"
warning = 0.1
resolve = 0.05
minimum_denominator = 3
for = "10m"
keep_firing_for = "5m"
repeat = "20m"

[[rule]]
name = "carts-silent"
kind = "abandonment"
condition = "no_data"
dimension = "all"
metric = "carts_started"
warning = "40m"
minimum_count = 2
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_skipped_of_a_quiet_time_changes_no_alert(seed: int, tmp_path: Path) -> None:
    """Sparse events of all kinds with hours between: as if each pane had been looked at."""
    dice, rules = Random(seed), tmp_path / "waiting.toml"
    rules.write_text(RULES + WAITING, "utf-8")
    events, time_ms = [], START
    for burst in range(5):
        time_ms += dice.choice([MINUTE_MS, 45 * MINUTE_MS]) + dice.randrange(MINUTE_MS)
        events += abandoned(dice.choice([1, 15, 40]), time_ms)
        events += [
            event("chat.started", f"c-{one}", time_ms + one, chat_id=f"{burst}-{one}", channel="web")
            for one in range(dice.choice([0, 5, 60]))
        ]
    events.append(delivered("last", time_ms + 4 * HOUR_MS))
    _, changes = replayed(events, rules)
    _, thorough = replayed(events, rules, PaneByPane)
    assert changes == thorough
    assert {"firing", "resolved"} <= {change.state for change in changes}


# --- What fired, and how two files differ ---


def change(
    state: str, minute: int, severity: str = "warning", key: str = "a", **given: object
) -> AlertChange:
    begun = given.pop("since", minute)
    return AlertChange(
        fingerprint=key, rule="rule", kind="optout", state=state, severity=severity, dimension="campaign",  # type: ignore[arg-type]
        key=key, started_at_ms=START + int(str(begun)) * MINUTE_MS, as_of_ms=START + minute * MINUTE_MS,
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


def told(*firings: tuple[int, int, str], key: str = "a") -> list[AlertChange]:
    """Firings from a minute to another."""
    return [
        one
        for begin, end, severity in firings
        for one in (
            change("firing", begin, severity, key),
            change("resolved", end, severity, key, since=begin),
        )
    ]


def compared(here: list[AlertChange], there: list[AlertChange]) -> list[Pair]:
    comparison = Comparison()
    changes = sorted(
        [(one.as_of_ms, judge, one) for judge, side in enumerate((here, there)) for one in side],
        key=lambda entry: entry[:2],
    )
    pairs = []
    for _, moment in groupby(changes, key=lambda entry: entry[0]):
        for _, judge, one in moment:
            comparison.tell(judge, one)
        pairs += list(comparison.settle())
    comparison.finish()
    return pairs + list(comparison.settle())


def test_a_rule_about_moves_between_stages_is_held_against_them(tmp_path: Path) -> None:
    """Everyone becomes new at the end of the first day, and nobody after that, which the rule tells. A replay leaves moves
    out where no rule is about them."""
    silent = tmp_path / "silent.toml"
    silent.write_text(
        """
        [[rule]]
        name = "nobody-new"
        kind = "service"
        condition = "no_data"
        dimension = "all"
        metric = "became_new"
        warning = "12h"
        minimum_count = 1
        """,
        "utf-8",
    )
    events = [*(delivered(f"c{n}", START + n) for n in range(50)), delivered("c0", START + 3 * DAY_MS)]
    _, changes = replayed(events, silent)
    assert [change.state for change in changes if change.metric == "became_new"][:1] == ["firing"]


def verdicts(pairs: list[Pair]) -> list[str]:
    return [pair.verdict for pair in pairs]


def test_a_firing_is_as_bad_as_it_became_and_repeats_change_nothing() -> None:
    firings = Firings()
    for one in (
        change("pending", 0),
        change("firing", 5),
        change("firing", 6, "critical", revision=1),
        change("firing", 7, "warning", revision=2),
        change("firing", 8, "warning", revision=3, repeated=True),
    ):
        assert firings.tell(one) is None
    ended = firings.tell(change("resolved", 9, since=5))
    assert ended is not None
    assert (ended.severity, ended.worst.as_of_ms) == ("critical", START + 6 * MINUTE_MS)
    assert ended.lasted_ms(START + DAY_MS) == 4 * MINUTE_MS
    assert firings.still_open() == []


def test_the_same_is_the_same() -> None:
    side = told((0, 10, "warning"), (20, 30, "critical"))
    assert verdicts(compared(side, side)) == [SAME, SAME]


def test_firings_belong_together_when_they_overlap() -> None:
    pairs = compared(told((0, 10, "warning")), told((5, 20, "critical")))
    assert verdicts(pairs) == [DIFFERS]
    assert (pairs[0].begins_later_ms, pairs[0].ends_later_ms) == (-5 * MINUTE_MS, -10 * MINUTE_MS)


def test_what_has_no_counterpart_was_told_by_one_only() -> None:
    assert verdicts(compared(told((0, 10, "warning")), told((15, 20, "warning")))) == [ONLY_HERE, ONLY_THERE]
    flapping = told((0, 10, "warning"), (20, 30, "warning"))
    assert sorted(verdicts(compared(told((0, 30, "warning")), flapping))) == [DIFFERS, ONLY_THERE]
    assert verdicts(compared(told((0, 9, "warning"), key="a"), told((0, 9, "warning"), key="b"))) == [
        ONLY_HERE,
        ONLY_THERE,
    ]


def test_one_that_ends_in_the_instant_it_began_has_its_counterpart() -> None:
    side = told((5, 5, "warning"))
    assert verdicts(compared(side, side)) == [SAME]


def test_what_still_fires_is_compared_at_the_end() -> None:
    open_here, open_there = told((0, 10, "warning"))[:1], told((0, 10, "warning"))[:1]
    assert verdicts(compared(open_here, open_there)) == [SAME]
    assert verdicts(compared(open_here, told((0, 10, "warning")))) == [DIFFERS]
    assert verdicts(compared(open_here, [])) == [ONLY_HERE]


intervals = st.lists(st.integers(1, 50), max_size=6).map(
    lambda lengths: [
        (sum(lengths[:place]), sum(lengths[: place + 1]), "warning") for place in range(0, len(lengths), 2)
    ]
)


@given(intervals, intervals)
def test_every_firing_is_in_one_pair_and_the_other_way_round_is_the_mirror(
    here: list[tuple[int, int, str]], there: list[tuple[int, int, str]]
) -> None:
    pairs = compared(told(*here), told(*there))
    assert sum(pair.here is not None for pair in pairs) == len(here)
    assert sum(pair.there is not None for pair in pairs) == len(there)
    mirrored = {SAME: SAME, DIFFERS: DIFFERS, ONLY_HERE: ONLY_THERE, ONLY_THERE: ONLY_HERE}
    swapped = compared(told(*there), told(*here))
    assert sorted(mirrored[verdict] for verdict in verdicts(swapped)) == sorted(verdicts(pairs))


def test_the_summary_names_every_rule_and_says_how_often_a_day(rules: Path) -> None:
    summary = Summary(load_rules(rules))
    assert [(rule.rule, rule.fired, rule.per_day(HOUR_MS)) for rule in summary.rules()] == [
        ("carts-left", 0, None)
    ]
    firings = Firings()
    for one in told((0, 10, "warning"), (20, 50, "critical")):
        named = AlertChange(
            **{name: getattr(one, name) for name in one.__struct_fields__} | {"rule": "carts-left"}
        )
        summary.tell(named)
        ended = firings.tell(named)
        if ended is not None:
            summary.end(ended, START + HOUR_MS)
    (rule,) = summary.rules()
    assert (rule.fired, rule.resolved, rule.longest_ms) == (2, 2, 30 * MINUTE_MS)
    assert rule.per_day(4 * DAY_MS) == 0.5


# --- What is printed ---


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    def read() -> tuple[str, str]:
        out, err = capsys.readouterr()
        return out, err

    return read


def test_a_person_reads_when_for_how_long_and_why(
    tmp_path: Path, rules: Path, printed: Callable[[], tuple[str, str]]
) -> None:
    events = written([*abandoned(40, START), delivered("later", START + DAY_MS)], tmp_path / "events.ndjson")
    assert run(Settings(), [str(events)], Choice(rules), as_json=False) == 0
    out, err = printed()
    head, row, _, rule_head, rule, _, last = out.splitlines()
    assert err == ""
    assert head.split() == ["fired", "for", "severity", "rule", "what"]
    assert row.startswith("2026-01-05 01:00:10  1 h")
    assert "carts-left" in row
    assert "(40 abandoned carts of 40 ended carts in 1h)" in row
    assert rule_head.split()[3:] == ["fired", "resolved", "firing", "pending", "longest", "a", "day"]
    assert rule.split()[:5] == ["carts-left", "1", "1", "0", "0"]
    assert last.startswith(
        "events: 41 counted, 0 duplicates, none refused; from 2026-01-05 00:00:00 to 2026-01-06"
    )


def test_two_files_side_by_side(tmp_path: Path, rules: Path, printed: Callable[[], tuple[str, str]]) -> None:
    events = written([*abandoned(40, START), delivered("later", START + DAY_MS)], tmp_path / "events.ndjson")
    slow = tmp_path / "slow.toml"
    slow.write_text(RULES + 'for = "30m"\n', "utf-8")
    assert run(Settings(), [str(events)], Choice(slow, rules), as_json=False) == 0
    out, _ = printed()
    assert f"└ compared with {rules}: fires 30 min later" in out
    assert "told differently: 1; the same: 0" in out
    assert run(Settings(), [str(events)], Choice(slow, rules), as_json=True) == 0
    difference, here, there, last = map(json.loads, printed()[0].splitlines())
    assert (difference["type"], difference["found"]) == ("difference", "differs")
    assert difference["fires_later_seconds"] == 1800
    assert difference["rules"]["key"] == difference["compare"]["key"] == "all"
    assert (here["file"], here["pending"], there["file"], there["pending"]) == (str(slow), 1, str(rules), 0)
    assert (last["same"], last["counted"]) == (0, 41)


def test_a_program_gets_the_alert_as_its_topic_has_it(
    tmp_path: Path, rules: Path, printed: Callable[[], tuple[str, str]]
) -> None:
    events = written([*abandoned(40, START), delivered("x", START + 90 * MINUTE_MS)], tmp_path / "e.ndjson")
    assert run(Settings(), [str(events)], Choice(rules), as_json=True) == 0
    alert, rule, last = map(json.loads, printed()[0].splitlines())
    assert (alert["type"], alert["state"], alert["ended_at"]) == ("alert", "firing", None)
    assert alert["id"].startswith(alert["fingerprint"] + "-firing-")
    assert (alert["numerator"], alert["denominator"], alert["severity"]) == (40, 40, alert["severity"])
    assert alert["seconds"] == 90 * 60 - 3610
    assert (rule["still_firing"], rule["per_day"], last["refused"]) == (1, None, {})


def test_bad_lines_are_named_counted_and_left_out(
    tmp_path: Path, rules: Path, printed: Callable[[], tuple[str, str]]
) -> None:
    events = tmp_path / "events.ndjson"
    good = json.dumps(delivered("c", START))
    events.write_text(f'{good}\nnonsense\n\n{{"event_type":"email.read"}}\n', "utf-8")
    assert run(Settings(), [str(events)], Choice(rules), as_json=False) == 0
    out, err = printed()
    assert f"{events}:2: invalid_json: " in err
    assert f"{events}:4: unknown_type: 'email.read' is no event type" in err
    assert "nothing would have fired" in out
    assert "events: 1 counted, 0 duplicates, 2 refused (invalid_json 1, unknown_type 1)" in out


def test_a_file_in_no_order_of_arrival_is_called_so(
    tmp_path: Path, rules: Path, printed: Callable[[], tuple[str, str]]
) -> None:
    later = [delivered(f"l-{number}", START + DAY_MS + number * SECOND_MS) for number in range(100)]
    earlier = [delivered(f"e-{number}", START + number * SECOND_MS) for number in range(100)]
    events = written([*later, *earlier], tmp_path / "events.ndjson")
    assert run(Settings(), [str(events)], Choice(rules), as_json=False) == 0
    out, err = printed()
    assert "100 refused (late 100)" in out
    assert "the order of the lines is taken for the order of arrival; sort them by event_time" in err


def test_nothing_to_count_is_no_success(tmp_path: Path, rules: Path) -> None:
    empty = written([], tmp_path / "events.ndjson")
    with pytest.raises(Failure, match="no event was counted; name files"):
        run(Settings(), [str(empty)], Choice(rules), as_json=False)
