"""Links that a server hands us are followed only home: a next link elsewhere would carry our token away. Pure."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

_PORTS = {"https": 443, "http": 80}


def origin(url: str) -> tuple[str, str, int | None]:
    """(scheme, host, port) of an absolute URL, the scheme's own port filled in."""
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme.lower())


def leads_home(link: str, base_url: str, *, under: str = "") -> bool:
    """True when `link` is on the scheme, host and port of `base_url`, below its path and below `under`.

    User information, dot segments (encoded ones too), backslashes and control characters are never home.
    """
    try:
        parts = urlsplit(link)
        same = origin(link) == origin(base_url)
    except ValueError:
        return False
    path = unquote(parts.path)
    if not same or "@" in parts.netloc or "\\" in link or any(ord(c) < 33 for c in link):
        return False
    if any(segment in (".", "..") for segment in path.split("/")):
        return False
    prefix = urlsplit(base_url).path.rstrip("/") + under.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")
