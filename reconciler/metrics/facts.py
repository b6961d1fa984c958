"""What one line's cycle means in numbers: was it false, since when, how long did it take. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from desired_state.model import SkuId, Ticket, UserId
from reconciler.causes import Cause
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Ending, Finding, LineState
from reconciler.metrics.zeros import LATER
from reconciler.model import ObservedUser, Verdict
from reconciler.seats.book import Books

PENDING = frozenset({Cause.GROUP_PENDING.value, Cause.PROVISIONING_PENDING.value})  # waiting is no error
WORKING = frozenset({Phase.CONVERGING, Phase.VERIFYING})
_FLOW_USERS = frozenset({"", "system", "flow"})  # ServiceNow's own accounts: a flow ran as nobody


def is_drift(phase: Phase, cause: str | None, verdict: Verdict | None) -> bool:
    """Whether a line differs now from what was asked for; what is within its window does not count."""
    if cause is None or cause in PENDING or verdict is Verdict.PENDING:
        return False
    return phase not in FINAL and phase is not Phase.GRANTED


def drift_found(first: Finding, after: LineState | None) -> str | None:
    """The cause under which a line newly differs, None where it does not, or did so before for the same cause.

    What was mended within the cycle counts under what was found. A line on its way that nothing is wrong with yet is
    no drift. `after` None: nothing is known of the end yet.
    """
    before = first.line.state.cause if first.line.state is not None else None
    was_wrong = first.verdict is Verdict.FALSE or first.aftermath is not None or first.cause in LATER
    found = first.cause.value if first.cause is not None and was_wrong and first.cause not in PENDING else None
    if after is not None and is_drift(after.phase, after.cause, after.verdict):
        found = after.cause
    return found if found != before else None


def closed_by(ticket: Ticket, *, ours: Collection[str], flows: Collection[str]) -> str:
    """Who said that the ticket is fulfilled: human, flow or reconciler. Where nobody is named, it was a flow."""
    name = (ticket.closed_by or ticket.updated_by).casefold()
    if name in {user.casefold() for user in ours}:
        return "reconciler"
    return "flow" if name in _FLOW_USERS | {user.casefold() for user in flows} else "human"


def when(first: Finding) -> str:
    """`at_close` where the verdict is about what the closing left, `later` where it is about what came after it."""
    was_there = first.line.granted_at is not None or (
        first.line.state is not None and first.line.state.granted_at is not None
    )
    return "later" if was_there or first.cause in LATER else "at_close"


def new_verdict(first: Finding, after: LineState) -> Verdict | None:
    """The verdict that counts now: the first definite one, or the first time that it could not be told.

    Of a line that nobody judged before it was granted, a later loss is the first thing that is known.
    """
    before = first.line.state
    known = before.first_verdict if before is not None else None
    if known is None and after.first_verdict is not None:
        return after.first_verdict
    if known is None and first.aftermath is not None and after.reversals > (before.reversals if before else 0):
        return first.verdict if first.verdict is Verdict.FALSE else None
    is_news = before is None or before.verdict is not Verdict.UNKNOWN
    if known is None and first.verdict is Verdict.UNKNOWN and is_news and first.aftermath is None:
        return Verdict.UNKNOWN
    return None


@dataclass(frozen=True, slots=True)
class Move:
    """A line entered a phase."""

    at: datetime
    phase: Phase


@dataclass(frozen=True, slots=True)
class Times:
    """How long a line took, in seconds. None: it never was in that part."""

    technical: float
    seat: float | None
    approval: float | None
    verification: float | None


def times(moves: Sequence[Move], *, approved_at: datetime, until: datetime) -> Times:
    """From approval to proven access at `until`, by the line's moves, oldest first, the last one into its grant."""
    spans: dict[Phase, timedelta] = {}
    ends = [move.at for move in moves[1:]] + [until]
    waited = timedelta()  # after the approval, for what is not technical
    for move, end in zip(moves, ends, strict=True):
        spans[move.phase] = spans.get(move.phase, timedelta()) + (end - move.at)
        if move.phase in (Phase.WAITING_FOR_SEAT, Phase.AWAITING_APPROVAL) and end > approved_at:
            waited += end - max(move.at, approved_at)
    work: datetime | None = None
    for move in moves:
        if move.phase in WORKING:
            work = work or move.at
        elif move.phase is not Phase.GRANTED:
            work = None
    technical = max(timedelta(), until - approved_at - waited)
    return Times(
        technical.total_seconds(),
        _seconds(spans.get(Phase.WAITING_FOR_SEAT)),
        _seconds(spans.get(Phase.AWAITING_APPROVAL)),
        (until - work).total_seconds() if work is not None else None,
    )


def _seconds(span: timedelta | None) -> float | None:
    return span.total_seconds() if span is not None else None


def is_idle(endings: Iterable[Ending]) -> bool:
    """Whether nothing of these lines moved and nothing was done for them."""
    return all(not e.outcomes and e.state == e.gated.proposal.finding.line.state for e in endings)


def costs(endings: Iterable[Ending], books: Books, prices: Mapping[SkuId, Decimal]) -> dict[str, Decimal]:
    """What is held twice, and what was not bought because a bundle brings it; a month, once per person and product.

    Nothing is avoided where a seat that is paid for already would have been used.
    """
    every = tuple(endings)
    people = {e.finding.user.id: e.finding.user for e in every if e.finding.user is not None}
    twice = (prices[sku] for user in people.values() for sku in _held_twice(user) if sku in prices)
    avoided: dict[tuple[UserId, str], Decimal] = {}
    for e in every:
        user, product = e.finding.user, e.finding.line.product
        is_covered = e.state.phase is Phase.GRANTED and e.finding.covered_by is not None
        if not is_covered or user is None or product is None or product.price is None:
            continue
        if not any(books[sku].free > 0 for sku in product.candidate_skus if sku in books):
            avoided[user.id, product.key] = product.price
    return {"duplicate": sum(twice, Decimal(0)), "avoided": sum(avoided.values(), Decimal(0))}


def _held_twice(user: ObservedUser) -> set[SkuId]:
    """SKUs that are in force both directly and by a group."""
    rows = [a for a in user.assignments or () if a.is_in_force]
    return {a.sku for a in rows if a.group is None} & {a.sku for a in rows if a.group is not None}
