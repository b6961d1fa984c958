"""The few elements that our cards are made of. Pure.

`said` is for words of ours and may hold nothing that Markdown reads as more; whatever else is shown goes through `run`,
which a client shows letter by letter (approvals.md section 2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.cards.text import inert

Element = dict[str, Any]
# Words of ours: no brackets, stars, underscores, braces, backticks, backslashes, entities or line breaks. A mention is
# the one exception, and stands in a form of its own.
OURS = re.compile(r"[A-Za-z0-9 .,:;?()'/%+-]*")
MENTION = re.compile(r"<at>[^<>\[\]{}*_`\\&!|~#]{1,60}</at>")


GAP: Element = {"type": "TextRun", "text": " "}  # between two runs: an inert text has no blanks at its ends


def said(text: str, **looks: Any) -> Element:
    """A line in words of ours. Raises ValueError where it holds what only a `run` may hold."""
    if not OURS.fullmatch(text):
        raise ValueError(f"{text!r} is not for a TextBlock")
    return {"type": "TextBlock", "wrap": True, "text": text, **looks}


def heading(text: str, *, is_first: bool = False) -> Element:
    size = {"size": "Large"} if is_first else {}
    return said(text, style="heading", weight="Bolder", **size)


def small(text: str) -> Element:
    return said(text, isSubtle=True, size="Small")


def runs(*inlines: Element) -> Element:
    return {"type": "RichTextBlock", "inlines": list(inlines)}


def run(text: object, length_max: int, **looks: Any) -> Element:
    """Any text, made inert."""
    return {"type": "TextRun", "text": inert(text, length_max) or " ", **looks}


def cell(text: object, length_max: int, **looks: Any) -> Element:
    return {"type": "TableCell", "items": [runs(run(text, length_max, **looks))]}


def facts(rows: Iterable[tuple[str, object]], length_max: int) -> Element:
    """Names on the left, values on the right. Not a `FactSet`, whose values are Markdown."""
    lines = [
        {"type": "TableRow", "cells": [cell(name, 60, weight="Bolder"), cell(value, length_max)]}
        for name, value in rows
    ]
    return {
        "type": "Table",
        "firstRowAsHeaders": False,
        "showGridLines": False,
        "columns": [{"width": 1}, {"width": 3}],
        "rows": lines,
    }


def table(header: Sequence[str], rows: Iterable[Sequence[object]], widths: Sequence[int], length_max: int) -> Element:
    """A table with a header that a screen reader knows as one."""
    top = {"type": "TableRow", "style": "accent", "cells": [cell(name, 60, weight="Bolder") for name in header]}
    lines = [{"type": "TableRow", "cells": [cell(value, length_max) for value in row]} for row in rows]
    return {
        "type": "Table",
        "firstRowAsHeaders": True,
        "columns": [{"width": width} for width in widths],
        "rows": [top, *lines],
    }


def typed(label: str, text: object, length_max: int) -> Element:
    """What somebody wrote, set apart and called so."""
    body = runs(run(text if str(text).strip() else "nothing was written", length_max))
    return {"type": "Container", "style": "emphasis", "items": [said(label, weight="Bolder"), body]}


def open_url(title: str, url: str) -> Element:
    return {"type": "Action.OpenUrl", "title": title, "url": url}
