"""A real browser for tests and screenshots: the system's Chromium, driven by Selenium, without a screen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

WIDE = (1280, 900)
PHONE = (390, 844)
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str:
    """What is missing for a browser, as a sentence; empty if nothing is."""
    found = any(map(shutil.which, _CHROMIUM)) and shutil.which("chromedriver")
    return "" if found else "needs Chromium: apt-get install chromium chromium-driver"


@contextmanager
def browser(size: tuple[int, int] = WIDE, *arguments: str) -> Iterator[Chrome]:
    """A browser with a fresh profile; it ends with the block."""
    options = ChromeOptions()
    options.binary_location = next(path for name in _CHROMIUM if (path := shutil.which(name)))
    width, height = size
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        *arguments,
    ):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        resize(driver, size)
        yield driver
    finally:
        driver.quit()


def prefer(driver: Chrome, scheme: str) -> None:
    """Tell pages that the system's theme is ``dark`` or ``light``."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def resize(driver: Chrome, size: tuple[int, int]) -> None:
    """Make the page so many pixels wide and high."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
