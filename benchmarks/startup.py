"""How soon the programs are there: ``--help``, a worker that is ready, a demo that shows numbers.

``python -m benchmarks.startup`` runs each several times from the start of its process. The worker's broker is empty
and fresh each time: the embedded one, and Apache Kafka where it is.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from benchmarks.life import Json
from benchmarks.own_system import (
    CheckFailed,
    best_broker,
    finish,
    headline,
    run_checked,
    stage,
    table,
    wait_until_ready,
)
from benchmarks.places import ROOT
from tests.support.brokers import BrokerName

BROKERS: dict[BrokerName, str] = {"embedded": "embedded broker", "kafka": "Apache Kafka"}
GOALS = {
    "--help": 0.3,
    **{f"worker ready, {title}": 5.0 for title in BROKERS.values()},
    "demo's numbers": 10.0,
}
PROGRAM = (sys.executable, "-m", "stream_app")
INSTALLED = Path(sys.executable).with_name("stream-app")
DEMO_SECONDS = 15
DEMO_PATIENCE_SECONDS = 60.0
DEMO_KEY = "engagement:metrics:all:all"
LOOK_SECONDS = 0.02


def main() -> None:
    options = _options()
    brokers: set[BrokerName] = {"embedded", best_broker()}
    seconds = {
        "--help": [help_seconds() for _ in range(options.runs * 3)],
        **{
            f"worker ready, {BROKERS[broker]}": [worker_seconds(broker) for _ in range(options.runs)]
            for broker in sorted(brokers)
        },
        "demo's numbers": [demo_seconds() for _ in range(options.runs)],
    }
    figures = {"settings": {"runs": options.runs}, "seconds": seconds}
    finish("startup", figures, as_markdown, options.write)


def help_seconds() -> float:
    """``stream-app --help``, to its end."""
    begun = time.monotonic()
    done = subprocess.run([INSTALLED, "--help"], capture_output=True, text=True, timeout=30, check=False)
    seconds = time.monotonic() - begun
    if done.returncode or "Usage" not in done.stdout:
        raise CheckFailed(f"stream-app --help ended with {done.returncode}: {done.stderr.strip()}")
    return seconds


def worker_seconds(broker: BrokerName) -> float:
    """A worker on a broker that has nothing, not even topics, until /ready says 200."""
    with stage(broker, with_topics=False) as place:
        begun = time.monotonic()
        with place.new_worker() as worker:
            wait_until_ready(worker)
            return time.monotonic() - begun


def demo_seconds() -> float:
    """The demo, until its Redis has the numbers of all events, which its screen reads a few times a second."""
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as said:
        begun = time.monotonic()
        command = [*PROGRAM, "demo", "--seconds", str(DEMO_SECONDS)]
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
        demo = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=unbuffered)
        try:
            seconds = _seconds_to_numbers(demo, said, begun)
            if demo.wait(DEMO_PATIENCE_SECONDS) != 0:
                raise CheckFailed(f"the demo ended with {demo.returncode}: {_text(said)[-300:]}")
        finally:
            if demo.poll() is None:
                demo.terminate()
                demo.wait(20)
        return seconds


def as_markdown(figures: Json) -> str:
    """The figures as a section of the document."""
    rows = [
        [
            name,
            f"{statistics.median(found):.2f} s",
            f"{min(found):.2f}–{max(found):.2f} s",
            f"{GOALS[name]} s",
            len(found),
        ]
        for name, found in figures["seconds"].items()
    ]
    return "\n".join(
        [
            f"{headline(figures)}\n",
            table(["", "median", "from–to", "goal", "runs"], rows),
        ]
    )


def _seconds_to_numbers(demo: subprocess.Popen[bytes], said: Any, begun: float) -> float:
    client: Any = None
    while time.monotonic() - begun < DEMO_PATIENCE_SECONDS and demo.poll() is None:
        if client is None:
            found = re.search(r"Redis (redis://\S+)", _text(said))
            client = redis.Redis.from_url(found[1]) if found else None
        elif _has_numbers(client):
            return time.monotonic() - begun
        time.sleep(LOOK_SECONDS)
    raise CheckFailed(f"the demo showed no numbers: {_text(said)[-300:]}")


def _has_numbers(client: Any) -> bool:
    try:
        return bool(client.exists(DEMO_KEY))
    except RedisError as problem:
        raise CheckFailed(f"the demo's Redis cannot be asked: {problem}") from None


def _text(said: Any) -> str:
    """What the demo has written so far."""
    return Path(said.name).read_text("utf-8")


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="three times as many of --help")
    arguments.add_argument("--write", action="store_true", help="write the section of docs/performance.md")
    return arguments.parse_args()


if __name__ == "__main__":
    run_checked("startup", main)
