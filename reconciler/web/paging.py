"""Cursors: where a page ended, as text that says nothing to whoever carries it on. Pure.

A cursor is no secret and proves nothing: one that somebody made up begins a page somewhere else, in the same tenant.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime

from desired_state.model import LineKey
from reconciler.store.tallies import Listed, Place

CURSOR_MAX = 400  # characters; the longest name of a product fits twice
NONE = "the cursor is none that a page ended with"


class BadCursor(ValueError):
    """A cursor that no page of ours ended with."""


def line_cursor(last: Listed) -> str:
    """Where a page that ended with this line goes on."""
    return _written(last.since.astimezone(UTC).isoformat(), last.key.ticket, last.key.line)


def place_of(cursor: str) -> Place:
    """Where to go on.

    Raises:
        BadCursor: it is not one of `line_cursor`.
    """
    match _read(cursor):
        case [str(since), str(ticket), int(line)] if ticket.isprintable() and 0 < line < 2**31:
            try:
                at = datetime.fromisoformat(since)
            except ValueError:
                raise BadCursor(NONE) from None
            if at.tzinfo is not None:
                return Place(at, LineKey(ticket, line))
    raise BadCursor(NONE)


def names_cursor(*names: str) -> str:
    """Where a page in the order of names goes on."""
    return _written(*names)


def names_of(cursor: str) -> tuple[str, str]:
    """The product and the cause that a page ended with.

    Raises:
        BadCursor: it is not one of `names_cursor`.
    """
    match _read(cursor):
        case [str(product), str(cause)]:
            return product, cause
    raise BadCursor(NONE)


def _written(*told: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(cursor: str) -> object:
    if len(cursor) > CURSOR_MAX:
        raise BadCursor(NONE)
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error):
        raise BadCursor(NONE) from None
