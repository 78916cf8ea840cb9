"""Notifiers files: the example is sound, and each kind of mistake is named with its line and the mend, never a secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.clock import DAY_MS, MINUTE_MS, SECOND_MS
from stream_app.notifiers.alertmanager import Alertmanager
from stream_app.notifiers.pagerduty import ADDRESS, PagerDuty
from stream_app.notifiers.slack import Slack
from stream_app.notifiers.targets import EXAMPLE, Target, load_targets
from stream_app.notifiers.webhook import Webhook
from stream_app.settings import SettingsError, load_settings

FIXTURES = Path(__file__).parents[1] / "fixtures" / "notifiers"
URL = "https://hooks.example.org/services/super-secret"
KEY = "0123456789abcdef0123456789abcdef"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

# The fixture's name, the line of the mistake, and what is said of it.
MISTAKES = [
    ("not_toml", 2, "is not valid TOML "),
    ("unknown_table", 1, 'notifiers file: targets has an unknown name; did you mean "target", out of target, link?'),
    ("no_target", 1, "notifiers file: no target is named; write [[target]] with name"),
    ("missing_type", 1, 'target "x": type is missing; write type = "alertmanager"'),
    ("unknown_type", 3, 'target "x": type = "slak" is unknown; did you mean "slack"'),
    ("key_of_another_type", 5, 'target "x": secret = "(hidden)" has an unknown name; use one of name, type'),
    ("bad_name", 2, 'target "on call!": name = "on call!" may hold letters, digits, "_" and "-", 50 at most'),
    ("name_twice", 7, 'target "x": name = "x" is used twice; give each its own'),
    ("unknown_kind", 5, 'target "x": kinds = "optouts" is unknown; did you mean "optout"'),
    ("unknown_severity", 5, 'target "x": minimum_severity = "citical" is unknown; did you mean "critical"'),
    ("unknown_dimension", 5, 'target "x": dimensions = "campain" is unknown; did you mean "campaign"'),
    ("bad_duration", 5, 'target "x": timeout = "ten seconds" is no duration; write a number and a unit'),
    ("zero_duration", 5, 'target "x": give_up_after = "0s" is too short; write give_up_after = "24h"'),
    ("missing_url", 1, 'target "x": url is missing; write url = "env:SLACK_WEBHOOK_URL"'),
    ("secret_url_no_address", 4, 'target "x": url = "(hidden)" is no web address; write one such as url = '),
    ("secret_of_wrong_type", 4, 'target "x": routing_key = "(hidden)" has the wrong type; write routing_key = '),
    ("secret_empty", 4, 'target "x": url = "(hidden)" is empty; write url = "env:SLACK_WEBHOOK_URL"'),
    ("variable_not_set", 4, 'url = "(hidden)" takes the variable NO_SUCH_VARIABLE, which is not set; set it'),
    ("routing_key_too_short", 4, 'routing_key = "(hidden)" is no integration key; write the 32 letters and digits'),
    ("webhook_secret_too_short", 5, 'secret = "(hidden)" is no secret of a webhook; write 24 to 64 random bytes'),
    ("authorization_in_lines", 5, 'authorization = "(hidden)" cannot stand in a header; write what it is to say'),
    ("label_is_ours", 5, 'target "x" labels: key = "x" is set by stream-app itself; choose another name'),
    ("label_bad_name", 5, 'target "x" labels: my-team = "crm" has a wrong name; use letters, digits and _'),
    ("label_no_text", 5, 'target "x" labels: tier = 1 has the wrong type; write tier = "crm"'),
    ("link_unknown_field", 1, "has a field that does not exist; use {fingerprint}, {rule}, {kind}, {dimension}"),
    ("link_half_brace", 1, "has a brace without its other half; write link = "),
    ("link_no_address", 1, 'notifiers file: link = "/{key}" is no web address; write link = '),
    ("apprise_unknown_address", 4, 'url = "(hidden)" is no address that apprise knows; its documentation lists'),
]  # fmt: skip


def targets_of(path: Path) -> tuple[Target, ...]:
    return load_targets(load_settings(notifiers=path))


def written(path: Path, text: str) -> tuple[Target, ...]:
    path.write_text(text, "utf-8")
    return targets_of(path)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("PAGERDUTY_ROUTING_KEY", KEY),
        ("SLACK_WEBHOOK_URL", URL),
        ("WEBHOOK_SECRET", SECRET),
    ):
        monkeypatch.setenv(name, value)


def test_the_example_has_every_type_and_nobody_is_woken_for_a_customer() -> None:
    pager, alertmanager, channel, tool = targets_of(EXAMPLE)
    assert pager.service == PagerDuty(KEY, ADDRESS)
    assert pager.choice.lowest_rank == 1
    assert alertmanager.service == Alertmanager("http://127.0.0.1:9093", MINUTE_MS, (("team", "crm"),))
    assert channel.service == Slack(URL)
    assert isinstance(tool.service, Webhook)
    assert (tool.timeout_ms, tool.give_up_ms) == (10 * SECOND_MS, DAY_MS)
    assert ["churn" in target.choice.kinds for target in (pager, alertmanager, channel, tool)] == [
        False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "words"), MISTAKES, ids=[name for name, _, _ in MISTAKES])
def test_a_mistake_is_named_with_its_line_and_the_mend(name: str, line: int, words: str) -> None:
    if name.startswith("apprise"):
        pytest.importorskip("apprise", reason="the extra stream-app[apprise] is not installed")
    path = FIXTURES / f"{name}.toml"
    with pytest.raises(SettingsError) as caught:
        targets_of(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:{line}: ")
    assert words in text
    assert "super-secret" not in text
    assert "c3VwZXI" not in text
    assert "1234567890" not in text


def test_every_fixture_is_a_test() -> None:
    assert {path.stem for path in FIXTURES.glob("*.toml")} == {name for name, _, _ in MISTAKES}


def test_a_file_that_is_not_named_or_not_there_is_said_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"STREAM_APP_NOTIFIERS is not set.*name a file such as .*example.toml"
    ):
        load_targets(load_settings())
    with pytest.raises(SettingsError, match=r"STREAM_APP_NOTIFIERS='.*nowhere.toml': there is no such file"):
        targets_of(tmp_path / "nowhere.toml")


def test_no_secret_is_shown_by_a_target(tmp_path: Path) -> None:
    shown = str(targets_of(EXAMPLE)) + str(
        written(
            tmp_path / "x.toml",
            '[[target]]\nname = "x"\ntype = "alertmanager"\nurl = "http://x"\nauthorization = "Bearer super-secret"',
        )
    )
    for secret in (KEY, "super-secret", SECRET.removeprefix("whsec_"), "Bearer"):
        assert secret not in shown


def test_a_package_that_is_missing_is_named_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        '[[target]]\nname = "x"\ntype = "apprise"\nurl = "mailto://user:super-secret@example.org"\n'
    )
    program = (
        "import sys; sys.modules['apprise'] = None; sys.argv = ['stream-app', 'notify']; "
        "from stream_app.cli import main; main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False,
        env={"STREAM_APP_NOTIFIERS": str(file)},
    )  # fmt: skip
    assert answer.returncode == 2
    assert "needs a package that is not installed: pip install 'stream-app[apprise]'" in answer.stderr
    assert "super-secret" not in answer.stderr
