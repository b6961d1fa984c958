"""How many requests an instance may get within an hour of ours, and who may use the last of them. Pure.

Rate rules of ServiceNow count requests of a user within an hour of the clock, and say nothing of what remains
(servicenow.md section 13); so we count. Reading tickets stops before the end: what is left is for what has been begun,
answers to tickets and the looks around them. Requests are taken in lots, so that counting costs little; a lot that a
process did not use up is lost with the hour or with the process: too many are counted, never too few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

RESERVED = 0.1  # of the budget, for what is not reading tickets
LOTS = 200  # of a budget, about
LOT_MAX = 50
AHEAD_MAX = timedelta(hours=2)  # no two clocks that may write are further apart
# Operations of the client that read tickets and whoever they mention: they can wait.
PULLED = frozenset(
    {
        *("tickets", "variables", "multi_rows", "tasks", "approvals", "people", "touched", "changed_tasks"),
        *("people_named", "questions"),
    }
)


@dataclass(frozen=True, slots=True)
class Hour:
    """The hour that began at `began_at`, and how many requests were taken of it."""

    began_at: datetime
    taken: int = 0

    def ends_in_s(self, at: datetime) -> float:
        return max(0.0, (self.began_at + timedelta(hours=1) - at).total_seconds())


def hour_of(at: datetime) -> Hour:
    """The hour of the clock, of which nothing is taken."""
    return Hour(at.replace(minute=0, second=0, microsecond=0))


def lot(budget: int) -> int:
    """How many requests are taken at once."""
    return max(1, min(LOT_MAX, budget // LOTS))


def may_use(budget: int, *, can_wait: bool) -> int:
    """How many of an hour's requests may be taken by what can wait, or by what cannot."""
    return budget - round(budget * RESERVED) if can_wait else budget


def taken(hour: Hour, budget: int, *, at: datetime, can_wait: bool) -> tuple[Hour, int]:
    """The hour after a lot was taken of it, and how many requests that were: 0 when it is spent."""
    ours = hour_of(at)
    now = hour if hour.began_at >= ours.began_at else ours  # a clock that was set back a little opens no new hour
    if hour.began_at - ours.began_at > AHEAD_MAX:  # counted by a clock that was wrong: nobody waits until it is right
        now = Hour(ours.began_at, hour.taken)
    granted = min(lot(budget), may_use(budget, can_wait=can_wait) - now.taken)
    return (Hour(now.began_at, now.taken + granted), granted) if granted > 0 else (now, 0)
