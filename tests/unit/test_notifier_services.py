"""What each service is sent, and when: what identifies an alert stays, what changes is told, and names do no harm."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream_app.clock import MINUTE_MS, SECOND_MS, to_rfc3339
from stream_app.notifiers.alertmanager import AT_ONCE, RESOLVED_SECONDS, Alertmanager, Register
from stream_app.notifiers.backlog import FAILURES_OF_ITS_OWN, LONGEST_PAUSE_SECONDS, Backlog, Place
from stream_app.notifiers.follow import Record
from stream_app.notifiers.message import Request
from stream_app.notifiers.notice import Notice, Unreadable, notice_of
from stream_app.notifiers.pagerduty import PagerDuty
from stream_app.notifiers.post import wanted_pause
from stream_app.notifiers.readiness import State, readiness
from stream_app.notifiers.sample import sample_notices
from stream_app.notifiers.slack import Slack
from stream_app.notifiers.webhook import Webhook, decode_secret, signature
from stream_app.settings import load_settings
from tests.support.alerts import alert_record, notice

NOW = 1_795_000_000_000
LINK = "https://example.org/{dimension}/{key}"
HOSTILE = "<!channel> @here <http://evil.example|click> & ](http://evil.example)\n\x1b[2J"


def content(request: Request) -> Any:
    return json.loads(request.body)


# --- Notices ---


@pytest.mark.parametrize(
    ("value", "headers", "words"),
    [
        (b"{]", None, "malformed"),
        (b"[]", None, "array"),
        (alert_record(severity=3)[0], None, "severity"),
        (alert_record(started_at="2026-11-22T10:00:00")[0], None, "timezone"),
        (alert_record()[0], [], "it lacks the header ce_id"),
        (None, None, "truncated"),
    ],
)
def test_what_is_no_alert_is_unreadable(value: bytes | None, headers: Any, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        notice_of(value, alert_record()[1] if headers is None else headers)


def test_a_number_that_is_new_reaches_people_without_a_change_of_ours() -> None:
    told = notice(suspected=7, another=None, nested={"x": 1}, flag=True)
    assert told.details["suspected"] == 7
    assert {"another", "nested", "flag", "summary", "fingerprint"} & told.details.keys() == set()
    assert content(PagerDuty("k").request(told, NOW))["payload"]["custom_details"]["suspected"] == 7


def test_a_severity_that_is_not_known_is_rather_told_than_kept() -> None:
    assert notice(severity="disaster").alert.rank > notice(severity="critical").alert.rank
    assert content(PagerDuty("k").request(notice(severity="disaster"), NOW))["payload"]["severity"] == "error"


# --- Alertmanager ---


def alertmanager_alert(told: Notice, **options: Any) -> Any:
    request = Alertmanager("http://am/", **options).request(told, NOW)
    assert request.url == "http://am/api/v2/alerts"
    return content(request)[0]


def test_labels_are_what_never_changes_and_all_else_is_an_annotation() -> None:
    mild, severe = (
        alertmanager_alert(notice(severity=name, value=value, low=value, reasons=[name]))
        for name, value in (("warning", 0.02), ("critical", 0.04))
    )
    assert mild["labels"] == severe["labels"]
    assert set(mild["labels"]) == {"alertname", "kind", "dimension", "key", "fingerprint", "source"}
    assert severe["annotations"]["severity"] == "critical"
    assert severe["annotations"]["value"] == "0.04"
    assert "baseline" in severe["annotations"]
    assert all(isinstance(text, str) and text for text in severe["annotations"].values())


def test_a_firing_alert_ends_by_itself_when_it_is_no_longer_told() -> None:
    alert = alertmanager_alert(notice(), resend_ms=MINUTE_MS)
    assert alert["endsAt"] == to_rfc3339(NOW + 4 * MINUTE_MS)
    assert alert["startsAt"] == to_rfc3339(min(NOW, notice().alert.started_ms))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(-60, -1, (-60, -1)), (60, 120, (0, 0)), (-60, 60, (-60, 0)), (-5, -9, (-5, -5))],
)
def test_an_ended_alert_has_ended_by_the_clock_and_not_before_it_began(
    start: int, end: int, expected: tuple[int, int]
) -> None:
    began, ended = (to_rfc3339(NOW + seconds * SECOND_MS) for seconds in (start, end))
    alert = alertmanager_alert(notice(state="resolved", started_at=began, ended_at=ended))
    times = tuple(to_rfc3339(NOW + seconds * SECOND_MS) for seconds in expected)
    assert (alert["startsAt"], alert["endsAt"]) == times


def test_an_address_with_the_path_of_the_api_is_understood() -> None:
    assert Alertmanager("http://am/x/api/v2/alerts").request(notice(), NOW).url == "http://am/x/api/v2/alerts"


def told_again(register: Register, start: int, end: int) -> list[list[str]]:
    """The states told at each occasion between two times, where one is looked for every second."""
    batches = [batch for second in range(start, end) for batch in register.take_due(second)]
    return [[one.alert.state for one in batch] for batch in batches]


def test_what_fires_is_told_again_until_it_ends_and_its_end_for_five_minutes() -> None:
    register = Register(resend_seconds=60)
    assert told_again(register, 0, 10) == []
    register.note(notice(), 10)
    assert told_again(register, 10, 610) == [["firing"]] * 10
    register.note(notice(state="resolved"), 610)
    assert told_again(register, 610, 2000) == [["resolved"]] * (int(RESOLVED_SECONDS) // 60)
    assert len(register) == 0


def test_what_was_told_before_a_restart_and_what_failed_is_told_again_soon() -> None:
    register = Register(resend_seconds=60)
    assert told_again(register, 100, 101) == []
    register.note(notice(), 101)
    register.tell_soon()
    assert told_again(register, 101, 103) == [["firing"]]


def test_an_alert_that_fires_anew_is_not_ended_by_its_former_end() -> None:
    register = Register(resend_seconds=60)
    register.note(notice(state="resolved"), 0)
    register.note(notice(started_at="2026-11-22T12:00:00.000Z"), 10)
    assert told_again(register, 1000, 1001) == [["firing"]]


def test_many_alerts_are_told_in_several_requests() -> None:
    register = Register(resend_seconds=60)
    for number in range(AT_ONCE + 1):
        register.note(notice(fingerprint=str(number)), 0)
    assert [len(batch) for batch in register.take_due(0)] == [AT_ONCE, 1]


# --- PagerDuty ---


def test_an_incident_is_opened_and_resolved_under_one_key() -> None:
    service = PagerDuty("k" * 32, link=LINK)
    told = notice(severity="critical", key="größe/1", runbook="https://example.org/runbook")
    opened = content(service.request(told, NOW))
    ended = content(service.request(notice(state="resolved", started_at="2026-11-23T10:00:00Z"), NOW))
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"] == "/engagement.worker:0123456789abcdef"
    assert opened["payload"]["severity"] == "critical"
    assert opened["payload"]["source"] == "campaign:größe/1"
    assert opened["payload"]["custom_details"]["numerator"] == 31
    assert opened["client_url"] == "https://example.org/campaign/gr%C3%B6%C3%9Fe%2F1"
    assert opened["links"] == [{"href": "https://example.org/runbook", "text": "Runbook"}]
    long = content(service.request(notice(summary="x" * 5000), NOW))
    assert len(long["payload"]["summary"]) == 1024


# --- Slack ---


def test_a_message_says_what_is_wrong_and_where_to_read_on() -> None:
    told = notice(runbook="https://example.org/a?b=1&c=<x|y>")
    message = content(Slack("https://x/y", LINK).request(told, NOW))
    assert message["text"].startswith("⚠️ optout-spike: campaign:spring-sale\nWarning: opt-out rate")
    header, section, context = message["blocks"]
    assert header["text"]["type"] == section["text"]["type"] == context["elements"][0]["type"] == "plain_text"
    assert "since 2026-11-22 10:00:00 UTC" in context["elements"][0]["text"]
    assert context["elements"][1]["text"] == (
        "<https://example.org/a?b=1&amp;c=%3Cx%7Cy%3E|Runbook>  <https://example.org/campaign/spring-sale|Details>"
    )
    assert content(Slack("https://x/y").request(notice(state="resolved"), NOW))["text"].startswith("✅")


def test_hostile_names_neither_mention_nor_link_nor_break_the_limits() -> None:
    told = notice(key=HOSTILE * 40, rule="r" * 100, summary=HOSTILE * 400, reasons=[HOSTILE * 400])
    message = content(Slack("https://x/y").request(told, NOW))
    assert "<" not in message["text"]
    assert "@h" not in message["text"]
    assert "://" not in message["text"]
    assert "\x1b" not in message["text"]
    header, section, context = message["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert all(
        element["type"] == "plain_text" and len(element["text"]) <= 3000 for element in context["elements"]
    )


# --- Webhooks ---


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the reference libraries of Standard Webhooks."""
    secret = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == expected


