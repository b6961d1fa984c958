"""One closed line: was there access at the closing, as far as today's state and the directory's log can say. Pure.

Nothing is guessed. What the log no longer reaches is "likely" only where a reason stands in the directory today that
will have stood at the closing too; a licence that is merely absent may have been there and gone, which cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from desired_state.model import Product, Refusal, Request, SkuId
from desired_state.resolve import OVER
from desired_state.text import one_line
from reconciler.backtest.costs import cost
from reconciler.backtest.trail import Told, Turn, turns
from reconciler.backtest.values import Case, Judged, Standing, Step, Would
from reconciler.causes import CAUSES, Cause
from reconciler.line import Access, Finding, Known
from reconciler.loop.proof import prove
from reconciler.model import Assignment, AuditTrail, ObservedUser, SkuDetail, Verdict

CLOCKS = timedelta(minutes=5)  # clocks of two systems differ by less, and people assign and close in one go
# A reason that is seen today and does not come by itself: it will have stood when the ticket was closed.
STANDS = frozenset(
    {
        Cause.USAGE_LOCATION_MISSING,
        Cause.USAGE_LOCATION_REFUSED,
        Cause.PLAN_DISABLED,
        Cause.WRONG_PRODUCT,
        Cause.GROUP_ERROR,
        Cause.GROUP_NOT_WRITABLE,
        Cause.PLAN_CONFLICT,
        Cause.DEPENDENCY_MISSING,
        Cause.PROVISIONING_ERROR,
        Cause.WORKLOAD_UNPROVEN,
        Cause.USER_MISSING,
    }
)
# What an assignment itself says, with the date of its last change of state (graph.md section 7).
DATED = frozenset({Cause.PLAN_DISABLED, Cause.GROUP_ERROR, Cause.PLAN_CONFLICT})
_NEVER = Would(Step.NOTHING)


def judge(case: Case) -> Judged:
    """The class of one line, with its reason and its cost."""
    finding, line = case.finding, case.finding.line
    standing, why, late = _standing(case)
    cause, would = finding.cause, case.would or _NEVER
    if standing is Standing.REMOVED:  # whoever owns it is asked, and nothing is put back by itself
        cause = Cause.REMOVED_LATER
        would = Would(Step.ASK, (), CAUSES[cause].owner.value, why)
    is_told = finding.verdict is not Verdict.TRUE  # where access is there now, nothing is wrong that has a cause
    return Judged(
        number=line.key.ticket,
        line=line.key.line,
        person=finding.user.upn if finding.user is not None else one_line(line.names, 120),
        product=line.asks_for,
        group=one_line(case.group, 120),
        closed_at=case.closed_at,
        standing=standing,
        why=why,
        verdict=finding.verdict,
        cause=cause if is_told else None,
        would=would,
        late_s=late.total_seconds() if late is not None else None,
        cost=cost(case, standing),
    )


_Found = tuple[Standing, str, timedelta | None]


def _standing(case: Case) -> _Found:
    finding, line = case.finding, case.finding.line
    left = _has_left(finding)
    if left:
        return Standing.LEAVER, left, None
    if isinstance(line.declared, Refusal):
        return Standing.UNKNOWN, finding.sentence, None
    if line.skipped.startswith(OVER):
        return Standing.ENDED, "The period that was asked for is over.", None
    if case.closed_at is None:
        return Standing.UNKNOWN, "The ticket does not say when it was closed.", None
    match finding.verdict:
        case Verdict.TRUE:
            return _present(case, case.closed_at)
        case Verdict.FALSE:
            return _absent(case, case.closed_at)
        case Verdict.PENDING:
            return Standing.UNKNOWN, f"It is too early to tell. {finding.sentence}", None
    return Standing.UNKNOWN, finding.sentence or "It could not be read.", None


def _has_left(finding: Finding) -> str:
    """Why the person counts as gone, "" when they do not."""
    if finding.cause is Cause.SUBJECT_LEFT:
        return "The person's account is disabled."
    person = finding.line.person
    is_missing = finding.line.binding.known is Known.MISSING or finding.cause is Cause.USER_MISSING
    if is_missing and person is not None and person.is_active is False:
        return "The person is not active in ServiceNow any more, and there is no account."
    return ""


def _present(case: Case, closed_at: datetime) -> _Found:
    """There now: since when?"""
    user = case.finding.user
    assert user is not None
    if _is_younger(user, closed_at):
        assert user.created_at is not None
        why = f"The account was made on {_day(user.created_at)}, after the ticket was closed."
        return Standing.LATE_PROVEN, why, user.created_at - closed_at
    seen = dated(case)
    if any(at <= closed_at + CLOCKS for at in seen):
        return Standing.TRUE, "The licence has been as it is since before the closing.", None
    told = _turns(case, closed_at + CLOCKS)
    first = next((t for t in told or () if t.turn not in (Turn.OTHER, Turn.UNTOLD)), None)
    is_first = _reaches(case, closed_at)  # else it may have come, or gone and come back, in the time that is not shown
    match first.turn if first is not None else None:
        case Turn.GAINED | Turn.SWITCHED_ON:
            assert first is not None
            what = "licence given" if first.turn is Turn.GAINED else "service switched on"
            why = f"The directory's log shows the {what} on {_day(first.at)}, after the ticket was closed."
            return Standing.LATE_PROVEN if is_first else Standing.LATE_LIKELY, why, first.at - closed_at
        case Turn.LOST | Turn.SWITCHED_OFF:
            why = "The directory's log shows it taken away and so there before; it is there again."
            return Standing.TRUE if is_first else Standing.UNDATED, why, None
        case Turn.CHANGED:
            why = "The licence was there and was changed since; whether the service was on is not known."
            return Standing.UNDATED, why, None
    if seen:
        why = f"The licence last changed on {_day(min(seen))}, after the ticket was closed; the log does not say how."
        return Standing.LATE_LIKELY, why, min(seen) - closed_at
    if told == () and is_first:
        return Standing.TRUE, "The directory's log shows no change of licences since the closing.", None
    return Standing.UNDATED, "The licence is there; since when is not known.", None


def _absent(case: Case, closed_at: datetime) -> _Found:
    """Not there now: was it there at the closing?"""
    finding, said = case.finding, case.finding.sentence
    if finding.line.binding.known is Known.MISSING:
        return Standing.FALSE_LIKELY, f"{said} A deleted account is kept for 30 days and not shown.", None
    user = finding.user
    assert user is not None
    if _is_younger(user, closed_at):
        return Standing.FALSE_PROVEN, f"{said} The account did not exist when the ticket was closed.", None
    if finding.cause is Cause.WORKLOAD_UNPROVEN:  # of the service itself nothing is dated
        return Standing.FALSE_LIKELY, f"{said} That will have been so at the closing.", None
    told = _turns(case, closed_at + CLOCKS)
    first = next((t for t in told or () if t.turn is not Turn.OTHER), None)
    is_first = _reaches(case, closed_at)
    if first is not None and first.turn in (Turn.LOST, Turn.SWITCHED_OFF):
        why = f"It was there, and was taken away on {_day(first.at)}, as the log shows."
        if is_first:
            return Standing.REMOVED, why, None
        return Standing.UNKNOWN, f"{why} Whether it was there at the closing is not known.", None
    if first is not None and first.turn in (Turn.GAINED, Turn.SWITCHED_ON):
        why = f"{said} The log shows it given on {_day(first.at)}, and it is gone again."
        return Standing.FALSE_PROVEN if is_first else Standing.UNKNOWN, why, None
    if _is_dated_before(case, closed_at):
        return Standing.FALSE_PROVEN, f"{said} It has been so since before the closing.", None
    if first is not None:
        why = "Licences changed since the closing, and the directory's log does not say how."
        return Standing.UNKNOWN, f"{said} {why}", None
    if told is not None and is_first:
        return Standing.FALSE_PROVEN, f"{said} The log reaches back to the closing and shows nothing taken away.", None
    if finding.cause in STANDS:
        return Standing.FALSE_LIKELY, f"{said} That will have been so at the closing.", None
    return Standing.UNKNOWN, f"{said} It may have been there and gone: the log does not reach the closing.", None


def _is_dated_before(case: Case, closed_at: datetime) -> bool:
    """Whether every assignment that could have given it has been as it is since before the closing."""
    seen = dated(case)
    return case.finding.cause in DATED and bool(seen) and max(seen) <= closed_at


def _is_younger(user: ObservedUser, closed_at: datetime) -> bool:
    return user.created_at is not None and user.created_at > closed_at + CLOCKS


def _turns(case: Case, since: datetime) -> tuple[Told, ...] | None:
    """What the log shows since then; None where it was not read."""
    if not isinstance(case.trail, AuditTrail):
        return None
    product = case.finding.line.product
    group = product.group if product is not None else None
    return turns(case.trail, bearers(case.finding), services=case.services, group=group, since=since, until=case.at)


def _reaches(case: Case, closed_at: datetime) -> bool:
    """Whether nothing of the time since the closing is missing from the log, as far as the log itself tells."""
    return isinstance(case.trail, AuditTrail) and case.trail.is_whole and closed_at >= case.log_from


def bearers(finding: Finding) -> frozenset[SkuId]:
    """The licences that would give the product."""
    product, proof = finding.line.product, finding.proof
    own = product.candidate_skus + product.covering_skus if product is not None else ()
    return frozenset(own) | ({proof.sku} if proof is not None and proof.sku is not None else set())


def dated(case: Case) -> list[datetime]:
    """When the assignments that speak for the line last changed."""
    proof, user = case.finding.proof, case.finding.user
    if user is None or proof is None:
        return []
    skus = {proof.sku} if proof.sku is not None else bearers(case.finding)
    is_true = case.finding.verdict is Verdict.TRUE
    rows: Iterable[Assignment] = user.assignments or ()
    return [a.updated_at for a in rows if a.sku in skus and a.updated_at and (a.is_in_force or not is_true)]


def asks_the_log(finding: Finding, closed_at: datetime | None) -> bool:
    """Whether the log could say more than the state does: each question costs a request of a small allowance."""
    if closed_at is None or finding.user is None or not isinstance(finding.line.declared, Request):
        return False
    if finding.line.skipped.startswith(OVER) or finding.verdict not in (Verdict.TRUE, Verdict.FALSE):
        return False
    case = Case(finding, closed_at, closed_at, closed_at)
    seen = dated(case)
    if finding.verdict is Verdict.TRUE:
        is_told = any(at <= closed_at + CLOCKS for at in seen)
    else:
        is_told = _is_dated_before(case, closed_at)
    return not is_told and not _is_younger(finding.user, closed_at)


def instead(finding: Finding, held: Iterable[SkuDetail]) -> Product | None:
    """The product of the same form that somebody took for the one that was asked for."""
    if finding.cause is not Cause.WRONG_PRODUCT:
        return None
    line, details = finding.line, tuple(held)
    others = (p for p in line.siblings if p.key != line.asks_for)
    return next((p for p in others if prove(p, details).access is Access.PROVEN), None)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
