"""Weekly windows in which writes stop, or outside of which they do. Pure.

A window begins on a weekday at a time on the wall of its time zone and lasts so long in real hours: over a change of
the clocks it is neither shorter nor longer. Deny beats allow; where anything is allowed by window, the rest is denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from reconciler.line import Lane

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Window:
    """`days` are weekdays, 0 is Monday; without lanes it is about all of them."""

    name: str
    days: frozenset[int]
    at: time
    lasts: timedelta
    zone: tzinfo
    lanes: frozenset[Lane] = frozenset()
    is_allow: bool = False
    reason: str = ""

    def covers(self, at: datetime) -> datetime | None:
        """When the window that holds now ends; None outside of it. The end instant itself is outside."""
        local = at.astimezone(self.zone).date()
        for back in range(self.lasts.days + 2):
            day = local - timedelta(days=back)
            if day.weekday() not in self.days:
                continue
            begins = datetime.combine(day, self.at, tzinfo=self.zone).astimezone(UTC)
            if begins <= at < begins + self.lasts:
                return begins + self.lasts
        return None


@dataclass(frozen=True, slots=True)
class Stop:
    """Something that stops lanes now: `guard` is "kill switch" or "freeze"."""

    guard: str
    name: str
    lanes: frozenset[Lane]
    why: str

    def sentence(self, lane: Lane) -> str:
        return f"{self.name} stops lane {lane}: {self.why or 'no reason was given'}"


def frozen(windows: Iterable[Window], at: datetime) -> tuple[Stop, ...]:
    """The stops that configured windows make now."""
    every = tuple(windows)
    stops = []
    for window in every:
        until = window.covers(at)
        if not window.is_allow and until is not None:
            why = f"{window.reason or 'a freeze window of the configuration'}, until {until:%Y-%m-%d %H:%M} UTC"
            stops.append(Stop("freeze", window.name, window.lanes or frozenset(Lane), why))
    for lane in Lane:
        mine = [w for w in every if w.is_allow and (not w.lanes or lane in w.lanes)]
        if mine and all(w.covers(at) is None for w in mine):
            names = ", ".join(sorted(w.name for w in mine))
            stops.append(Stop("freeze", names, frozenset({lane}), "changes are made in these windows only"))
    return tuple(stops)
