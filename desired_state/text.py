"""Text from outside, made safe to keep and to show (invariant I17). Pure.

Control characters, line breaks, bidirectional overrides and lone surrogates never get past this module: they can
forge a second line in a log or a note, or reorder what a reader sees. What is left is cut to a length.
"""

from __future__ import annotations

import re
import unicodedata

_CUT = "…"


def one_line(text: str, length_max: int) -> str:
    """`text` on one line of at most `length_max` characters, without anything invisible that steers display."""
    kept = text[: 20 * length_max]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_safe(char) for char in kept)
    line = " ".join(kept.split())
    return line if len(line) <= length_max else line[: length_max - 1].rstrip() + _CUT


def _safe(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Zs", "Zl", "Zp") or char in "\t\n\r\v\f":
        return " "
    return "" if category in ("Cc", "Cf", "Cs", "Co", "Cn") else char


_ADDRESS = re.compile(
    r"[A-Za-z0-9_+-](?:[A-Za-z0-9.!$&'*+/=?^_{|}~-]{0,62}[A-Za-z0-9_+-])?"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)


def is_address(text: str) -> bool:
    """Whether this is a plain mail address: no quoting or comment, nothing that a header or command reads as more."""
    return len(text) <= 254 and ".." not in text and bool(_ADDRESS.fullmatch(text))
