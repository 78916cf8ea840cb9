"""What a user agent gives away: whether a machine opened or clicked.

Stands beside decoding, under ``machines.py``; pure but for reading the list, which is done at the first agent. The
list is that of the package crawler-user-agents, kept by many and renewed with every release: crawlers, link previews,
libraries, browsers without a head. What bears on mail and is not in it stands here. Why this list:
docs/decisions/0010-machines.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache, lru_cache
from typing import Final, NamedTuple

_LONGEST_READ: Final = 512
"""Nothing of interest stands behind so many characters, and a producer may send a quarter of a million."""
_AGENTS_KNOWN: Final = 16_384

_PREFETCHING_PROXY: Final = "Mozilla/5.0"  # Apple's Mail Privacy Protection sends this and no more
_FETCH_FOR_A_READER: Final = frozenset(
    {"GoogleImageProxy", "YahooMailProxy", "FastmailUA", "Shortwave Image Fetcher"}
)
"""Image proxies in the list that fetch when a person opens the mail, so that their fetch is the person's."""
_OURS: Final = re.compile(
    # Security gateways that follow links before, or when, a mail is read. Few of them say who they are.
    r"\b(?:barracuda|proofpoint|urldefense|mimecast|symantec|messagelabs|trendmicro|trend ?micro|tmes|fireeye|trellix"
    r"|forcepoint|websense|sophos|cisco-?ironport|ironport|ciscosecureemail|safelinks|fortimail|fortiguard|zscaler"
    r"|vade ?(?:secure|retro)|checkpoint|avanan|hornetsecurity|microsoft office existence discovery"
    # Programs and libraries.
    r"|java|undici|python-urllib3?|python-requests|httpx|guzzlehttp|postmanruntime|node-fetch|axios"
    r"|yandexbot|slackbot|headlesschrome|phantomjs)(?:[/ ;)]|$)",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\(\W)")
_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")
_LEAD: Final = 3


class _List(NamedTuple):
    """The package's list, so arranged that an agent is held against all of it in one pass.

    Nearly all of its patterns are plain texts: these are found by their first letters. The rest is one expression.
    """

    by_lead: dict[str, tuple[str, ...]]
    rest: re.Pattern[str]

    def holds(self, agent: str) -> bool:
        """Whether a pattern of the list is in an agent."""
        by_lead = self.by_lead
        for start in range(len(agent) - _LEAD + 1):
            texts = by_lead.get(agent[start : start + _LEAD])
            if texts is not None and agent.startswith(texts, start):
                return True
        return self.rest.search(agent) is not None


def is_machine_agent(agent: str) -> bool:
    """Whether a user agent is one of a machine; one that says nothing is not."""
    return _is_machine(agent[:_LONGEST_READ].strip())


@lru_cache(maxsize=_AGENTS_KNOWN)
def _is_machine(agent: str) -> bool:
    if not agent:
        return False
    return agent == _PREFETCHING_PROXY or _OURS.search(agent) is not None or _maintained_list().holds(agent)


@cache
def _maintained_list() -> _List:
    # Read here and not at the start, as it takes a tenth of a second that nobody needs who asks for help.
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    texts: defaultdict[str, list[str]] = defaultdict(list)
    rest = []
    for entry in CRAWLER_USER_AGENTS_DATA:
        pattern = str(entry["pattern"])
        text = _ESCAPED.sub("", pattern)
        if pattern in _FETCH_FOR_A_READER:
            continue
        if _SPECIAL.search(text) or len(text) < _LEAD:
            rest.append(f"(?:{pattern})")
        else:
            plain = _ESCAPED.sub(r"\1", pattern)
            texts[plain[:_LEAD]].append(plain)
    return _List({lead: tuple(found) for lead, found in texts.items()}, re.compile("|".join(rest)))
