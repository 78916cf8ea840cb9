"""Settings: each wrong one is named, with its value and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.settings import SettingsError, load_settings, parse_duration


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("STREAM_APP_")]:
        monkeypatch.delenv(name)


def problem(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert (settings.prefix, settings.partitions) == ("engagement.", 4)
    assert (settings.allowed_lateness, settings.idle_timeout) == (600_000, 30_000)
    assert (settings.cart_timeout, settings.chat_timeout) == (3_600_000, 120_000)
    assert settings.retention == 30 * 86_400_000


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("90s", 90_000),
        ("10m", 600_000),
        ("24h", 86_400_000),
        ("30d", 2_592_000_000),
        (" 1.5 s ", 1_500),
    ],
)
def test_durations_read_as_people_write_them(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5s", "5 weeks", "1h30m", "nan s", "٣"])
def test_what_is_no_duration_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError, match="a number and a unit, such as 500ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("STREAM_APP_CART_TIMEOUT", "an hour", "such as 500ms, 90s, 10m"),
        ("STREAM_APP_CART_TIMEOUT", "0s", ""),
        ("STREAM_APP_RETENTION", "1h", ""),
        ("STREAM_APP_SESSION_TIMEOUT", "2s", "at least 3s"),
        ("STREAM_APP_KAFKA", "localhost", "host:port"),
        ("STREAM_APP_KAFKA", "a:1,b:99999", "host:port"),
        ("STREAM_APP_PARTITIONS", "0", "greater than or equal to 1"),
        ("STREAM_APP_PARTITIONS", "many", "valid integer"),
        ("STREAM_APP_CAMPAIGN_SEGMENTS", "maybe", "write true or false"),
        ("STREAM_APP_PREFIX", "a b", "letters, digits"),
        ("STREAM_APP_KAFKA_SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_mend(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, mend: str
) -> None:
    text = problem(monkeypatch, name, value)
    assert text.startswith(f"{name}={value!r}: ")
    assert mend in text


def test_a_redis_address_is_never_shown_because_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = problem(monkeypatch, "STREAM_APP_REDIS", "http://user:secret@host")
    assert text.startswith("STREAM_APP_REDIS=(hidden): ")
    assert "secret" not in text and "redis://" in text


def test_passwords_are_not_in_what_is_printed_of_the_settings() -> None:
    settings = load_settings(redis="redis://:hunter2@host/0", kafka_sasl_plain_password="hunter2")
    assert "hunter2" not in f"{settings!r} {settings}"


def test_every_wrong_setting_is_named_not_only_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_PARTITIONS", "0")
    lines = problem(monkeypatch, "STREAM_APP_KAFKA", "x").splitlines()
    assert [line.split("=")[0] for line in lines] == ["STREAM_APP_KAFKA", "STREAM_APP_PARTITIONS"]


def test_an_unknown_variable_is_named_with_the_nearest_known(monkeypatch: pytest.MonkeyPatch) -> None:
    text = problem(monkeypatch, "STREAM_APP_CART_TIMEOT", "1h")
    assert text == "STREAM_APP_CART_TIMEOT: there is no such setting; did you mean STREAM_APP_CART_TIMEOUT?"


def test_a_file_is_read_and_a_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('cart_timeout = "2h"\npartitions = 8\n')
    monkeypatch.setenv("STREAM_APP_PARTITIONS", "2")
    settings = load_settings(config)
    assert (settings.cart_timeout, settings.partitions) == (7_200_000, 2)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("cart_timeout = ", "not valid TOML"),
        ('cart_timeot = "1h"', "did you mean cart_timeout?"),
        ('partitions = "x"', "STREAM_APP_PARTITIONS='x'"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, mend: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(config)
    assert mend in str(caught.value)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.*cannot be read.*name a TOML file"):
        load_settings(tmp_path / "nowhere.toml")
