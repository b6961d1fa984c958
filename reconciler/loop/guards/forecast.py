"""Known end dates a week ahead, so that a day with many of them is released before it stops. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from reconciler.digest import digest
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import LineState

AHEAD = timedelta(days=7)
STANDING = frozenset({Phase.GRANTED, Phase.DRIFTED, Phase.EXPIRING, Phase.REVOKING})


@dataclass(frozen=True, slots=True)
class EndingDay:
    """What ends on one day (UTC): names of ends, `users` who may lose something, and what a release of it names."""

    day: date
    ends: tuple[str, ...]
    users: int
    digest: str


def end_name(state: LineState) -> str:
    """One end: the line, and when. A period that is changed later has another name, which no release covers."""
    assert state.ends_at is not None
    return f"{state.key}@{state.ends_at.isoformat()}"


def forecast(states: Iterable[LineState], at: datetime) -> tuple[EndingDay, ...]:
    """The days of the next week on which something ends that we know of, what is overdue among today's."""
    days: dict[date, list[LineState]] = {}
    for state in states:
        is_standing = state.phase in STANDING and state.phase not in FINAL
        if is_standing and state.ends_at is not None and state.ends_at < at + AHEAD:
            days.setdefault(max(state.ends_at, at).date(), []).append(state)
    found = []
    for day, ending in sorted(days.items()):
        names = tuple(sorted(end_name(s) for s in ending))
        users = len({s.user or str(s.key) for s in ending})
        found.append(EndingDay(day, names, users, digest({"day": day.isoformat(), "ends": list(names)})))
    return tuple(found)
