"""Who is next for a seat. Pure.

A ticket with priority first, then who was approved first, then who asked first, then by number: the order is the same
whatever order the lines come in. A place is kept from the approval on, also while the person's account is still on
its way or a failed attempt waits for its next one; what waits for an approval, for a person or for another cause
reserves nothing, and so holds nobody up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from desired_state.model import LineKey, Path, Request, Says, SkuId, UserId
from desired_state.resolve import NOT_STARTED
from reconciler.causes import Cause
from reconciler.lifecycle import Phase
from reconciler.line import Access, Decision, Finding, Gated, Line, Rest

AHEAD = timedelta(days=14)  # a start that is further away reserves nothing: two weeks are enough to buy a seat
_TRIED = frozenset({Phase.CONVERGING, Phase.VERIFYING, Phase.WAITING_FOR_SEAT})


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """The place of a line in every queue; smaller is served earlier."""

    is_ordinary: bool
    approved_at: datetime
    asked_at: datetime
    key: LineKey


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One seat that is waited for: whose turn it is, and of which SKU. `user` None: the account is not there yet."""

    turn: Turn
    sku: SkuId
    user: UserId | None = field(default=None, compare=False)
    since: datetime | None = field(default=None, compare=False)


def turn(line: Line) -> Turn:
    """When it is this line's turn. A line that was not taken in counts from when its ticket was opened."""
    declared = line.declared
    if isinstance(declared, Request):
        return Turn(not line.priority, declared.due_since, declared.requested_at, line.key)
    return Turn(not line.priority, line.ticket.opened_at, line.ticket.opened_at, line.key)


def in_turn(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order in which scarce things are given out."""
    return tuple(sorted(findings, key=lambda f: turn(f.line)))


def keeps_place(finding: Finding, at: datetime) -> bool:
    """Whether a line that nothing can be done for now will need a seat of its product soon: its account is not there
    yet, or its period begins within AHEAD. The licences of a group are not reserved one by one."""
    line = finding.line
    declared, product = line.declared, line.product
    if not isinstance(declared, Request) or product is None or product.path is not Path.DIRECT:
        return False
    if declared.says not in (Says.APPROVED, Says.FULFILLED):
        return False
    if finding.rest is Rest.WAIT:
        return finding.cause is Cause.USER_MISSING
    starts_on = declared.period.starts_on
    is_ahead = line.skipped.startswith(NOT_STARTED) and starts_on is not None and starts_on <= (at + AHEAD).date()
    return finding.rest is Rest.HOLD and is_ahead and not (finding.proof and finding.proof.access is Access.PROVEN)


def steps_aside(gated: Gated, at: datetime) -> bool:
    """Whether a line that was judged as if there were seats for all leaves them to others: it may not be sent."""
    if gated.decision not in (Decision.HELD, Decision.AWAITING, Decision.PLANNED):
        return False
    state = gated.proposal.finding.line.state
    backs_off = state is not None and state.phase in _TRIED and state.next_at is not None and state.next_at > at
    return not backs_off
