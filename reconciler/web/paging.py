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

CURSOR_MAX = 200


class BadCursor(ValueError):
    """A cursor that no page of ours ended with."""


def line_cursor(last: Listed) -> str:
    """Where a page that ended with this line goes on."""
    told = [last.since.astimezone(UTC).isoformat(), last.key.ticket, last.key.line]
    return base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Where to go on.

    Raises:
        BadCursor: it is not one of `line_cursor`.
    """
    if len(cursor) > CURSOR_MAX:
        raise BadCursor("the cursor is none that a page ended with")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        since, ticket, line = json.loads(raw)
        at = datetime.fromisoformat(since)
    except (ValueError, TypeError, binascii.Error):
        raise BadCursor("the cursor is none that a page ended with") from None
    is_line = isinstance(ticket, str) and ticket.isprintable() and type(line) is int and 0 < line < 2**31
    if at.tzinfo is None or not is_line:
        raise BadCursor("the cursor is none that a page ended with")
    return Place(at, LineKey(ticket, line))