def test_an_id_can_stand_in_a_header_and_parts_nothing_that_is_signed() -> None:
    request = Webhook("https://x", b"s" * 24).request(notice(ce_id="a.gefährdet\r\nx: y"), NOW)
    assert request.headers["webhook-id"] == "a%2Egef%C3%A4hrdet%0D%0Ax%3A%20y"
    assert content(request)["id"] == "a.gefährdet\r\nx: y"


def test_the_data_of_an_event_is_told_to_the_byte() -> None:
    value, headers = alert_record(low=0.014800000000000001)
    request = Webhook("https://x", b"s" * 24).request(notice_of(value, headers), NOW)
    assert value in request.body


# --- The backlog ---


def test_a_change_that_fails_while_others_get_through_is_given_up_on_and_in_an_outage_none_is() -> None:
    backlog = Backlog(give_up_seconds=1e9, chance=lambda: 0.5)
    place, now = Place("t", 0), 1.0
    backlog.add(place, Record(0, 0, notice(fingerprint="bad")), now)
    poison = backlog.next(now)
    assert poison is not None
    assert not any(backlog.failed(poison, now) for _ in range(1000)), "nothing got through meanwhile"
    for number in range(1, FAILURES_OF_ITS_OWN + 1):
        backlog.add(place, Record(number, 0, notice(fingerprint="good")), now)
        good = backlog.next(now)
        assert good is not None
        assert good.record.offset == number, "the other alert overtakes it"
        backlog.delivered(good)
        assert backlog.next(now) is poison, "there is no other"
        assert backlog.failed(poison, now) == (number == FAILURES_OF_ITS_OWN)


