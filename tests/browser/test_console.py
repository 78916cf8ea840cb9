"""The console in a real browser: what people see is what Redis holds, at once, whoever named the campaign."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from stream_app.metrics.catalogue import campaign_segment
from tests.support.browser import PHONE, prefer, resize
from tests.support.console_stage import ConsoleProcess, Shown, settings_of
from tests.support.programs import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded, pytest.mark.timeout(90)]

Picture = Callable[[str], None]
SOON = 2.0
PAGES = ("", "segments", "carts", "service", "churn", "pipeline", "campaign/spring-sale", "segment/new")
HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\" onmouseover=\"window.hacked=1\" x=\"",
    "'; window.hacked=1; //",
    "javascript:window.hacked=1",
    "</td></tr></table><h1>broken</h1>",
    "{{constructor.constructor('window.hacked=1')()}}",
    "../../../api/world?x=1#/y",
    "evil\u202egnp.exe\u2066\u0000\u0007",
    "zalgo " + "e" + "\u0301\u0327" * 40,
    "__proto__",
    "x" * 200,
    "🧨 100 % <b>bold</b> & more",
)  # fmt: skip


def names(driver: Chrome) -> list[str]:
    """The campaigns of the table, from top to bottom."""
    script = "return [...document.querySelectorAll('.campaigns tbody th')].map(cell => cell.textContent)"
    found: list[str] = driver.execute_script(script)
    return found


def row_of(driver: Chrome, name: str) -> dict[str, str]:
    """A campaign's cells by their column's label."""
    script = """
        const rows = [...document.querySelectorAll('.campaigns tbody tr')];
        const row = rows.find(one => one.querySelector('th').textContent === arguments[0]);
        return row && Object.fromEntries([...row.children].map(cell => [cell.dataset.label, cell.textContent]));
    """
    found: dict[str, str] = driver.execute_script(script, name) or {}
    return found


def seen(driver: Chrome, selector: str) -> list[WebElement]:
    return driver.find_elements(By.CSS_SELECTOR, selector)


def text_of(driver: Chrome, selector: str) -> str:
    """All text of the first element, shown or not; empty where there is none."""
    found: str = driver.execute_script(
        "return document.querySelector(arguments[0])?.textContent ?? ''", selector
    )
    return found


def open_page(driver: Chrome, console: ConsoleProcess, page: str = "") -> None:
    """Open a page, and wait until it is live."""
    driver.get("about:blank")
    driver.get(f"{console.url}#/{page}")
    wait_until(lambda: text_of(driver, "#status").startswith("live"), 10, "the page is live", every=0.05)


def turn_to(driver: Chrome, page: str) -> None:
    """Go to another page of the console that is open."""
    driver.execute_script("location.hash = arguments[0]", f"#/{page}")
    wait_until(lambda: text_of(driver, "#view > div"), 5, f"the page {page} is there", every=0.02)


def percent(text: str) -> float:
    return float(re.match(r"([\d.]+) %", text)[1]) / 100  # type: ignore[index]


def mistakes(driver: Chrome) -> list[Any]:
    """What the browser complains of: refused scripts, errors of ours."""
    return [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_an_alert_appears_within_two_seconds_and_goes(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    open_page(chrome, console)
    wait_until(lambda: "Nothing fires." in text_of(chrome, ".alerts"), 5, "all is calm")
    shown.alert("optout-1")
    begun = time.monotonic()
    wait_until(lambda: seen(chrome, "#firing [data-fingerprint='optout-1']"), SOON, "it appears", every=0.02)
    assert time.monotonic() - begun < SOON
    card = text_of(chrome, "#firing .alert")
    for words in (
        "critical",
        "The summary of optout-1.",
        "2.10 %",
        "1.48–2.96 %",
        "31 of 1,480",
        "limit 1.00 %",
        "a reason",
    ):
        assert words in card
    assert seen(chrome, "#firing .runbook")[0].get_attribute("href") == "https://runbooks.example.org/optout"
    assert chrome.title.startswith("(1) ")
    picture("alert")
    shown.alert("optout-1", "resolved")
    wait_until(lambda: not seen(chrome, "#firing .alert"), SOON, "it goes", every=0.02)
    assert "optout-1" in text_of(chrome, "#resolved")
    assert not chrome.title.startswith("(")


def test_numbers_are_those_of_redis(chrome: Chrome, shown: Shown, console: ConsoleProcess) -> None:
    shown.campaign("spring-sale", 12_345, 4_321, 321, 12)
    shown.campaign("nobody", 0, 0, 0, 0)
    open_page(chrome, console)
    wait_until(lambda: row_of(chrome, "spring-sale"), 5, "the campaign is there")
    row = row_of(chrome, "spring-sale")
    assert row["Delivered"] == "12,345"
    for label, rate in {"Open rate": "open_rate", "CTR": "ctr", "CTOR": "ctor", "Opt-outs": "optout_rate",
                        "Adjusted CTR": "ctr_adjusted"}.items():  # fmt: skip
        assert percent(row[label]) == pytest.approx(shown.total("campaign:spring-sale", rate), abs=0.0005)
    assert re.search(r"0\.\d\d–0\.\d\d %$", row["Opt-outs"])
    assert row_of(chrome, "nobody")["Open rate"] == "—"
    [dash] = chrome.execute_script("""return [...document.querySelectorAll('.campaigns tbody tr')]
        .filter(row => row.textContent.startsWith('nobody')).map(row => row.querySelector('.dash').title)""")
    assert dash.startswith("no deliveries yet")
    shown.campaign("spring-sale", 12_346, 4_321, 321, 12)
    wait_until(lambda: row_of(chrome, "spring-sale")["Delivered"] == "12,346", SOON, "the change is seen")
    shown.clear()
    wait_until(lambda: not names(chrome), 5, "an emptied Redis shows nothing")


def test_sorting_and_searching(chrome: Chrome, shown: Shown, console: ConsoleProcess) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma", "Alphabet")):
        shown.campaign(name, 100 * (number + 1), 100 - number, 10)
    open_page(chrome, console)
    wait_until(lambda: names(chrome) == ["Alphabet", "gamma", "beta", "alpha"], 5, "all are there")
    heading = seen(chrome, ".campaigns thead th button")[2]
    heading.send_keys(Keys.ENTER)
    assert names(chrome) == ["alpha", "beta", "gamma", "Alphabet"]
    assert seen(chrome, ".campaigns [aria-sort='descending']")[0].text.startswith("Open rate")
    heading.send_keys(Keys.ENTER)
    assert names(chrome) == ["Alphabet", "gamma", "beta", "alpha"]
    seen(chrome, "#search")[0].send_keys("ALPHA")
    assert sorted(names(chrome)) == ["Alphabet", "alpha"]
    assert "2 of 4" in text_of(chrome, ".campaigns h2")
    seen(chrome, "#search")[0].send_keys("nothing")
    assert "No campaign has this in its name." in text_of(chrome, ".campaigns")


def test_it_reconnects_by_itself_and_says_that_what_it_shows_is_old(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    shown.campaign("spring-sale", 100)
    open_page(chrome, console)
    wait_until(lambda: row_of(chrome, "spring-sale"), 5, "the campaign is there")
    chrome.execute_script("window.stayed = true")
    console.kill()
    shown.campaign("spring-sale", 200)
    wait_until(lambda: "reconnecting" in text_of(chrome, "#old"), 10, "it says that it is old")
    assert seen(chrome, "#old")[0].is_displayed()
    assert row_of(chrome, "spring-sale")["Delivered"] == "100"
    picture("reconnecting")
    console.start()
    wait_until(lambda: row_of(chrome, "spring-sale")["Delivered"] == "200", 10, "it goes on")
    wait_until(lambda: not seen(chrome, "#old")[0].is_displayed(), 5, "it is live again")
    assert chrome.execute_script("return window.stayed") is True


def test_it_says_when_no_worker_reports(chrome: Chrome, shown: Shown, console: ConsoleProcess) -> None:
    open_page(chrome, console)
    shown.client.delete(f"{shown.prefix}workers")
    wait_until(lambda: "No worker reports" in text_of(chrome, "#old"), 5, "it says so")


def test_hostile_names_are_names(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    for name in HOSTILE:
        shown.campaign(name)
        shown.alert(
            name,
            key=name,
            summary=f"About {name}",
            reasons=[name],
            rule=name,
            runbook="javascript:window.hacked=1",
        )
        shown.customer(name, 0.95, "lost", name)
        shown.key(f"segment:{name}", {"deliveries": 5})
    chrome.get_log("browser")
    open_page(chrome, console)
    visible = [re.sub(r"[\u0000-\u001f\u202e\u2066]", "\N{REPLACEMENT CHARACTER}", name) for name in HOSTILE]
    wait_until(lambda: sorted(names(chrome)) == sorted(visible), 5, "all are there, as text")
    assert not seen(chrome, "a[href^='javascript']") and not seen(chrome, "#view script, #view img, #view b")
    assert len(seen(chrome, "h1")) == 0
    picture("hostile")
    for link in chrome.execute_script(
        "return [...document.querySelectorAll('.campaigns tbody a')].map(a => a.hash)"
    ):
        chrome.execute_script("location.hash = arguments[0]", link)
        wait_until(lambda: "windows up to" in text_of(chrome, "#view"), 5, f"the page of {link}")
        assert chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth"), link
    for page in ("segments", "churn"):
        turn_to(chrome, page)
        wait_until(lambda: text_of(chrome, "#view tbody"), 5, "its table is there")
    assert chrome.execute_script("return window.hacked") is None
    assert mistakes(chrome) == []


def test_the_page_runs_nothing_that_is_put_into_it(chrome: Chrome, console: ConsoleProcess) -> None:
    open_page(chrome, console)
    chrome.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')"
    )
    wait_until(
        lambda: any("Content Security Policy" in one["message"] for one in mistakes(chrome)),
        5,
        "it is refused",
    )
    assert chrome.execute_script("return window.hacked") is None


@pytest.mark.parametrize(("theme", "dark"), [("dark", True), ("light", False)])
def test_both_themes(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture, theme: str, dark: bool
) -> None:
    prefer(chrome, theme)
    shown.campaign("spring-sale")
    shown.alert("optout-1")
    open_page(chrome, console)
    wait_until(lambda: names(chrome), 5, "the campaign is there")

    def brightness(of: str = "background-color") -> int:
        script = "return getComputedStyle(document.body).getPropertyValue(arguments[0])"
        return sum(map(int, re.findall(r"\d+", chrome.execute_script(script, of))[:3])) // 3

    assert (brightness() < 60) is dark and (brightness("color") > 180) is dark
    picture(f"overview-{theme}")
    switch = seen(chrome, "#theme")[0]
    for chosen in ("dark", "light"):
        switch.click()
        assert switch.text == f"Theme: {chosen}" and (brightness() < 60) is (chosen == "dark")
    chrome.refresh()
    wait_until(lambda: brightness() > 180, 5, "the choice is kept")
    chrome.execute_script("localStorage.clear()")


def test_every_page_fits_a_phone(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    resize(chrome, PHONE)
    shown.campaign("spring-sale")
    shown.key("segment:new", {"deliveries": 5, "carts_started": 2, "chats_started": 3})
    shown.key("all:all", {"deliveries": 5, "carts_started": 2, "chats_started": 3})
    shown.customer(
        "customer-ada", 0.95, "lost", "no open or click in the last 8 messages; opened or clicked before"
    )
    shown.alert("optout-1")
    open_page(chrome, console)
    for page in PAGES:
        turn_to(chrome, page)
        wait_until(lambda: text_of(chrome, "#view table"), 5, f"{page} has a table")
        picture(f"phone-{page.replace('/', '-') or 'overview'}")
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= PHONE[0], page


def test_every_page_says_what_everything_is(chrome: Chrome, shown: Shown, console: ConsoleProcess) -> None:
    shown.campaign("spring-sale")
    open_page(chrome, console)
    for page in PAGES:
        turn_to(chrome, page)
        nameless = chrome.execute_script("""
            const named = (one) => one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length;
            return [...document.querySelectorAll('a, button, input, select, canvas')]
                .filter(one => !one.hidden && !one.closest('[hidden]') && !named(one)).map(one => one.outerHTML)""")
        assert nameless == [], page
        assert seen(chrome, "nav a[aria-current='page']") or "/" in page
        assert chrome.execute_script(
            "return [...document.querySelectorAll('table')].every(one => one.querySelector('th'))"
        )


def test_a_curve_is_drawn_of_what_was(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    chrome.get_log("browser")
    shown.campaign("spring-sale", clicks=10)
    open_page(chrome, console, "campaign/spring-sale")
    for clicks in (20, 40, 30):
        shown.campaign("spring-sale", clicks=clicks)
        time.sleep(1.1)
    drawn = "return document.querySelector('canvas')?.getAttribute('aria-label') ?? ''"
    wait_until(lambda: "clicked 30" in chrome.execute_script(drawn), 10, "the curve has the last number")
    picture("campaign")
    assert mistakes(chrome) == []


def test_a_campaign_is_shown_by_segment_or_why_not(
    chrome: Chrome, shown: Shown, console: ConsoleProcess, picture: Picture
) -> None:
    shown.campaign("a/b", 1000)
    open_page(chrome, console, "campaign/a%2Fb")
    part = "#campaign-segments"
    wait_until(lambda: "STREAM_APP_CAMPAIGN_SEGMENTS=true" in text_of(chrome, part), 10, "the mend is said")
    for segment, deliveries, optouts in (("new", 300, 9), ("<b>vip</b>", 600, 0)):
        shown.key(f"segment:{segment}", {"deliveries": deliveries})
        counts = {"deliveries": deliveries, "unique_opens": 90, "unique_engaged": 90, "unique_clicks": 45}
        shown.key(f"campaign_segment:{campaign_segment('a/b', segment)}", counts | {"optouts": optouts})
    wait_until(lambda: seen(chrome, f"{part} tbody tr"), 10, "the segments are there")
    cells = "return [...document.querySelectorAll('#campaign-segments tbody tr')].map(row => row.innerText.split(/\\s*\\t\\s*/))"
    vip, new = chrome.execute_script(cells)
    assert vip[:5] == ["<b>vip</b>", "600", "15.0 %", "7.50 %", "50.0 %"]
    assert new[:5] == ["new", "300", "30.0 %", "15.0 %", "50.0 %"]
    assert re.fullmatch(r"3\.00 % 1\.59–5\.60 %", new[5])
    assert "10.0 % of the deliveries are in no segment here" in text_of(chrome, part)
    picture("campaign-segments")
    chrome.execute_script(
        "const choice = document.querySelector('#campaign-segments select'); choice.value = '1h';"
        "choice.dispatchEvent(new Event('change'))"
    )
    assert "in no segment here" not in text_of(chrome, part)
    assert len(chrome.execute_script(cells)) == 2
    shown.alert("pair", dimension="campaign_segment", key=campaign_segment("a/b", "new"))
    turn_to(chrome, "")
    wait_until(lambda: "campaign a/b in segment new" in text_of(chrome, "#firing"), 10, "both are named")
    turn_to(chrome, "campaign_segment/a%252Fb%2Fnew")
    wait_until(lambda: text_of(chrome, "h1") == "a/b", 10, "an alert's link leads to the campaign")
    assert mistakes(chrome) == []


def test_a_token_lets_in_by_the_form(chrome: Chrome, shown: Shown, tmp_path: Path, picture: Picture) -> None:
    token = "a-token-of-enough-length"
    with ConsoleProcess(settings_of(shown) | {"CONSOLE_TOKEN": token}, tmp_path / "console.log") as console:
        chrome.get(console.url)
        assert chrome.current_url.endswith("/login")
        picture("login")
        seen(chrome, "#token")[0].send_keys("wrong" + Keys.ENTER)
        wait_until(lambda: "That is not the token." in text_of(chrome, "main"), 5, "it says so")
        seen(chrome, "#token")[0].send_keys(token + Keys.ENTER)
        wait_until(lambda: text_of(chrome, "#status").startswith("live"), 10, "it is let in")
        assert token not in chrome.current_url
        [cookie] = chrome.get_cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and token not in cookie["value"]
        seen(chrome, "#logout button")[0].click()
        wait_until(lambda: chrome.current_url.endswith("/login"), 5, "it is out")
        assert token not in console.log.read_text()
