"""Words that a remote system said, made safe to repeat: short, on one line, without anything secret. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite

DETAIL_MAX = 400

# A token in any spelling: three dotted base64 parts, an authorization header, or a form field that carries a secret.
_SECRETS = (
    re.compile(r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=~-]{6,}"),
    re.compile(
        r"(?i)\b(?:client_secret|client_assertion|access_token|refresh_token|password|x-sn-apikey|sig)\b"
        r"[\"']?\s*[=:]\s*[\"']?[^\s\"'&,;}]+"
    ),
)
_TITLE = re.compile(rb"(?is)<title[^>]*>(.{0,200}?)</title>")


def cut(text: object, *, limit: int = DETAIL_MAX) -> str:
    """The text on one line, without control characters and secrets, at most `limit` characters."""
    said = str(text)[: limit * 8]
    if not said.isprintable():
        said = "".join(c if c.isprintable() else " " for c in said)
    line = " ".join(said.split())
    for secret in _SECRETS:
        line = secret.sub("[removed]", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def html_title(body: bytes) -> str:
    """The title of an HTML page, "" when it has none: often the only hint at who answered instead of the API."""
    found = _TITLE.search(body[:20_000])
    return cut(found.group(1).decode("utf-8", "replace"), limit=80) if found else ""


def looks_like_html(content_type: str, body: bytes) -> bool:
    return "html" in content_type.lower() or body.lstrip()[:1] == b"<"


@lru_cache(maxsize=64)  # the replies of one second bear the same one, and each is read twice
def http_date(text: str | None) -> datetime | None:
    """An HTTP date as an aware instant in UTC, None when it is none."""
    if not text:
        return None
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def retry_after_s(text: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for: whole, fractional ("2.128") or an HTTP date. None when it says nothing.

    Source: graph.md section 9; RFC 9110 section 10.2.3.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        at = http_date(text)
        return None if at is None else max(0.0, (at - now).total_seconds())
    return max(0.0, seconds) if isfinite(seconds) else None
