"""The console's /metrics: asked for as Prometheus does, with and without the token."""

from __future__ import annotations

import asyncio
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from stream_app.alerts.rules import load_rules
from stream_app.console.access import access_of
from stream_app.console.hub import Hub
from stream_app.console.server import ConsoleServer
from stream_app.settings import Settings

pytestmark = pytest.mark.integration

TOKEN = "a token of twenty-six chars"


def scrape(url: str, token: str | None = None) -> str:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with urlopen(Request(f"{url}/metrics", headers=headers), timeout=5) as answer:
        return str(answer.read().decode())


async def test_the_console_tells_its_viewers(settings: Settings) -> None:
    hub = Hub(settings, load_rules(None))
    async with ConsoleServer(settings, access_of(settings, is_open=False), hub, port=0) as server:
        with hub.viewer(""):
            text = await asyncio.to_thread(scrape, server.url)
    assert "stream_app_console_viewers 1.0\n" in text
    assert "stream_app_ready 1.0\n" in text


async def test_with_a_token_it_must_be_given(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_CONSOLE_TOKEN", TOKEN)
    guarded = Settings(redis=settings.redis, prefix=settings.prefix)
    hub = Hub(guarded, load_rules(None))
    async with ConsoleServer(guarded, access_of(guarded, is_open=False), hub, port=0) as server:
        with pytest.raises(HTTPError, match="401"):
            await asyncio.to_thread(scrape, server.url)
        assert "stream_app_console_viewers 0.0\n" in await asyncio.to_thread(scrape, server.url, TOKEN)