def test_the_first_failure_lets_nothing_overtake_the_second_does() -> None:
    backlog = Backlog(give_up_seconds=1e9, chance=lambda: 1.0)
    for number in range(2):
        backlog.add(Place("t", 0), Record(number, 0, notice(fingerprint=str(number))), 0)
    first = backlog.next(0)
    assert first is not None
    backlog.failed(first, 0)
    backlog.pause(0, None)
    assert backlog.next(1) is first
    backlog.failed(first, 1)
    backlog.pause(1, None)
    second = backlog.next(3)
    assert second is not None
    assert second.record.offset == 1
    assert backlog.next(3 + 2 * LONGEST_PAUSE_SECONDS) is first, "it does not wait for ever"


def test_a_change_that_waited_too_long_is_given_up_on() -> None:
    backlog = Backlog(give_up_seconds=100, chance=lambda: 0.5)
    backlog.add(Place("t", 0), Record(0, 0, notice()), 0)
    waiting = backlog.next(0)
    assert waiting is not None
    assert not backlog.failed(waiting, 99)
    assert backlog.failed(waiting, 100)


def test_nothing_is_sent_in_a_pause_and_a_target_that_answers_has_none() -> None:
    backlog = Backlog(give_up_seconds=100, chance=lambda: 1.0)
    backlog.add(Place("t", 0), Record(0, 0, notice()), 0)
    backlog.pause(10, 5)
    assert backlog.next(14.9) is None
    assert backlog.next(15) is not None
    backlog.pause(15, None)
    backlog.answered()
    assert backlog.next(15) is not None


# --- The rest ---


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None),
        ("17", 17.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("", None),
        ("-1", None),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
    ],
)
def test_a_pause_may_be_asked_for_in_seconds_or_as_a_date(header: str | None, pause: float | None) -> None:
    assert wanted_pause(header, 1_795_341_600_000) == pause


def test_ready_says_why_alerts_do_not_reach_people() -> None:
    well = State("well", kafka_answered_ms=NOW)
    assert readiness([well], NOW)[0] == 200
    bad = [
        State("new", has_joined=False),
        State("late", in_history=True),
        State("deaf", failing_since_ms=NOW, problem="no answer within 10 s", waiting=3),
        State("lost", kafka_answered_ms=NOW - MINUTE_MS),
    ]
    status, body = readiness([well, *bad], NOW)
    assert status == 503
    assert body["reasons"] == [
        "new: waiting for its share of the alert topics",
        "late: reading what was told before",
        f"deaf: takes nothing since {to_rfc3339(NOW)}, 3 waiting: no answer within 10 s",
        f"lost: cannot reach Kafka since {to_rfc3339(NOW - MINUTE_MS)}",
    ]
    assert [target["name"] for target in body["targets"]] == ["well", "new", "late", "deaf", "lost"]


def test_a_sample_says_that_it_is_one_and_ends() -> None:
    firing, ended = sample_notices(load_settings(), NOW)
    assert "this is no alert" in firing.alert.summary
    assert ended.alert.is_resolved
    assert firing.alert.occurrence == ended.alert.occurrence
