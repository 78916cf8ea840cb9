"""The whole way, from a producer's events to what a person sees in a browser: broker, worker, Redis, console."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import redis
from selenium.webdriver import Chrome

from stream_app.clock import now_ms
from stream_app.dev import EmbeddedRedis
from tests.browser.test_console import SOON, open_page, row_of, seen, text_of, turn_to
from tests.support.brokers import Broker
from tests.support.console_stage import ConsoleProcess
from tests.support.programs import Crew, installation, wait_until
from tests.support.traffic import Sender, delivered, event

pytestmark = [pytest.mark.integration, pytest.mark.embedded, pytest.mark.timeout(120)]


def test_an_alert_is_seen_within_two_seconds_of_firing(
    chrome: Chrome, broker: Broker, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    place = installation(broker.address, redis_server.url, tmp_path)
    variables = {"REDIS": redis_server.url, "PREFIX": place.settings.prefix}
    client: Any = redis.Redis.from_url(redis_server.url, decode_responses=True)
    firing = f"{place.settings.redis_prefix}alerts:firing"
    now = now_ms()
    with Crew(place, tmp_path) as crew, Sender(place.settings) as sender:
        crew.start()
        with ConsoleProcess(variables, tmp_path / "console.log") as console:
            open_page(chrome, console)
            sender.send(*(delivered(f"c{number}", now, "winback") for number in range(1000)))
            sender.send(
                *(event("email.opted_out", f"c{number}", now, campaign_id="winback") for number in range(60))
            )
            sender.flush()
            wait_until(lambda: client.hlen(firing), 30, "it fires", every=0.01)
            fired = time.monotonic()
            wait_until(lambda: "winback" in text_of(chrome, "#firing"), SOON, "it is seen", every=0.02)
            assert time.monotonic() - fired < SOON
            wait_until(lambda: row_of(chrome, "winback").get("Delivered") == "1,000", 10, "its numbers are")
            total = client.hgetall(f"{place.settings.redis_prefix}metrics:campaign:winback")
            assert total["total.deliveries"] == "1000" and total["total.optouts"] == "60"
            wait_until(
                lambda: row_of(chrome, "winback")["Opt-outs"].startswith("6.00 %"), 10, "all opt-outs are"
            )
            turn_to(chrome, "pipeline")
            wait_until(lambda: "0, 1, 2, 3" in text_of(chrome, "#view"), 10, "the worker is")
            assert not seen(chrome, "#old")[0].is_displayed()
    client.close()
