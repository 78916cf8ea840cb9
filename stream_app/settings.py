"""Settings: what a user may choose, where it comes from, and clear errors when it is wrong.

Read once at the start of every program, before the flow. Values come from ``STREAM_APP_*``
variables or a TOML file (a variable wins); unknown names and wrong values are named together
with the mend. Durations read ``500ms``, ``90s``, ``10m``, ``24h``, ``30d`` and are kept in milliseconds.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_app.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

ENV_PREFIX = "STREAM_APP_"
_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


class SettingsError(Exception):
    """A setting is wrong; the message names it, its value and the mend, one line each."""


def parse_duration(text: Any) -> int:
    """Milliseconds of a duration such as ``500ms``, ``90s``, ``10m``, ``24h`` or ``30d``."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", str(text))
    if match is None:
        raise ValueError("write a number and a unit, such as 500ms, 90s, 10m, 24h or 30d")
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(milliseconds: int) -> str:
    """A duration as it is written in settings, in the largest unit that fits."""
    for unit, length in reversed(_UNITS.items()):
        if milliseconds and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"


Duration = Annotated[int, BeforeValidator(parse_duration)]


class Settings(BaseSettings):
    """All settings, checked. Durations are milliseconds."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    kafka: str = Field("127.0.0.1:9092", description="Kafka's bootstrap servers, host:port,…")
    redis: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis, as a URL")
    prefix: str = Field("engagement.", description="what all topic names and Redis keys start with")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of every input topic: the shards")
    replication: int = Field(
        1, ge=1, le=16, description="replicas of the topics that `topics create` or a worker makes"
    )
    allowed_lateness: Duration = Field(
        10 * MINUTE_MS, ge=0, description="how far an event may lie behind its shard's newest"
    )
    idle_timeout: Duration = Field(
        30 * SECOND_MS, ge=1, description="how long a silent partition is waited for"
    )
    cart_timeout: Duration = Field(HOUR_MS, ge=1, description="silence after which a cart is abandoned")
    chat_timeout: Duration = Field(2 * MINUTE_MS, ge=1, description="wait after which a chat is missed")
    machine_click_within: Duration = Field(
        2 * SECOND_MS,
        ge=0,
        le=MINUTE_MS,
        description="a click so soon before or after its delivery is suspected to be a machine's; 0s suspects none",
    )
    retention: Duration = Field(30 * DAY_MS, ge=DAY_MS, description="what is silent for longer is forgotten")
    stage_new: Duration = Field(
        30 * DAY_MS, ge=DAY_MS, description="a customer is new, or returned, for so many days"
    )
    stage_cooling: Duration = Field(
        30 * DAY_MS, ge=DAY_MS, description="days without engagement after which a customer is cooling"
    )
    stage_dormant: Duration = Field(
        90 * DAY_MS,
        ge=DAY_MS,
        validate_default=True,
        description="days without engagement after which a customer is dormant; more than stage_cooling",
    )
    duplicate_window: Duration = Field(
        HOUR_MS, ge=0, description="how long, in event time, an event's id is remembered at least"
    )
    campaign_segments: bool = Field(
        False,
        description="whether campaigns are counted by segment as well, in the dimension `campaign_segment`, from when it is "
        "switched on; each pair is a key of its own, and an event costs about half as much again",
    )
    rules: Path | None = Field(None, description="the alert rules file; the shipped rules if unset")
    notifiers: Path | None = Field(None, description="the file of those whom `notify` tells of alerts")
    data_dir: Path = Field(Path("var"), description="a worker's local files")
    store: Literal["memory", "rocksdb"] = Field(
        "memory",
        description="where state that is not in use rests: rocksdb (pip install 'stream-app[rocksdb]') keeps it "
        "on disk, in data_dir, for more customers, carts, chats and tickets than fit into memory",
    )
    flush_interval: Duration = Field(
        50, ge=10, description="pause between two flushes: changes are journaled and published"
    )
    snapshot_interval: Duration = Field(SECOND_MS, ge=100, description="shortest time between two snapshots")
    fetch_wait: Duration = Field(100, ge=1, description="how long the broker may hold back an empty fetch")
    session_timeout: Duration = Field(
        6 * SECOND_MS,
        ge=3 * SECOND_MS,
        le=MINUTE_MS,
        description="after this silence a worker's partitions move to another",
    )
    stuck_after: Duration = Field(
        45 * SECOND_MS,
        ge=10 * SECOND_MS,
        description="a worker that makes no progress for so long ends itself",
    )
    http: str = Field(
        "127.0.0.1:0",
        description="where a worker or `notify` serves /live, /ready and /metrics, host:port; 0 is any free port",
    )
    prometheus_detail: Literal["all", "segments", "campaigns"] = Field(
        "segments",
        description="which engagement metrics a worker serves at /metrics: those of all:all, of segments and channels as "
        "well, or of campaigns (by segment too, where they are counted so) as well, which are many series",
    )
    console_http: str = Field(
        "127.0.0.1:8585", description="where `console` serves its page, host:port; 0 is any free port"
    )
    console_token: SecretStr | None = Field(
        None, description="what `console` asks for, at least 16 characters; needed where others can reach it"
    )
    max_event_bytes: int = Field(262_144, ge=1024, description="a larger record goes to the dead letters")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_ssl_password: SecretStr | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_sasl_plain_username: str | None = None
    kafka_sasl_plain_password: SecretStr | None = None
    redis_ssl_ca_certs: Path | None = None
    redis_ssl_certfile: Path | None = None
    redis_ssl_keyfile: Path | None = None

    @field_validator("stage_new", "stage_cooling", "stage_dormant")
    @classmethod
    def _whole_days(cls, duration: int) -> int:
        if duration % DAY_MS:
            raise ValueError("stages are decided once a day; write whole days, such as 30d")
        return duration

    @field_validator("stage_dormant")
    @classmethod
    def _dormant_after_cooling(cls, duration: int, held: ValidationInfo) -> int:
        cooling = held.data.get("stage_cooling", 0)
        if duration <= cooling:
            raise ValueError(
                f"who is dormant has been cooling before; write more than stage_cooling, {format_duration(cooling)}"
            )
        return duration

    @field_validator("kafka")
    @classmethod
    def _servers(cls, text: str) -> str:
        for server in text.split(","):
            host, colon, port = server.strip().rpartition(":")
            if not (colon and host and port.isdigit() and 0 < int(port) < 65_536):
                raise ValueError("write host:port, several with a comma between, such as 127.0.0.1:9092")
        return ",".join(server.strip() for server in text.split(","))

    @field_validator("http", "console_http")
    @classmethod
    def _http_address(cls, text: str) -> str:
        host, colon, port = text.strip().rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
            raise ValueError("write host:port, such as 127.0.0.1:8080, or port 0 for any free one")
        return text.strip()

    @field_validator("redis")
    @classmethod
    def _redis_url(cls, url: SecretStr) -> SecretStr:
        if not re.match(r"(redis|rediss|unix)://", url.get_secret_value()):
            raise ValueError("write a URL such as redis://127.0.0.1:6379/0 (rediss:// for TLS)")
        return url

    @field_validator("prefix")
    @classmethod
    def _topic_prefix(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,150}", prefix):
            raise ValueError("use letters, digits, '.', '_' and '-' only, such as engagement.")
        return prefix

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A variable wins over the TOML file, whose values are handed in as arguments."""
        return env_settings, init_settings

    def topic(self, name: str) -> str:
        """The full name of a topic: the prefix and its name."""
        return self.prefix + name

    @property
    def http_address(self) -> tuple[str, int]:
        """The host and the port of ``http``; an IPv6 address stands in brackets there."""
        return _host_and_port(self.http)

    @property
    def console_address(self) -> tuple[str, int]:
        """The host and the port of ``console_http``."""
        return _host_and_port(self.console_http)

    @property
    def redis_prefix(self) -> str:
        """What Redis keys start with: the prefix with its separator turned into a colon."""
        return self.prefix.rstrip(".") + ":" if self.prefix else ""

    @property
    def group_id(self) -> str:
        """The consumer group of the workers, and what the names of their changelogs start with."""
        return f"{self.prefix}worker"


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


