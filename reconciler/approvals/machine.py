"""The states of a request for approval and the moves between them. Pure.

Every move is in MOVES; what is not there cannot happen, and nothing ever goes back. The store makes each move through
`move` and writes one row of the audit log for it.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.approvals.values import Approval, State

S = State
MOVES: dict[State, frozenset[State]] = {
    S.DRAFT: frozenset({S.PENDING, S.CANCELLED, S.VOID}),
    S.PENDING: frozenset({S.APPROVED, S.REJECTED, S.EXPIRED, S.CANCELLED, S.VOID, S.SUPERSEDED}),
    S.APPROVED: frozenset({S.EXECUTING, S.EXPIRED, S.CANCELLED, S.VOID, S.SUPERSEDED}),
    S.EXECUTING: frozenset({S.DONE, S.FAILED, S.PARTLY}),
    S.DONE: frozenset(),
    S.FAILED: frozenset(),
    S.PARTLY: frozenset(),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset(),
    S.CANCELLED: frozenset(),
    S.VOID: frozenset(),
    S.SUPERSEDED: frozenset(),
}
OPEN: frozenset[State] = frozenset(state for state, after in MOVES.items() if after)
FINAL: frozenset[State] = frozenset(State) - OPEN


class IllegalMove(Exception):
    """A defect of ours: something wanted a move that the table does not have."""


def move(approval: Approval, to: State, *, reason: str = "") -> Approval:
    """The request in its new state. `reason` is kept where it ends.

    Raises:
        IllegalMove: the table has no such move.
    """
    if to not in MOVES[approval.state]:
        raise IllegalMove(f"a request for approval cannot go from {approval.state} to {to}")
    return replace(approval, state=to, reason=reason or approval.reason)
