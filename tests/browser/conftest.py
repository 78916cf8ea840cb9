"""A browser for all tests of a worker process, and a console for each test. Pictures go to .cache/browser/."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Chrome

from stream_app.dev import EmbeddedRedis
from tests.support.browser import WIDE, browser, missing, resize
from tests.support.console_stage import ConsoleProcess, Shown, settings_of
from tests.support.programs import ROOT

PICTURES = ROOT / ".cache" / "browser"


@pytest.fixture(scope="session")
def _chrome() -> Iterator[Chrome]:
    if why := missing():
        pytest.skip(why)
    with browser() as driver:
        yield driver


@pytest.fixture
def chrome(_chrome: Chrome) -> Iterator[Chrome]:
    """The browser, as wide as a desk's screen, on no page."""
    resize(_chrome, WIDE)
    yield _chrome
    _chrome.get("about:blank")
    _chrome.delete_all_cookies()


@pytest.fixture
def picture(chrome: Chrome) -> Callable[[str], None]:
    """Keep a picture of what is seen now."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        chrome.save_screenshot(str(PICTURES / f"{name}.png"))

    return take


@pytest.fixture(scope="module")
def _shown(redis_server: EmbeddedRedis) -> Iterator[Shown]:
    held = Shown(redis_server)
    yield held
    held.client.close()


@pytest.fixture
def shown(_shown: Shown) -> Shown:
    """What the console is to show: nothing yet, and a worker reports."""
    _shown.clear()
    _shown.worker()
    return _shown


@pytest.fixture(scope="module")
def console(_shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """One for all tests of a module, as starting it takes longest."""
    with ConsoleProcess(settings_of(_shown), tmp_path_factory.mktemp("console") / "console.log") as process:
        yield process
