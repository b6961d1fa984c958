"""When a stage is reminded of, escalated and expired, and how long an approval holds. Pure; rules A7 and A8.

No answer in time is no approval and no refusal either: the request expires and a person takes it from there. An
approval that waits for a seat, a freeze or a proof does not age meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from reconciler.approvals.values import Approval, Channel, Stage, State

CLOCKS_DIFFER = timedelta(minutes=10)  # at most, between two of our own machines
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days count for an approver's clock: weekdays (Monday is 0) without holidays, in the tenant's zone."""

    days: frozenset[int] = EVERY_DAY
    holidays: frozenset[date] = frozenset()
    zone: tzinfo = UTC

    def after(self, start: datetime, span: timedelta) -> datetime:
        """The instant at which `span` of counting days has passed since `start`, in UTC."""
        if self.days == EVERY_DAY and not self.holidays:
            return start + span
        if not self.days:
            raise ValueError("a calendar without a working day never ends")
        at, left = start.astimezone(UTC), span
        while True:
            day = at.astimezone(self.zone).date()
            ends = datetime.combine(day + timedelta(days=1), time(), tzinfo=self.zone).astimezone(UTC)
            if day.weekday() not in self.days or day in self.holidays:
                at = ends
                continue
            if at + left <= ends:
                return at + left
            at, left = ends, left - (ends - at)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of a stage. Reminders are per cent of the time until it expires."""

    remind_percent: tuple[int, ...] = (25, 75)
    escalate_after: timedelta = timedelta(days=2)
    expire_after: timedelta = timedelta(days=5)
    calendar: Calendar = field(default_factory=Calendar)


class Due(StrEnum):
    REMIND = "remind"
    ESCALATE = "escalate"
    EXPIRE = "expire"


def started(stage: Stage, at: datetime, clocks: Clocks) -> Stage:
    """The stage with its clocks running from `at`."""
    after = clocks.calendar.after
    return replace(
        stage,
        opened_at=at,
        remind_at=tuple(after(at, clocks.expire_after * percent / 100) for percent in sorted(clocks.remind_percent)),
        escalate_at=after(at, clocks.escalate_after),
        expires_at=after(at, clocks.expire_after),
        reminded=0,
        escalated_at=None,
    )


def due(approval: Approval, at: datetime) -> tuple[Due, ...]:
    """What the open stage's clocks ask for now. Of several reminders that were missed, one is given."""
    stage = approval.stage
    if stage is None or stage.opened_at is None:
        return ()
    if stage.expires_at is not None and stage.expires_at <= at:
        return (Due.EXPIRE,)
    found = []
    if stage.escalate_at is not None and stage.escalate_at <= at and stage.escalated_at is None:
        found.append(Due.ESCALATE)
    if _passed(stage.remind_at, at) > stage.reminded:
        found.append(Due.REMIND)
    return tuple(found)


def reminded(approval: Approval, at: datetime) -> Approval:
    """The request with every reminder that is due counted as given."""
    stage = approval.stages[approval.at]
    stages = list(approval.stages)
    stages[approval.at] = replace(stage, reminded=_passed(stage.remind_at, at))
    return replace(approval, stages=tuple(stages))


def rests(approval: Approval, at: datetime) -> Approval:
    """The approval waits, through no fault of its own, from now on: it does not age.

    One by break-glass holds for its hour and no longer, whatever it waits for (A12): the emergency does not wait.
    """
    if approval.state is not State.APPROVED or approval.resting_since is not None:
        return approval
    if any(d.channel is Channel.BREAK_GLASS for d in approval.decisions):
        return approval
    return replace(approval, resting_since=at)


def resumes(approval: Approval, at: datetime) -> Approval:
    """What it waited for is there: its time goes on where it stood."""
    if approval.resting_since is None or approval.valid_until is None:
        return approval
    waited = max(at - approval.resting_since, timedelta(0))
    return replace(approval, valid_until=approval.valid_until + waited, resting_since=None)


def has_lapsed(approval: Approval, at: datetime) -> bool:
    """Whether nobody may act on this approval any more. What was begun in time is finished."""
    if approval.state is not State.APPROVED or approval.resting_since is not None:
        return False
    return approval.valid_until is None or approval.valid_until <= at


def is_ahead(approval: Approval, at: datetime) -> bool:
    """Whether an answer is dated later than now: our clock went back, and how old the answer is cannot be told."""
    return any(d.decided_at > at + CLOCKS_DIFFER for d in approval.decisions)


def _passed(instants: Collection[datetime], at: datetime) -> int:
    return sum(1 for instant in instants if instant <= at)
