"""How much of a request is believed: its origin, its address, its form token, where it may go next. Pure.

The public address comes from the configuration only, never from `Host`; `X-Forwarded-For` counts only where the
configuration names the proxy that the connection comes from (approvals.md 3.2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

APPROVAL_ID = re.compile(r"LR-[A-Z2-7]{26}")
TICKET_NUMBER = re.compile(r"[A-Z]{2,8}[0-9]{4,20}")
_PLACES = re.compile(
    r"/(?:(?:inbox|inbox/delegation|tickets|seats|guards|promotion|audit)?"
    rf"|approvals/{APPROVAL_ID.pattern}|tickets/{TICKET_NUMBER.pattern})"
)
HOME = "/inbox"


def same_origin(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether a form was sent from a page of ours.

    `Sec-Fetch-Site` comes from the browser, a page cannot set it. Our pages have `Referrer-Policy: no-referrer`, under
    which a browser sends `Origin: null` with its own forms (Fetch standard, "append a request Origin header"; seen in
    Chromium 156); so "null" is good enough beside `Sec-Fetch-Site: same-origin`, and never alone.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if site is None:
        return origin == public_url
    return origin in (None, "null", public_url)


def form_token(session: str) -> str:
    """The token that every form of a session carries: made from the session's secret, so it is kept nowhere."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def is_form_token(given: str, session: str) -> bool:
    """Whether a form carries the token of its session; compared in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), form_token(session).encode())


def issue_key(session: str, subject: str, at: datetime, nonce: str) -> str:
    """An idempotency key for one form: when it was shown, a part that no other has, and a mark that we made it."""
    plain = f"{int(at.timestamp())}.{nonce}"
    return f"{plain}.{_mark(session, subject, plain)}"


def shown_at(key: str, session: str, subject: str) -> datetime | None:
    """When the form with this key was shown to this session for this subject; None for a key that is not ours."""
    plain, _, mark = key.rpartition(".")
    if not hmac.compare_digest(mark.encode("utf-8", "replace"), _mark(session, subject, plain).encode()):
        return None
    return datetime.fromtimestamp(int(plain.partition(".")[0]), UTC)


def _mark(session: str, subject: str, plain: str) -> str:
    text = f"key\n{subject}\n{plain}".encode("utf-8", "replace")
    return hmac.new(session.encode("utf-8", "replace"), text, hashlib.sha256).hexdigest()[:32]


def place(path: str) -> str:
    """Where to go after sign-in: the page that was asked for when it is one of ours, else the inbox.

    It is kept on the server with the flow. A URL from a query is never used.
    """
    return path if _PLACES.fullmatch(path) else HOME


def client_address(peer: str, forwarded_for: str | None, proxies: Collection[str]) -> str:
    """Where a request comes from, for the record of a decision.

    `peer` is the other end of the connection. Only when it is one of `proxies` (addresses or networks) does
    `forwarded_for` count: then its last address that is no proxy of ours, since all before could be invented.
    """
    if not forwarded_for or not _is_listed(peer, proxies):
        return peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",")[-20:]]):
        if not _is_address(hop):
            return peer
        if not _is_listed(hop, proxies):
            return hop
    return peer


def is_open_to(
    peer: str, forwarded: Collection[str | None], proxies: Collection[str], networks: Collection[str], *, hop: str
) -> bool:
    """Whether a request comes from a network that reads the open pages without sign-in.

    `hop` is what `client_address` makes of the connection; `forwarded` are the headers that a proxy sets. A connection
    that was forwarded by somebody who is no proxy of ours could come from anywhere, so it does not count.
    """
    was_forwarded = any(forwarded)
    if was_forwarded and not _is_listed(peer, proxies):
        return False
    return _is_listed(hop, networks)


def is_our_name(host: str | None, public_url: str) -> bool:
    """Whether the `Host` of a request is the public address: a page of somebody else, whose name was made to lead here
    (DNS rebinding), cannot claim that."""
    return host is not None and host.lower() == urlsplit(public_url).netloc.lower()


def public_base(public_url: str | None, host: str, port: int, *, is_tls: bool) -> str:
    """The address that browsers use: the configured one, else `localhost` or the host that is listened on.

    Entra takes plain http in a redirect address for `localhost` only, hence the name and not the number.
    """
    if public_url:
        return public_url.rstrip("/")
    scheme = "https" if is_tls else "http"
    name = "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    usual = (scheme, port) in (("http", 80), ("https", 443))
    return f"{scheme}://{name}" if usual else f"{scheme}://{name}:{port}"


def security_headers(public_url: str, login_url: str) -> dict[str, str]:
    """The headers of every answer (approvals.md 3.2). `login_url` is where a form may lead: sign-in at Entra."""
    parts = urlsplit(login_url)
    login = f"{parts.scheme}://{parts.netloc}"
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; form-action 'self' {login}; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if public_url.startswith("https://"):  # over plain http it would be ignored (RFC 6797, 8.1)
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_listed(address: str, proxies: Collection[str]) -> bool:
    if not _is_address(address):
        return False
    found = ip_address(address)
    return any(found in ip_network(proxy, strict=False) for proxy in proxies)
