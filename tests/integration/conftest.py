"""Settings and a command line for each integration test, with a prefix of its own on the shared servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.dev import EmbeddedRedis
from stream_app.settings import Settings, load_settings
from tests.support.brokers import Broker

ROOT = Path(__file__).parents[2]

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def settings(broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path) -> Settings:
    """Settings with a prefix of their own, so that tests can share the servers."""
    prefix = f"test-{uuid4().hex[:12]}."
    return load_settings(kafka=broker.address, redis=redis_server.url, prefix=prefix, data_dir=tmp_path)


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a program finds those settings."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")},
        "STREAM_APP_KAFKA": settings.kafka,
        "STREAM_APP_REDIS": settings.redis.get_secret_value(),
        "STREAM_APP_PREFIX": settings.prefix,
        "STREAM_APP_DATA_DIR": str(settings.data_dir),
    }


@pytest.fixture
def stream_app(environment: dict[str, str]) -> CommandLine:
    """Run the command line to its end: ``stream_app("send", "-", given=…, STREAM_APP_PARTITIONS="3")``."""

    def run(*arguments: str, given: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stream_app", *arguments],
            input=given, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment | variables,
            check=False,
        )  # fmt: skip

    return run
