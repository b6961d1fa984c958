"""What was suggested against what was selected: the fate of proposals, and how often people agreed. Pure.

A proposal counts as *changed* when it was not carried out and a person asked for another product for the same account
within `CHANGED_WITHIN` of it: that is what people selected instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.approvals.values import State
from reconciler.lifecycle import Phase

CHANGED_WITHIN = timedelta(days=14)
FATES = ("filed", "held", "waiting", "approved", "rejected", "expired", "void", "cancelled", "changed")
_BY_STATE: Mapping[State, str] = {
    State.DRAFT: "waiting",
    State.PENDING: "waiting",
    State.APPROVED: "approved",
    State.EXECUTING: "approved",
    State.DONE: "approved",
    State.FAILED: "approved",
    State.PARTLY: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
    State.VOID: "void",
    State.SUPERSEDED: "void",
}
_OPEN = ("filed", "held", "waiting")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One proposal and how it stands. `user` is the account that it was bound to, `approval` its newest request's."""

    number: str
    agent: str
    product: str
    at: datetime
    user: str | None = None
    phase: Phase | None = None
    approval: State | None = None
    is_withdrawn: bool = False  # by its agent


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person asked for, by a ticket of their own."""

    ticket: str
    user: str
    product: str
    at: datetime


def fate(suggestion: Suggestion) -> str:
    """What became of a proposal so far; one of FATES but "changed"."""
    if suggestion.is_withdrawn:
        return "cancelled"
    if suggestion.approval is not None:
        return _BY_STATE[suggestion.approval]
    match suggestion.phase:
        case None | Phase.RECEIVED:
            return "filed"
        case Phase.CANCELLED | Phase.REFUSED:
            return "cancelled"
        case _:
            return "held"


def is_open(suggestion: Suggestion) -> bool:
    """Whether it still takes up people's attention."""
    return fate(suggestion) in _OPEN


def selected_instead(suggestion: Suggestion, selections: Iterable[Selection]) -> Selection | None:
    """The first other product that people asked for, for this account, soon after what they did not take."""
    if suggestion.user is None or fate(suggestion) in ("approved", *_OPEN):
        return None
    later = [
        s
        for s in selections
        if s.user == suggestion.user
        and s.product != suggestion.product
        and suggestion.at <= s.at <= suggestion.at + CHANGED_WITHIN
    ]
    return min(later, key=lambda s: (s.at, s.ticket), default=None)


def measured(suggestions: Iterable[Suggestion], selections: Iterable[Selection]) -> list[dict[str, Any]]:
    """By agent: how many were suggested, what became of them, and the share of those decided that people took."""
    every, chosen = tuple(suggestions), tuple(selections)
    told = []
    for agent in sorted({s.agent for s in every}):
        mine = [s for s in every if s.agent == agent]
        fates = Counter("changed" if selected_instead(s, chosen) is not None else fate(s) for s in mine)
        decided = sum(fates[word] for word in ("approved", "rejected", "changed"))
        told.append(
            {
                "agent": agent,
                "suggested": len(mine),
                **{word: fates[word] for word in FATES},
                "taken_percent": round(100 * fates["approved"] / decided) if decided else None,
            }
        )
    return told
