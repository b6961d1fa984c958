"""Text that is not ours, made inert before it stands in a card (I17). Pure.

Ticket text, names and group names are hostile: they must not become a link, a mention, a date, an image or a second
line. `inert` applies the rules of approvals.md section 2.2 that are about the text itself; that such text stands in a
`TextRun` only is checked by `check`, and that it is labelled is done where it is shown.
"""

from __future__ import annotations

import re
import unicodedata

LENGTH_MAX = 500
CUT = "…"
_READ_MAX = 8 * LENGTH_MAX  # nothing behind this can be shown; so no text costs more than this to look at
_GONE = frozenset({"Cf", "Cs", "Co", "Cn"})  # zero-width, bidirectional controls, halves of characters, no characters
_BLANK = frozenset({"Cc", "Zs", "Zl", "Zp"})
# Draw nothing, and are letters or marks all the same: Hangul and Khmer fillers, combining grapheme joiner, selectors.
_UNSEEN = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f") | {chr(c) for c in range(0xFE00, 0xFE10)}
_SCHEME = re.compile(r"(?i)\b(h)(tt)(ps?)(?=\s*:\s*/\s*/)|\b(javascript|vbscript|mailto|tel)(?=\s*:)")
_WWW = re.compile(r"(?i)\bwww(?=\.)")
_AT = re.compile(r"<\s*(/?)\s*(?=at\b)", re.IGNORECASE)


def inert(text: object, length_max: int = LENGTH_MAX) -> str:
    """The text on one line, visible, without anything a client could act on, at most `length_max` characters.

    NFC comes first and again last, so that nothing which the rules take away can come together anew.
    """
    kept = unicodedata.normalize("NFC", str(text)[:_READ_MAX])
    kept = "".join(_seen(char) for char in kept)
    kept = unicodedata.normalize("NFC", " ".join(kept.split()))
    kept = _SCHEME.sub(_no_scheme, kept)
    kept = _WWW.sub("www ", kept)
    kept = _AT.sub(r"< \1", kept)
    while "{{" in kept:
        kept = kept.replace("{{", "{ {")
    return kept if len(kept) <= length_max else kept[: length_max - len(CUT)].rstrip() + CUT


def callable_name(name: object) -> str:
    """A name as it may stand in a mention, the one place where such text is not in a `TextRun`: letters and digits
    of any script, apostrophes and hyphens inside of a word; nothing that Markdown or a client could read as more."""
    plain = inert(name, 60).rstrip(CUT)
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else c if c in "'’-" else " " for c in plain)
    words = [word.strip("'’-") for word in kept.split()]
    return " ".join(word for word in words if word) or "the approver"


def _seen(char: str) -> str:
    category = unicodedata.category(char)
    if category in _BLANK:
        return " "
    return "" if category in _GONE or char in _UNSEEN else char


def _no_scheme(found: re.Match[str]) -> str:
    """`https:` becomes `hxxps:`; a scheme that needs no slashes is parted from its colon: `javascript :`."""
    if found[1]:
        return f"{found[1]}xx{found[3]}"
    return f"{found[4]} "