_DURATIONS = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if any(isinstance(part, BeforeValidator) for part in field.metadata)
)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment, a TOML file and ``overrides``.

    Raises:
        SettingsError: a name or value is wrong; one line for each, with the mend.
    """
    given = {**(_read_toml(config) if config else {}), **overrides}
    _check_variable_names()
    try:
        return Settings(**given)
    except ValidationError as problem:
        lines = [_explain(dict(error)) for error in problem.errors()]
        raise SettingsError("\n".join(lines)) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise SettingsError(
            f"--config {path}: cannot be read ({problem.strerror}); name a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"--config {path}: not valid TOML ({problem}); mend that line") from None


def _check_variable_names() -> None:
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    wrong = [name for name in os.environ if name.startswith(ENV_PREFIX) and name.upper() not in known]
    if wrong:
        lines = [f"{name}: there is no such setting{_nearest(name, known)}" for name in sorted(wrong)]
        raise SettingsError("\n".join(lines))


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `stream-app --help` names the settings"


def _explain(error: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    variable = ENV_PREFIX + name.upper()
    if error["type"] == "extra_forbidden":
        known = set(Settings.model_fields)
        close = difflib.get_close_matches(name, known, n=1)
        return f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")
    value = "(hidden)" if name in ("redis", "console_token") or "password" in name else repr(error["input"])
    reason = str(error["msg"]).removeprefix("Value error, ")
    if str(error["type"]).startswith("bool_"):
        reason = "write true or false"
    if name in _DURATIONS and isinstance(error["input"], int):
        value = repr(os.environ.get(variable) or format_duration(error["input"]))
        for side, word in (("ge", "at least"), ("le", "at most")):
            if side in error.get("ctx", {}):
                reason = f"{word} {format_duration(error['ctx'][side])}"
    return f"{variable}={value}: {reason}"
