"""One row as one syslog message, RFC 5424, and its frame on a stream, RFC 6587 (octet counting). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

PRIORITY = 13 * 8 + 5  # facility "log audit", severity "notice"
_UNFIT = re.compile(r"[^!-~]")


def message(at: datetime, host: str, kind: str, text: str) -> bytes:
    """The message: header, no structured data, and the row as UTF-8 JSON on one line."""
    when = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    header = f"<{PRIORITY}>1 {when} {_word(host, 255)} license-reconciler - {_word(kind, 32)} -"
    return f"{header} \ufeff{text}".encode()


def framed(said: bytes) -> bytes:
    """A message as it is sent over a stream: its length before it, so that its end is certain."""
    return b"%d %s" % (len(said), said)


def _word(text: str, length_max: int) -> str:
    return _UNFIT.sub("_", text)[:length_max] or "-"
