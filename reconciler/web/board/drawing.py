"""Trends as lines of an inline SVG, ages as words. Pure. Nothing is said by a drawing alone: each has its words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.tallies import Trend

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A line in a box of `width` by `height`: `points` and `area` as SVG takes them, "" where nothing is known."""

    width: int
    height: int
    points: str
    area: str
    end_x: str
    end_y: str
    words: str


def drawn(trend: Trend, *, width: int = 120, height: int = 28, edge: int = 3) -> Drawing:
    """The trend from zero up to its own highest number. One that is known for a day only is a point."""
    days = trend.days
    highest = max([1, *(n for n in days if n is not None)])
    step = (width - 2 * edge) / max(1, len(days) - 1)
    spots = [
        (edge + step * n, height - edge - (height - 2 * edge) * value / highest)
        for n, value in enumerate(days)
        if value is not None
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    base = height - edge
    area = f"{spots[0][0]:.1f},{base} {points} {spots[-1][0]:.1f},{base}" if spots else ""
    end_x, end_y = (f"{n:.1f}" for n in (spots[-1] if spots else (0.0, 0.0)))
    return Drawing(width, height, points, area, end_x, end_y, told(trend))


def told(trend: Trend) -> str:
    """A trend in words, for whoever does not see it."""
    known = [n for n in trend.days if n is not None]
    if not known:
        return "no history yet"
    if len(known) == 1:
        return f"{known[0]} today, no history before"
    return f"{len(known)} days: from {known[0]} to {known[-1]}, highest {max(known)}, lowest {min(known)}"


def change(trend: Trend) -> str:
    """The change in a week, as people read it."""
    week = trend.week
    if week is None:
        return "not known"
    if week == 0:
        return "the same"
    return f"{abs(week)} {'more' if week > 0 else 'fewer'}"


def age(since: datetime | None, at: datetime) -> str:
    """How long ago, in the largest unit that fits; "" for never. A clock that was ahead gives no age below zero."""
    if since is None:
        return ""
    past = max(at - since, timedelta())
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if past >= unit:
            return f"{past // unit}\u00a0{name}"
    return "now"
