"""The churn page in a real browser: stages, bands, the worst of a segment, and what the workers held back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.select import Select

from stream_app.metrics.catalogue import COUNT_BY_NAME
from tests.browser.test_console import open_page, seen, text_of
from tests.support.console_stage import ConsoleProcess, Shown
from tests.support.programs import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded, pytest.mark.timeout(90)]

STAGES = ("new", "active", "cooling", "dormant", "left", "returned")


def figures(driver: Chrome, place: str) -> dict[str, str]:
    """A strip's figures by their names."""
    script = """return Object.fromEntries([...document.querySelectorAll(`${arguments[0]} .figure`)].map(
        one => [one.querySelector('dt').textContent, one.querySelector('dd').textContent]))"""
    found: dict[str, str] = driver.execute_script(script, place)
    return found


def column(driver: Chrome, place: str, label: str) -> list[str]:
    """A column of a table, from top to bottom."""
    script = """return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].map(
        row => [...row.children].find(cell => cell.dataset.label === arguments[1])?.textContent)"""
    found: list[str] = driver.execute_script(script, place, label)
    return found


def test_the_stages_that_the_page_names_are_the_catalogues() -> None:
    named = {f"{kind}_{stage}" for stage in STAGES for kind in ("stage", "became")}
    assert {name for name in COUNT_BY_NAME if name.startswith(("stage_", "became_"))} == named


def test_customers_by_stage_and_by_segment(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Callable[[str], None]
) -> None:
    everybody = {f"stage_{stage}": 1000 * place for place, stage in enumerate(STAGES)}
    shown.key("all:all", everybody | {"became_cooling": 41})
    shown.key("segment:premium", {"stage_active": 321, "became_active": 7, "reached": 400, "disengaged": 4})
    shown.key("segment:basic", {"stage_active": 12, "stage_left": 3})
    shown.customer("c-1", 0.95, "lost", segment="premium")
    open_page(chrome, console, "churn")
    wait_until(
        lambda: column(chrome, "#segments", "Segment") == ["basic", "premium"], 5, "the segments are there"
    )
    strip = figures(chrome, "#stages")
    assert strip["Cooling"] == "2,000 +41 in 24 h" and strip["Returned"] == "5,000 +0 in 24 h"
    assert column(chrome, "#segments", "Active") == ["12 +0", "321 +7"] and column(
        chrome, "#segments", "Left"
    ) == [
        "3 +0",
        "0 +0",
    ]
    assert column(chrome, "#segments", "Lost") == ["0", "1"]
    assert column(chrome, "#segments", "Gone for good") == ["—", "1.00 %"]
    picture("churn")
    shown.key("segment:premium", {"stage_active": 322, "became_active": 8})
    wait_until(lambda: column(chrome, "#segments", "Active")[1] == "322 +8", 5, "a move is seen")


def test_what_the_workers_do_not_tell_is_a_dash_with_its_reason(
    chrome: Chrome, shown: Shown, console: ConsoleProcess
) -> None:
    shown.key("all:all", {"deliveries": 5})
    untold = [name for stage in STAGES for name in (f"total.stage_{stage}", f"24h.became_{stage}")]
    shown.client.hdel(f"{shown.prefix}metrics:all:all", *untold)
    shown.client.hdel(f"{shown.prefix}workers:host-1-abcd", "churn_held_back")
    open_page(chrome, console, "churn")
    wait_until(lambda: figures(chrome, "#stages").get("New") == "—", 5, "nobody knows how many are new")
    assert figures(chrome, "#bands")["Alerts held back"] == "—"
    reasons = [one.get_attribute("title") for one in seen(chrome, "#stages .dash, #bands .dash")]
    assert len(reasons) == len(STAGES) + 1 and all(reasons)


def test_the_worst_of_a_segment_and_what_is_held_back(
    chrome: Chrome, shown: Shown, console: ConsoleProcess
) -> None:
    for name in ("premium", "<b>hostile</b>"):
        shown.key(f"segment:{name}", {"deliveries": 1})
    shown.customer("c-1", 0.95, "lost", "nothing opened", segment="premium")
    shown.customer("c-2", 0.75, "at_risk", "a cart was left", segment="<b>hostile</b>")
    shown.customer("c-3", 0.55, "watch", "no click")
    shown.worker(churn_held_back=12)
    open_page(chrome, console, "churn")
    wait_until(
        lambda: column(chrome, "#worst", "Customer") == ["c-1", "c-2", "c-3"], 5, "the worst are there"
    )
    assert column(chrome, "#worst", "Segment") == ["premium", "<b>hostile</b>", "—"]
    assert figures(chrome, "#bands") == {"Watch": "1", "At risk": "1", "Lost": "1", "Alerts held back": "12"}
    choice = Select(seen(chrome, "#at-risk-segment")[0])
    assert [option.text for option in choice.options] == ["All segments", "<b>hostile</b>", "premium"]
    choice.select_by_visible_text("<b>hostile</b>")
    wait_until(lambda: column(chrome, "#worst", "Customer") == ["c-2"], 5, "those of the segment")
    shown.customer("c-4", 0.99, "lost", segment="<b>hostile</b>")
    wait_until(lambda: column(chrome, "#worst", "Customer") == ["c-4", "c-2"], 5, "it stays up to date")
    assert choice.first_selected_option.text == "<b>hostile</b>"
    choice.select_by_visible_text("All segments")
    wait_until(lambda: len(column(chrome, "#worst", "Customer")) == 4, 5, "all again")
    assert "hostile" in text_of(chrome, "#view") and not seen(chrome, "#view b")
