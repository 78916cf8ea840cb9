"""Takes the pictures of docs/images/ anew, from the demo: `make screenshots`.

Starts the demo, waits until its story has something to tell, and photographs the console. The pictures are small, as they
are part of the repository.
"""

from __future__ import annotations

import argparse
import base64
import re
import subprocess
import sys
import time
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.browser import PHONE, browser, missing, prefer, resize
from tests.support.programs import ROOT, wait_until

IMAGES = ROOT / "docs" / "images"
STORY_SECONDS = 75  # by then campaigns have gone out and alerts have fired
MOST_BYTES = 300_000
_SIZE = (1180, 900)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--wait", type=int, default=STORY_SECONDS, help="seconds of the demo before the pictures"
    )
    options = parser.parse_args()
    if why := missing():
        sys.stderr.write(f"screenshots: {why}\n")
        return 1
    demo = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "demo"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert demo.stdout is not None
        first = demo.stdout.readline()
        found = re.match(r"Console (\S+)", first)
        assert found, f"the demo's first line names no console: {first!r}"
        with browser(_SIZE, "--disable-lcd-text", "--hide-scrollbars") as driver:
            driver.get(found[1])
            time.sleep(options.wait)
            IMAGES.mkdir(parents=True, exist_ok=True)
            take_all(driver)
    finally:
        demo.terminate()
        demo.communicate(timeout=30)
    taken = {path.name: path.stat().st_size for path in IMAGES.glob("console*.webp")}
    print("\n".join(f"{size:>8} {name}" for name, size in taken.items()))
    if sum(taken.values()) > MOST_BYTES:
        sys.stderr.write(f"screenshots: together more than {MOST_BYTES} bytes\n")
        return 1
    return 0


def take_all(driver: Chrome) -> None:
    prefer(driver, "light")
    take(driver, IMAGES / "console.webp")
    driver.find_element(By.CSS_SELECTOR, ".campaigns tbody a").click()
    wait_until(lambda: driver.find_elements(By.CSS_SELECTOR, "#view table"), 20, "the campaign's page")
    prefer(driver, "dark")
    take(driver, IMAGES / "console-campaign.webp")
    driver.execute_script("location.hash = '#/'")
    resize(driver, PHONE)
    take(driver, IMAGES / "console-phone.webp")


def take(driver: Chrome, path: Path) -> None:
    time.sleep(2)  # curves are drawn, and colours have changed
    options = {"format": "webp", "quality": 85}  # a quarter of what the browser's PNG takes
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    path.write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    sys.exit(main())
