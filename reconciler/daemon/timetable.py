"""When the service does what. Pure: time and chance are arguments.

Intervals count on the service's stopwatch, so a clock that is set back or forward moves none of them; what is due at an
instant (an end date, a second try, a reminder) is compared with the clock, because the world's instants are its own.
`schedule` wakes the loop and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from reconciler.backoff import delay

SPREAD = 0.1  # of an interval, up and down, so that many services do not knock at the same second
RETRY_BASE_S = 15.0
ALARM_GAP_S = 10.0  # between two cycles that an instant calls for, so that a row of them is one cycle
STEP_S = 120.0  # clock and stopwatch may differ by so much between two looks


class Duty(StrEnum):
    """What comes again and again, the weightiest first."""

    FULL = "full scan"
    QUICK = "quick cycle"
    PULL = "ticket pull"
    NOTICES = "notices"
    CHECKPOINT = "checkpoint"


ALARM = "verification"  # a quick cycle at an instant of the world: a second look, an end date, a reminder
CYCLES = (Duty.FULL, Duty.QUICK)
REMOTE = (*CYCLES, Duty.PULL)


@dataclass(frozen=True, slots=True)
class Timetable:
    """`every` in seconds per duty; `next_s` when each is due on the stopwatch.

    `closed_until_s`: until then no system is asked, because one did not answer or said so. `failures` counts those that
    failed in a row. `alarm_at` is the next instant at which something of the world is due, `alarm_from_s` the earliest
    second for it. `is_called`: somebody asked for a cycle now.
    """

    every: Mapping[Duty, float]
    next_s: Mapping[Duty, float]
    failures: int = 0
    closed_until_s: float = 0.0
    alarm_at: datetime | None = None
    alarm_from_s: float = 0.0
    is_called: bool = False
    is_asked: bool = False  # to look whether tickets moved

    @classmethod
    def starting(cls, every: Mapping[Duty, float], now_s: float, *, first_after_s: float = 0.0) -> Timetable:
        """Everything is due at once, or after `first_after_s` where a system is asked. The first cycle is wanted
        whoever did one a moment ago: we may have died in it."""
        first = MappingProxyType(dict.fromkeys(every, now_s))
        return cls(MappingProxyType(dict(every)), first, closed_until_s=now_s + first_after_s, is_called=True)

    def paced(self, every: Mapping[Duty, float], now_s: float) -> Timetable:
        """The same with other intervals: what would now be due earlier is."""
        sooner = {duty: min(self.next_s.get(duty, now_s), now_s + span) for duty, span in every.items()}
        return replace(self, every=MappingProxyType(dict(every)), next_s=MappingProxyType(sooner))

    def due(self, now_s: float, at: datetime) -> Duty | None:
        """The one thing to do now, None when there is nothing. A cycle makes a pull unnecessary."""
        if now_s >= self.closed_until_s:
            for duty in CYCLES:
                if self._is_due(duty, now_s):
                    return duty
            if self.is_called or self._alarm_rings(now_s, at):
                return Duty.QUICK
            if self._is_due(Duty.PULL, now_s) or self.is_asked:
                return Duty.PULL
        return next((duty for duty in (Duty.NOTICES, Duty.CHECKPOINT) if self._is_due(duty, now_s)), None)

    def is_for_its_time(self, duty: Duty, now_s: float) -> bool:
        """Whether it is due because its interval is over, and not because somebody or something calls for it."""
        return self._is_due(duty, now_s) and not self.is_called

    def done(self, duty: Duty, now_s: float, chance: float) -> Timetable:
        """The duty was done: it comes again after its interval. A full scan was a cycle too, a cycle was a pull."""
        also = {Duty.FULL: (Duty.FULL, Duty.QUICK, Duty.PULL), Duty.QUICK: (Duty.QUICK, Duty.PULL)}.get(duty, (duty,))
        later = {one: now_s + jittered(self.every[one], chance) for one in also if one in self.every}
        told = replace(self, next_s=MappingProxyType({**self.next_s, **later}))
        if duty in CYCLES:
            return replace(told, failures=0, is_called=False, is_asked=False)
        return replace(told, is_asked=False) if duty is Duty.PULL else told

    def failed(self, duty: Duty, now_s: float, chance: float, *, retry_after_s: float | None = None) -> Timetable:
        """It did not work: again after a growing wait, and never sooner than a server asked for. What called for it
        still does."""
        if duty not in REMOTE:
            return self.done(duty, now_s, chance)
        failures = self.failures + 1
        cap_s = max(RETRY_BASE_S, self.every[Duty.QUICK])
        wait_s = delay(failures, retry_after_s=retry_after_s, base_s=RETRY_BASE_S, cap_s=cap_s, chance=chance)
        return replace(self, failures=failures, closed_until_s=now_s + wait_s)

    def put_off(self, duty: Duty, now_s: float, for_s: float) -> Timetable:
        """Somebody else does it, or did: look again later. What called for it is theirs now."""
        later = {duty: now_s + for_s}
        if duty in CYCLES and Duty.PULL in self.next_s:
            later[Duty.PULL] = max(self.next_s[Duty.PULL], now_s + for_s)
        return replace(self, next_s=MappingProxyType({**self.next_s, **later}), is_called=False, is_asked=False)

    def called(self) -> Timetable:
        """A cycle is wanted now: a person has answered, or tickets moved."""
        return replace(self, is_called=True)

    def wanted(self, duty: Duty, now_s: float) -> Timetable:
        """The duty is due now, whenever it would have come."""
        return replace(self, next_s=MappingProxyType({**self.next_s, duty: now_s}))

    def asked(self) -> Timetable:
        """Somebody says that tickets may have moved. What they say is not believed: we look."""
        return replace(self, is_asked=True)

    def alarmed(self, at: datetime | None, now_s: float) -> Timetable:
        """The next instant at which something is due, None when there is none."""
        return replace(self, alarm_at=at, alarm_from_s=now_s + ALARM_GAP_S)

    def earlier(self, by_s: float) -> Timetable:
        """The same on a stopwatch that was set back by so much."""
        if not by_s:
            return self
        return replace(
            self,
            next_s=MappingProxyType({duty: s - by_s for duty, s in self.next_s.items()}),
            closed_until_s=self.closed_until_s - by_s,
            alarm_from_s=self.alarm_from_s - by_s,
        )

    def next_cycle_s(self) -> float:
        """The second at which the next cycle is due by its interval."""
        return max(self.closed_until_s, min(self.next_s[duty] for duty in CYCLES))

    def next_look(self, now_s: float, at: datetime) -> tuple[float, str]:
        """The second at which somebody has to look again, and what for: of a fleet, where nobody waits meanwhile.

        Notices are not waited for: who owes one is known from the store. `at` is the clock at `now_s`.
        """
        found = [(max(self.next_s[duty], self.closed_until_s), duty.value) for duty in REMOTE if duty in self.next_s]
        if Duty.CHECKPOINT in self.next_s:
            found.append((self.next_s[Duty.CHECKPOINT], Duty.CHECKPOINT.value))
        if self.alarm_at is not None:
            rings_s = max(self.alarm_from_s, now_s + (self.alarm_at - at).total_seconds())
            found.append((max(rings_s, self.closed_until_s), ALARM))
        if self.is_called:
            found.append((self.closed_until_s, Duty.QUICK.value))
        if self.is_asked:
            found.append((self.closed_until_s, Duty.PULL.value))
        return min(found, key=lambda each: each[0])

    def _is_due(self, duty: Duty, now_s: float) -> bool:
        return duty in self.next_s and now_s >= self.next_s[duty]

    def _alarm_rings(self, now_s: float, at: datetime) -> bool:
        return self.alarm_at is not None and at >= self.alarm_at and now_s >= self.alarm_from_s


def to_text(table: Timetable) -> str:
    """A timetable for the one who looks next, on a stopwatch that both share. Intervals are the configuration's."""
    plain = {
        "next_s": {duty.value: s for duty, s in sorted(table.next_s.items())},
        "failures": table.failures,
        "closed_until_s": table.closed_until_s,
        "alarm_at": table.alarm_at.isoformat() if table.alarm_at is not None else None,
        "alarm_from_s": table.alarm_from_s,
        "is_called": table.is_called,
        "is_asked": table.is_asked,
    }
    return json.dumps(plain, separators=(",", ":"))


def from_text(text: str, every: Mapping[Duty, float], now_s: float) -> Timetable:
    """What `to_text` made. Duties that are new are due at once; `paced` sees to it that none is too late.

    Raises ValueError for anything else.
    """
    try:
        plain = json.loads(text)
        return Timetable(
            every,
            MappingProxyType({duty: float(plain["next_s"].get(duty.value, now_s)) for duty in every}),
            int(plain["failures"]),
            float(plain["closed_until_s"]),
            datetime.fromisoformat(plain["alarm_at"]) if plain["alarm_at"] is not None else None,
            float(plain["alarm_from_s"]),
            bool(plain["is_called"]),
            bool(plain["is_asked"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no timetable: {error!r}") from None


def jittered(span_s: float, chance: float) -> float:
    """The interval, up to a tenth shorter or longer; `chance` is in [0, 1)."""
    return span_s * (1 + SPREAD * (2 * chance - 1))


def stepped(at_before: datetime, at: datetime, s_before: float, now_s: float) -> timedelta | None:
    """By how much the clock was set, None when it went with the stopwatch."""
    by = (at - at_before) - timedelta(seconds=now_s - s_before)
    return by if abs(by.total_seconds()) >= STEP_S else None
