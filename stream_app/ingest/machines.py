"""Tells opens and clicks by machines from those by people.

Stands beside decoding; pure. The sender's own ``machine`` flag decides; where it says nothing, the
user agent may give a machine away: mail privacy proxies that prefetch, security gateways that follow
links, and programs. Gmail's and Yahoo's image proxies fetch when a person opens, so they are people.
"""

from __future__ import annotations

import re
from functools import lru_cache

from stream_app.ingest.events import EmailClicked, EmailOpened

_PREFETCHING_PROXY = "Mozilla/5.0"  # Apple Mail Privacy Protection sends this and no more
_MACHINE = re.compile(
    r"\b(?:barracuda|proofpoint|mimecast|symantec|messagelabs|trendmicro|fireeye|forcepoint|sophos|cisco-?ironport"
    r"|safelinks|bingpreview|slackbot|facebookexternalhit|twitterbot|googlebot|bingbot|yandexbot|headlesschrome"
    r"|phantomjs|curl|wget|python-requests|python-urllib|aiohttp|httpx|go-http-client|okhttp|apache-httpclient"
    r"|java|libwww-perl|scrapy|node-fetch|axios)(?:[/ ;]|$)",
    re.IGNORECASE,
)


def is_machine(event: EmailOpened | EmailClicked) -> bool:
    """Whether a machine did it, by the sender's flag or else by the user agent."""
    if event.machine is not None:
        return event.machine
    agent = event.user_agent
    return _is_machine_agent(agent) if agent else False


@lru_cache(maxsize=4096)
def _is_machine_agent(agent: str) -> bool:
    return agent.strip() == _PREFETCHING_PROXY or _MACHINE.search(agent) is not None
