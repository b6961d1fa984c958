"""Whether an approver may have somebody stand in for them, and for how long. Pure; rule A10.

A delegation has an end, is one level deep (`judge`), and gives nobody an answer to what is theirs: who stands in passes
every check that the approver passes, and the approver's own checks as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from reconciler.approvals.routes import Candidate
from reconciler.approvals.values import Delegation, Human, may_be_same

AHEAD = timedelta(days=366)  # how far in the future one may begin


@dataclass(frozen=True, slots=True)
class Wish:
    """What an approver typed: who, from which day, and until the end of which day, in UTC. No `starts_on` is now."""

    to: str
    ends_on: date | None
    starts_on: date | None = None


def arranged(
    of: Human, wish: Wish, found: Candidate | None, *, at: datetime, longest: timedelta, by: Human | None = None
) -> Delegation | str:
    """The delegation that a wish asks for, or the sentence why there is none. `found` is the account of `wish.to`.

    `by` is the administrator who arranges it for an approver; None: the approver does.
    """
    if "@" not in wish.to:
        return "Name who stands in for you, by their sign-in name."
    if wish.ends_on is None:
        return "A delegation has an end: name its last day."
    begins = _day(wish.starts_on) if wish.starts_on is not None else at
    starts_at, ends_at = max(begins, at), _day(wish.ends_on) + timedelta(days=1)
    if wish.starts_on is not None and wish.starts_on < at.astimezone(UTC).date():
        return "A delegation cannot begin on a day that is over."
    if ends_at <= starts_at:
        return "A delegation ends after it begins."
    if ends_at - starts_at > longest:
        return f"A delegation lasts at most {longest.days} days; name an earlier last day."
    if starts_at - at > AHEAD:
        return "A delegation begins within a year."
    if found is None:
        return "The directory has no account of this sign-in name."
    if may_be_same(of, found.human):
        return "Nobody stands in for themselves, by whichever account."
    if found.is_enabled is not True:
        return "This account is not active, so nobody can answer with it."
    if found.is_guest is not False:
        return "A guest cannot stand in for an approver."
    if by is not None and may_be_same(by, found.human):
        return "Whoever arranges it for somebody else does not stand in for them."
    who = by or of
    return Delegation(of, found.human, starts_at, ends_at, by=who.account, arranged_by=by)


def _day(day: date) -> datetime:
    """Its first instant. The last day of the calendar has no day after it."""
    return datetime.combine(min(day, date(9999, 12, 30)), time(), tzinfo=UTC)
