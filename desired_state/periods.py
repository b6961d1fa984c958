"""When what was granted ends, and when its ticket is reminded. Pure.

A duration runs from the verified grant; a date ends with that day where the person lives. Neither falls on a weekend:
it moves to the end of the following Monday, because nobody is at work to ask for more, and a person gains by it,
never loses. Public holidays are not known here.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from desired_state.model import Period

LAST_SECOND = time(23, 59, 59)  # the ticket system's clock has no finer one
SATURDAY = 5


def ends_at(period: Period, granted_at: datetime | None, zone: tzinfo) -> datetime | None:
    """The instant, aware UTC, from which the period is over; None when it is open or its duration has not begun.

    `zone` is where the person lives. An end on a Saturday or Sunday there moves to the end of the following Monday,
    for the person's benefit. With both a date and a duration the earlier one counts: nobody approved more.
    """
    ends: list[datetime] = []
    if period.ends_on is not None:
        ends.append(_end_of(period.ends_on, zone))
    if period.duration_days is not None and granted_at is not None:
        ends.append(granted_at + timedelta(days=period.duration_days))
    return _off_weekend(min(ends), zone) if ends else None


def reminds_at(end: datetime, granted_at: datetime | None, remind_s: float) -> datetime:
    """When the ticket is told that the end is near: `remind_s` before it, yet never in the first half of the grant."""
    wanted = end - timedelta(seconds=remind_s)
    if granted_at is None or granted_at >= end:
        return wanted
    return max(wanted, granted_at + (end - granted_at) / 2)


def zone_of(name: str | None, default: tzinfo) -> tzinfo:
    """The time zone of that name, `default` when there is none (sys_user.time_zone is often empty)."""
    if not name or not name.strip():
        return default
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return default


def _end_of(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, LAST_SECOND, tzinfo=zone).astimezone(UTC)


def _off_weekend(end: datetime, zone: tzinfo) -> datetime:
    day = end.astimezone(zone).date()
    if day.weekday() < SATURDAY:
        return end.astimezone(UTC)
    return _end_of(day + timedelta(days=7 - day.weekday()), zone)
