"""Laws of the delivery: a restart at any moment loses nothing and repeats only what was not committed, a new target is told
what fires, whoever was told of an alert is told of its end, and the backlog keeps order and room."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from stream_app.clock import DAY_MS
from stream_app.notifiers.backlog import (
    LONGEST_ASKED_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Backlog,
    Place,
    Waiting,
)
from stream_app.notifiers.follow import Choice, Partition, Record
from stream_app.notifiers.notice import Notice
from stream_app.notifiers.post import wanted_pause
from stream_app.notifiers.slack import escape
from stream_app.notifiers.targets import KINDS
from tests.support.alerts import notice

PLACE = Place("alerts.optout", 0)
ALL = Choice(KINDS)
SEVERE = Choice(KINDS, lowest_rank=1)
CHOICES = st.sampled_from([ALL, SEVERE, Choice(KINDS, keys=("spring-*",)), Choice(("ctr",))])


@dataclass
class Life:
    """One alert as a worker tells it: it begins, changes, ends, and may begin again."""

    number: int
    start: int = 0

    def told(self, state: str, severity: str, offset: int) -> Notice:
        if state == "firing" and not self.start:
            self.start = offset + 1
        begun = f"2026-11-22T10:{self.start // 60:02d}:{self.start % 60:02d}.000Z"
        if state == "resolved":
            self.start = 0
        return notice(
            fingerprint=str(self.number), state=state, severity=severity, started_at=begun, ce_id=str(offset)
        )


@st.composite
def logs(draw: st.DrawFn) -> list[Notice | None]:
    """A partition: the changes of three alerts, each in an order that a worker tells, and records that are none."""
    steps = st.tuples(st.integers(0, 3), st.sampled_from(["warning", "critical"]), st.booleans())
    lives = [Life(number) for number in range(3)]
    log: list[Notice | None] = []
    for number, severity, ends in draw(st.lists(steps, max_size=25)):
        if number == 3:
            log.append(None if ends else Life(9).told("pending", severity, 0))
            continue
        life = lives[number]
        log.append(life.told("resolved" if ends and life.start else "firing", severity, len(log)))
    return log


def read(log: list[Notice | None], choice: Choice, committed: int | None) -> tuple[Partition, list[Record]]:
    """Take a partition over as ``feed`` does, and read it to its end; what stands there now is its history."""
    partition = Partition(choice, committed)
    told = [record for offset, one in enumerate(log) for record in partition.read(offset, 0, one)]
    if partition.in_history:
        told += partition.end_of_history(len(log))
    return partition, told


@given(logs(), CHOICES, st.integers(0, 25))
def test_a_restart_at_any_commit_tells_the_rest_and_nothing_else(
    log: list[Notice | None], choice: Choice, cut: int
) -> None:
    _, told = read(log, choice, 0)
    cut = min(cut, len(log))
    _, rest = read(log, choice, cut)
    assert rest == [record for record in told if record.offset >= cut]


@given(logs(), CHOICES, st.data())
def test_what_is_committed_has_all_been_done_and_what_is_done_in_order_is_committed(
    log: list[Notice | None], choice: Choice, data: st.DataObject
) -> None:
    partition, told = read(log, choice, 0)
    offsets = [record.offset for record in told]
    for offset in data.draw(st.permutations(offsets)):
        partition.done(offset)
        offsets.remove(offset)
        assert partition.committable == min(offsets, default=len(log))


@given(logs(), CHOICES)
def test_a_new_target_is_told_what_fires_and_only_then_commits(
    log: list[Notice | None], choice: Choice
) -> None:
    partition, told = read(log, choice, None)
    last = {one.alert.fingerprint: one for one in log if one is not None and not one.alert.is_pending}
    firing = {one.id for one in last.values() if one.alert.is_firing}
    assert {record.notice.id for record in told} <= firing
    if choice is ALL:
        assert {record.notice.id for record in told} == firing
    for record in told:
        assert partition.committable is None, "a restart must begin anew"
        partition.done(record.offset)
    assert partition.committable == len(log)


@given(logs())
def test_who_was_told_of_an_alert_is_told_all_that_follows_to_its_end(log: list[Notice | None]) -> None:
    _, told = read(log, SEVERE, 0)
    ids = {record.notice.id for record in told}
    begun = set()
    for one in log:
        if one is None or one.alert.is_pending:
            continue
        if one.alert.rank >= SEVERE.lowest_rank:
            begun.add(one.alert.occurrence)
        assert (one.id in ids) == (one.alert.occurrence in begun)


@given(logs(), st.integers(0, 25))
def test_a_topic_that_was_made_anew_is_told_like_a_new_one(log: list[Notice | None], more: int) -> None:
    _, told = read(log, ALL, len(log) + 1 + more)
    assert told == read(log, ALL, None)[1]


@given(logs())
def test_what_was_told_before_is_known_again_after_a_restart(log: list[Notice | None]) -> None:
    partition, told = read(log, ALL, len(log))
    last = {one.alert.fingerprint: one.id for one in log if one is not None and not one.alert.is_pending}
    assert told == []
    assert {record.notice.id for record in partition.take_told_before()} == set(last.values())
    assert partition.take_told_before() == []


# --- The backlog --------------------------------------------------------------------------------------------


class Target:
    """A target that takes a change or not, as its fate says; what it took, by alert."""

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.now = 0.0

    def turn(self, takes: bool) -> Waiting | None:
        self.now += LONGEST_PAUSE_SECONDS
        waiting = self.backlog.next(self.now)
        if waiting is None:
            return None
        if takes:
            self.backlog.delivered(waiting)
            self.taken[waiting.record.notice.alert.fingerprint].append(waiting.record.offset)
        elif self.backlog.failed(waiting, self.now):
            self.backlog.given_up(waiting)
        else:
            self.backlog.pause(self.now, None)
        return waiting


@given(logs(), st.lists(st.booleans(), max_size=60))
def test_every_change_is_delivered_or_given_up_on_and_those_of_one_alert_in_order(
    log: list[Notice | None], fates: list[bool]
) -> None:
    backlog = Backlog(give_up_seconds=DAY_MS, chance=lambda: 0.5)
    for offset, one in enumerate(log):
        if one is not None:
            backlog.add(PLACE, Record(offset, 0, one), 0.0)
    before = len(backlog)
    target = Target(backlog)
    for takes in [*fates, *[True] * (before + 1)]:
        target.turn(takes)
    assert len(backlog) == 0
    assert backlog.tally.delivered + backlog.tally.given_up == before
    for offsets in target.taken.values():
        assert offsets == sorted(offsets)


@given(logs())
def test_what_is_superseded_is_said_by_a_later_change_of_the_same_occurrence(
    log: list[Notice | None],
) -> None:
    backlog = Backlog(give_up_seconds=1, chance=lambda: 0.5)
    changes = [Record(offset, 0, one) for offset, one in enumerate(log) if one is not None]
    for record in changes:
        backlog.add(PLACE, record, 0.0)
    left_out = {waiting.record.offset for waiting in backlog.supersede()}
    last = {record.notice.alert.occurrence: record.offset for record in changes}
    assert {record.offset for record in changes} - left_out == set(last.values())
    assert len(backlog) == len(last)
    assert backlog.tally.superseded == len(left_out)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.none() | st.floats(0, 1e9))
def test_a_pause_grows_to_its_bound_and_is_never_shorter_than_asked(
    chances: list[float], asked: float | None
) -> None:
    rest = iter(chances)
    backlog = Backlog(give_up_seconds=1, chance=lambda: next(rest))
    for number in range(len(chances)):
        pause = backlog.pause(0.0, asked)
        longest = min(LONGEST_PAUSE_SECONDS, 2.0**number)
        least = min(asked or 0.0, LONGEST_ASKED_SECONDS)
        assert max(longest / 2, least) <= pause <= max(longest, least)


# --- What others send and name ------------------------------------------------------------------------------


@given(st.text(max_size=60))
def test_no_header_of_another_server_breaks_the_pause(text: str) -> None:
    pause = wanted_pause(text, 0)
    assert pause is None or pause >= 0


@given(st.text(alphabet="<>&@!|[]()#:/ahcnel*", max_size=60))
def test_no_name_becomes_a_mention_or_a_link(text: str) -> None:
    shown = escape(text)
    assert "<" not in shown
    assert ">" not in shown
    assert "://" not in shown
    assert "](" not in shown
    assert "@h" not in shown
    plain = shown.replace("\u200b", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == text, "and it reads as before"
