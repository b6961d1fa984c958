"""The log as a table for a spreadsheet: one row a line, every cell inert. Pure.

A cell that begins like a formula (= + - @, or what a reader turns into one) gets an apostrophe before it; control
characters, line breaks and marks that reorder text are written out, so that no text makes a second row (I17).
Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.audit.kinds import events_of

COLUMNS = (
    "tenant", "seq", "at", "kind", "events", "subject", "actor", "cycle", "action", "result", "lines", "from", "to",
    "cause", "digest", "plan", "request_id", "client_request_id", "words", "body", "hash",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")
CELL_MAX = 32_000  # a spreadsheet takes 32 767 characters


def lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The table, line by line, its header first."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line(tuple(_cell(row, name) for name in COLUMNS))


def inert(text: str) -> str:
    """Text that no spreadsheet runs and that stays on its line."""
    shown = "".join(_shown(char) for char in text[:CELL_MAX])
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else shown


def _cell(row: Mapping[str, Any], name: str) -> str:
    body = row["body"] if isinstance(row.get("body"), Mapping) else {}
    if name == "body":
        return inert(json.dumps(row.get("body"), ensure_ascii=False, sort_keys=True))
    if name == "events":
        return inert(" ".join(events_of(row)))
    if name == "words":
        value = body.get("words") or body.get("sentence") or body.get("comment") or body.get("reason") or ""
    else:
        value = row.get(name, body.get(name, ""))
    if isinstance(value, list):
        value = " ".join(str(v) for v in value)
    return inert("" if value is None else str(value))


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _shown(char: str) -> str:
    return f"\\u{ord(char):04x}" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else char
