"""The phases of a line and the moves between them. Pure.

Every move a line can make is in MOVES; what is not there cannot happen. The store calls `move` before it writes,
so an illegal move stops the cycle and never becomes a row that quietly disagrees with its ticket.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    RECEIVED = "received"
    HELD = "held"
    REFUSED = "refused"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    WAITING_FOR_SEAT = "waiting_for_seat"
    CONVERGING = "converging"
    VERIFYING = "verifying"
    GRANTED = "granted"
    DRIFTED = "drifted"
    EXPIRING = "expiring"
    REVOKING = "revoking"
    REVOKED = "revoked"
    REVIEW = "review"
    CANCELLED = "cancelled"


P = Phase
ENDING: frozenset[Phase] = frozenset({P.EXPIRING, P.REVOKING, P.REVOKED})  # whatever came before, a period ends
FINAL: frozenset[Phase] = frozenset({P.REVOKED, P.CANCELLED, P.REFUSED})
_WORKING = {P.APPROVED, P.WAITING_FOR_SEAT, P.CONVERGING, P.VERIFYING, P.GRANTED, P.DRIFTED}

# A cycle looks afresh each time, so a line may pass several of these within one cycle; only the ends are stored.
MOVES: dict[Phase, frozenset[Phase]] = {
    P.RECEIVED: frozenset({P.HELD, P.REFUSED, P.AWAITING_APPROVAL} | _WORKING),
    P.HELD: frozenset({P.RECEIVED, P.REFUSED, P.AWAITING_APPROVAL, P.EXPIRING} | _WORKING),
    P.REFUSED: frozenset({P.RECEIVED}),  # a changed ticket is a new decision
    P.AWAITING_APPROVAL: frozenset({P.HELD, P.REFUSED, P.RECEIVED} | _WORKING),
    P.APPROVED: frozenset({P.HELD, P.REFUSED, P.AWAITING_APPROVAL} | _WORKING),
    P.WAITING_FOR_SEAT: frozenset({P.HELD, P.AWAITING_APPROVAL} | _WORKING),
    P.CONVERGING: frozenset({P.HELD, P.AWAITING_APPROVAL} | _WORKING),
    P.VERIFYING: frozenset({P.HELD, P.AWAITING_APPROVAL} | _WORKING),
    P.GRANTED: frozenset({P.DRIFTED, P.EXPIRING, P.REVOKING, P.HELD, P.CONVERGING, P.VERIFYING, P.WAITING_FOR_SEAT}),
    P.DRIFTED: frozenset({P.GRANTED, P.EXPIRING, P.REVOKING, P.HELD, P.CONVERGING, P.VERIFYING, P.WAITING_FOR_SEAT}),
    P.EXPIRING: frozenset({P.REVOKING, P.GRANTED, P.HELD, P.DRIFTED}),
    P.REVOKING: frozenset({P.REVOKED, P.EXPIRING, P.GRANTED, P.DRIFTED, P.HELD}),
    P.REVOKED: frozenset({P.RECEIVED}),
    P.REVIEW: frozenset({P.RECEIVED, P.HELD, P.AWAITING_APPROVAL, P.EXPIRING, P.REVOKING} | _WORKING),
    P.CANCELLED: frozenset({P.RECEIVED}),
}


class IllegalMove(Exception):
    """A defect of ours: the loop wanted a move that the table does not have."""


def is_legal(old: Phase | None, new: Phase) -> bool:
    """Whether the table has the move; staying put and going to a person always are, and an end comes to any line."""
    if old is None or old == new or new in (P.REVIEW, P.CANCELLED) or new in MOVES[old]:
        return True
    return new in ENDING and old not in FINAL


def move(old: Phase | None, new: Phase) -> Phase:
    """Return `new` if a line may go there from `old` (None: it has no phase yet), staying put included.

    Raises:
        IllegalMove: the table has no such move.
    """
    if is_legal(old, new):
        return new
    raise IllegalMove(f"a line cannot go from {old} to {new}")
