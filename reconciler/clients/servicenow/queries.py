"""Pieces of encoded queries, safe to splice. Pure. Source: servicenow.md section 2.

Ids, numbers and instants are checked against their form; free text is escaped. What cannot be escaped is refused: a
leading "javascript:" would be run by the server, and a comma would split a value inside an IN list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")
_SYS_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[A-Z]{2,12}[0-9]{3,20}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,95}")
_FORMAT = "%Y-%m-%d %H:%M:%S"
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def is_sys_id(text: str) -> bool:
    return _SYS_ID.fullmatch(text) is not None


def sys_id(text: str) -> str:
    """The text if it has the form of a sys_id. Raises ValueError."""
    if not is_sys_id(text):
        raise ValueError("not a sys_id")
    return text


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def key(text: str) -> str:
    """The text if it can be an idempotency key, at most 96 characters. Raises ValueError.

    A longer one would be cut silently in correlation_id and never be found again.
    """
    if not _KEY.fullmatch(text):
        raise ValueError("an idempotency key is 1 to 96 characters of A-Z a-z 0-9 : . _ / -")
    return text


def text(value: str) -> str:
    """Free text as a query value. Raises ValueError for what cannot be made safe."""
    has_controls = not value.isprintable() and any(ord(c) < 32 for c in value)  # ids, by the hundred, are printable
    if not value.strip() or value != value.strip() or has_controls:
        raise ValueError("a value to look up is empty, padded or holds control characters")
    if value.lower().startswith("javascript:"):
        raise ValueError("a value to look up must not be a script")
    return value.replace("^", "^^")


def equal(field: str, value: str) -> str:
    return f"{field}={text(value)}"


def among(field: str, values: Iterable[str]) -> str:
    """`field` IN values. Raises ValueError for a comma, which an IN list cannot escape, and for an empty list."""
    checked = [text(value) for value in values]
    if not checked or any("," in value for value in checked):
        raise ValueError("an IN list needs values, and none with a comma")
    return f"{field}IN{','.join(checked)}"


def any_of(field: str, values: Collection[str]) -> str:
    """`field` equal to one of the values, which may hold commas."""
    return "^OR".join(equal(field, value) for value in values)


def instant(at: datetime) -> str:
    """An instant as the instance reads it in a query: UTC, whole seconds (servicenow.md section 6)."""
    return at.astimezone(UTC).strftime(_FORMAT)


def read_instant(value: str) -> datetime | None:
    """The instant of a `value`, None when empty. Raises ValueError when it is none."""
    if not value:
        return None
    if not _STAMP.fullmatch(value):
        raise ValueError("not a time stamp of the Table API")
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]
