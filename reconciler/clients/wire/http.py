"""The one httpx client of a remote system: nothing from the environment, no cookies, no redirects, no endless reply.

Environment variables cannot route or unlock it (trust_env is off). Set-Cookie is dropped: ServiceNow answers 202
and does nothing when a session is busy (servicenow.md section 13). HTTP/1.1 with threads, one connection a thread.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from reconciler.clients.wire.sockets import DeadlineTransport
from reconciler.clock import Clock, SystemClock

USER_AGENT = "license-reconciler"


class _NoCookies(httpx.Cookies):
    """Takes none and gives none, without looking at a reply."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Nothing is kept."""

    def set_cookie_header(self, request: httpx.Request) -> None:
        """Nothing is sent."""


class _Client(httpx.Client):
    """A client that knows no cookies."""

    _none = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._none

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Nothing is kept."""


def make_http(
    transport: httpx.BaseTransport | None = None,
    *,
    ca_file: Path | None = None,
    connect_timeout_s: float = 10.0,
    read_timeout_s: float = 60.0,
    write_timeout_s: float = 30.0,
    pool_timeout_s: float = 60.0,
    max_connections: int = 8,
    stopwatch: Clock | None = None,
) -> httpx.Client:
    """A client over `transport`, or over sockets when it is None.

    `ca_file` replaces the built-in authorities (PEM). Time limits are seconds per step; the limit of a whole
    request is `Wire(deadline_s=…)`. `stopwatch` times sockets, which know only the machine's time.
    """
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=30.0
    )
    if transport is None:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        transport = DeadlineTransport(verify=verify, limits=limits, stopwatch=stopwatch or SystemClock())
    return _Client(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(
            connect=connect_timeout_s, read=read_timeout_s, write=write_timeout_s, pool=pool_timeout_s
        ),
        headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
    )
