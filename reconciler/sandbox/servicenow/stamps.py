"""Instants as ServiceNow writes them: UTC, one-second resolution, no zone mark. Pure.

Source: servicenow.md section 6.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FORMAT = "%Y-%m-%d %H:%M:%S"
DATE_FORMAT = "%Y-%m-%d"
REMEMBERED = 4096  # a listing shows the same few stamps in every row of it


def stamp(at: datetime) -> str:
    """`2026-03-02 09:15:09`; fractions of a second are lost, as on the instance."""
    if at.tzinfo is None:
        raise ValueError("a stamp needs an aware instant")
    return at.astimezone(UTC).strftime(FORMAT)


@lru_cache(maxsize=REMEMBERED)
def instant(value: str) -> datetime | None:
    """The instant of a stored value (or of a bare date: its midnight), or None when it is no date."""
    for form in (FORMAT, DATE_FORMAT):
        try:
            return datetime.strptime(value, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def zone(name: str) -> ZoneInfo:
    """The zone of that name; an unknown or empty name is GMT."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


@lru_cache(maxsize=REMEMBERED)
def shown(value: str, time_zone: str, form: str = FORMAT) -> str:
    """A stored value as a user of that zone reads it; what is no date stays as it is."""
    at = instant(value)
    return value if at is None else at.astimezone(zone(time_zone)).strftime(form)


def from_local(value: str, time_zone: str) -> str:
    """What a user of that zone typed, as it is stored; what is no date stays as it is."""
    at = instant(value)
    return value if at is None else stamp(at.replace(tzinfo=zone(time_zone)))


def plus(value: str, seconds: float) -> str:
    """A stored value, later by `seconds`."""
    at = instant(value)
    if at is None:
        raise ValueError(f"not an instant: {value!r}")
    return stamp(at + timedelta(seconds=seconds))
