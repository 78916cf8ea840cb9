"""How the console keeps up: many campaigns that all change every second, and many viewers, one of them a real browser.

    python -m benchmarks.console [--campaigns 2000] [--viewers 50] [--seconds 20] [--json]

A Redis with the campaigns, a console, viewers that read the stream, and Chromium with the page open where it is
installed. Measures how long a change takes from Redis to every viewer, what the console uses, and for how long the
browser's page was busy at a stretch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from tests.support.browser import browser, missing
from tests.support.console_stage import ConsoleProcess, Shown, settings_of

_LONG_TASKS = """
    window.busy = [];
    new PerformanceObserver(list => list.getEntries().forEach(one => window.busy.push(one.duration)))
        .observe({type: 'longtask', buffered: true});
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--campaigns", type=int, default=2_000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, EmbeddedRedis() as server:
        shown = Shown(server)
        names = [f"campaign-{number:05}" for number in range(options.campaigns)]
        for name in names:
            shown.campaign(name)
        shown.worker()
        with ConsoleProcess(settings_of(shown), Path(directory, "console.log")) as console:
            figures = asyncio.run(measure(shown, console, names, options.viewers, options.seconds))
    print(
        json.dumps(figures)
        if options.json
        else "\n".join(f"{name:<44} {value}" for name, value in figures.items())
    )


def touch(shown: Shown, names: list[str], turn: int) -> None:
    """Change every campaign: one more delivery, and another click rate."""
    pipeline = shown.client.pipeline(transaction=False)
    for name in names:
        key = f"{shown.prefix}metrics:campaign:{name}"
        pipeline.hset(
            key, mapping={"total.deliveries": 1000 + turn, "1h.unique_clicks": random.randrange(90)}
        )
        pipeline.zadd(f"{shown.prefix}index:campaign", {name: now_ms()})
    pipeline.execute()


async def measure(
    shown: Shown, console: ConsoleProcess, names: list[str], viewers: int, seconds: int
) -> dict[str, Any]:
    delays: list[float] = []
    received = [0]
    stop = asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        began = time.monotonic()
        async with session.get(f"{console.url}api/world") as answer:
            whole = await answer.json()
        first = time.monotonic() - began
        watching = [
            asyncio.create_task(view(session, console.url, whole["id"], delays, received, stop))
            for _ in range(viewers)
        ]
        page = asyncio.create_task(asyncio.to_thread(look, console.url, seconds))
        used = processor_seconds(console)
        began = time.monotonic()
        turn = 0
        while time.monotonic() - began < seconds:
            turn += 1
            stamp = now_ms()
            await asyncio.to_thread(touch, shown, names, turn)
            shown.alert("probe", summary=str(now_ms()))
            await asyncio.sleep(max(0.0, random.uniform(0.7, 1.3) - (now_ms() - stamp) / 1000))
        took = time.monotonic() - began
        used = processor_seconds(console) - used
        stop.set()
        await asyncio.gather(*watching)
        seen = await page
    return {
        "campaigns": len(names),
        "viewers": viewers,
        "changes of campaigns a second": round(turn * len(names) / took),
        "whole state to a new viewer, seconds": round(first, 3),
        "an alert to a viewer, median seconds": round(statistics.median(delays), 3),
        "an alert to a viewer, worst seconds": round(max(delays), 3),
        "kB a second to each viewer": round(received[0] / 1000 / took / viewers, 1),
        "console, cores": round(used / took, 2),
        "console, MB": memory_mb(console),
        **seen,
    }


async def view(
    session: aiohttp.ClientSession,
    url: str,
    after: str,
    delays: list[float],
    received: list[int],
    stop: asyncio.Event,
) -> None:
    """One viewer: reads the stream, and notes how old each probe is."""
    async with session.get(f"{url}events", params={"after": after}, read_bufsize=2**24) as answer:
        async for line in answer.content:
            received[0] += len(line)
            found = re.search(rb'"summary":"(\d{13})"', line) if line.startswith(b"data:") else None
            if found:
                delays.append((now_ms() - int(found[1])) / 1000)
            if stop.is_set():
                return


def look(url: str, seconds: int) -> dict[str, Any]:
    """A page in a browser: for how long it could not answer its user."""
    if why := missing():
        return {"browser": why}
    with browser() as driver:
        driver.get(url)
        driver.execute_script(_LONG_TASKS)
        time.sleep(seconds)
        busy = driver.execute_script("return window.busy")
        began = time.monotonic()
        driver.execute_script("document.querySelector('.campaigns thead th:nth-child(3) button').click()")
        sorting = time.monotonic() - began
        rows = driver.execute_script("return document.querySelector('.campaigns h2').textContent")
    return {
        "browser: campaigns": rows,
        "browser: tasks over 50 ms": len(busy),
        "browser: longest task, ms": round(max(busy, default=0)),
        "browser: sorting, seconds": round(sorting, 3),
    }


def processor_seconds(console: ConsoleProcess) -> float:
    """What the console has used of a processor so far."""
    fields = Path(f"/proc/{console.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory_mb(console: ConsoleProcess) -> int:
    status = Path(f"/proc/{console.pid}/status").read_text("utf-8")
    return int(re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[0]) // 1024


if __name__ == "__main__":
    main()
