"""Whether the tenant's clock goes as the stopwatch does: set to another time, or standing still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.daemon.timetable import stepped

STANDS_FROM_S = 120.0  # by the machine's stopwatch, and longer than any clock is slewed: it does not go any more


@dataclass(slots=True)
class ClockWatch:
    """What was seen of the clock: with the service's stopwatch at the last look (`seen`), and when it was last seen to
    go, by the machine's (`went`)."""

    seen: tuple[datetime, float]
    went: tuple[datetime, float]

    def set_by(self, at: datetime, now_s: float) -> timedelta | None:
        """By how much it was set since the last look, None when it was not."""
        by = stepped(self.seen[0], at, self.seen[1], now_s)
        self.seen = at, now_s
        return by

    def stands(self, at: datetime, wall_s: float) -> bool:
        """Whether it has not gone for long."""
        if at != self.went[0]:
            self.went = at, wall_s
        return wall_s - self.went[1] >= STANDS_FROM_S
