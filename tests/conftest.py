"""The servers that tests share, and the choice of the broker: ``--broker embedded|kafka|containers``."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, cast

import pytest
from hypothesis import settings

from stream_app.dev import EmbeddedRedis, ServerError
from tests.support.brokers import BROKER_NAMES, Broker, BrokerMaker, BrokerName, broker_maker, java
from tests.support.strategies import DEEP

LINES_OF_A_LOG: Final = 25

# kafka-python tells of each broken connection, with a traceback; where tests break them, nothing else can be found.
logging.getLogger("kafka").setLevel(logging.CRITICAL)

# A run looks at the same cases as the one before; `make laws` looks at others.
settings.register_profile("default", derandomize=not DEEP)
settings.load_profile("default")


def _chosen(config: pytest.Config) -> BrokerName:
    return cast(BrokerName, config.getoption("--broker"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=BROKER_NAMES, default="embedded", help="the broker of the tests")


def pytest_configure(config: pytest.Config) -> None:
    if _chosen(config) == "kafka":
        try:
            java()
        except ServerError as problem:
            raise pytest.UsageError(str(problem)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _chosen(config) == "embedded":
        return
    reason = f"about what is so with the embedded servers only, not with --broker {_chosen(config)}"
    for item in items:
        if item.get_closest_marker("embedded"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the programs it had started said last."""
    report = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "call" and report.failed and isinstance(directory, Path):
        for log in sorted(directory.rglob("*.log")):
            last = log.read_text("utf-8", "replace").splitlines()[-LINES_OF_A_LOG:]
            report.sections.append((f"the end of {log.name}", "\n".join(last)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A variable of the person who runs the tests must not lead them to other servers."""
    for name in [name for name in os.environ if name.startswith("STREAM_APP_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def new_broker(request: pytest.FixtureRequest) -> BrokerMaker:
    """Makes brokers of the chosen kind, for a test that stops its own: ``with new_broker() as own:``."""
    return broker_maker(_chosen(request.config))


@pytest.fixture(scope="session")
def broker(new_broker: BrokerMaker) -> Iterator[Broker]:
    """One for the whole run; each test has a prefix of its own in it."""
    with new_broker() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server
