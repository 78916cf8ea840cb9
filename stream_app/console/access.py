"""Who may look: the address it listens on, the token, the session cookie and the names it answers to. Pure.

Stands before the server. On the machine's own loopback address whoever is logged in may look, and only the Host
header is checked, against web pages that let a name of theirs point at 127.0.0.1 (DNS rebinding). On any other
address a token is asked for, in an Authorization header or by a form that gives a cookie. The cookie is signed with
the token and holds only when it ends, so that every console with the same token accepts it, after a restart too.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass

from stream_app.clock import DAY_MS
from stream_app.settings import ENV_PREFIX, Settings, SettingsError

COOKIE = "stream_app_console"
SESSION_MS = 7 * DAY_MS
_SHORTEST_TOKEN = 16
_BEARER = "Bearer "
_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@dataclass(frozen=True)
class Access:
    """What is asked of a request. ``token`` None: nothing but the right host."""

    token: str | None
    own_names_only: bool
    """Whether it answers only to the names of this machine's loopback address."""

    def accepts_host(self, host: str) -> bool:
        """Whether a Host header names us."""
        return not self.own_names_only or _without_port(host) in _OWN_NAMES

    def accepts(self, authorization: str, cookie: str, clock_ms: int) -> bool:
        """Whether a request's header or cookie lets it in."""
        if self.token is None:
            return True
        if authorization.startswith(_BEARER):
            return self.is_token(authorization.removeprefix(_BEARER))
        return self._is_session(cookie, clock_ms)

    def is_token(self, given: str) -> bool:
        """Whether somebody knows the token; takes as long for a near miss as for any other."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def new_session(self, clock_ms: int) -> str:
        """The cookie for somebody who knows the token."""
        ends = str(clock_ms + SESSION_MS)
        return f"{ends}.{self._sign(ends)}"

    def _is_session(self, cookie: str, clock_ms: int) -> bool:
        ends, _, signature = cookie.partition(".")
        signed = hmac.compare_digest(signature.encode(), self._sign(ends).encode())
        return signed and ends.isdigit() and clock_ms < int(ends)

    def _sign(self, ends: str) -> str:
        key = f"console session {self.token}".encode()
        return hmac.new(key, ends.encode(), hashlib.sha256).hexdigest()


def access_of(settings: Settings, is_open: bool = False, is_local: bool = False) -> Access:
    """What the settings ask for. ``is_open``: anybody who reaches it may look; ``is_local``: only this machine reaches it,
    whatever the address says, so that as on loopback no token is needed and the Host header is checked.

    Raises:
        SettingsError: the token is too short, or it would be open to others without anybody having said so.
    """
    host, _ = settings.console_address
    name = f"{ENV_PREFIX}CONSOLE_TOKEN"
    token = settings.console_token.get_secret_value() if settings.console_token else None
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise SettingsError(
            f"{name}=(hidden): at least {_SHORTEST_TOKEN} characters, such as `openssl rand -hex 24` writes"
        )
    own = is_local or is_loopback(host)
    if token is None and not own and not is_open:
        raise SettingsError(
            f"{ENV_PREFIX}CONSOLE_HTTP={settings.console_http!r}: others can reach that address, so set {name} "
            "(`openssl rand -hex 24` writes one), or say --open if everybody there may look"
        )
    return Access(token, own_names_only=is_local or (own and token is None))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0].lower()
