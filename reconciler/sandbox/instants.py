"""How Graph writes instants."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)
def iso(at: datetime) -> str:
    """Whole seconds, "2026-11-02T09:00:00Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(at: datetime | None) -> str | None:
    return None if at is None else iso(at)


def iso_fine(at: datetime) -> str:
    """With microseconds, always: texts of this form sort as their instants do."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
