"""Whose move it is. Pure."""

from __future__ import annotations

from desired_state.model import Product, Says
from reconciler.causes import CAUSES, Cause, Owner
from reconciler.lifecycle import FINAL, Phase
from reconciler.line import Ending

_IDLE = (Phase.HELD, Phase.REVIEW, Phase.DRIFTED, Phase.EXPIRING)


DEARER = "Please have its price approved, or a cheaper product ordered, and close the ticket again."
_SETTLED = (Phase.GRANTED, *FINAL)


def owner_of(ending: Ending) -> str:
    """Whose move it is on a line at the end of a cycle, "" where nobody has to do anything."""
    cause = Cause(ending.state.cause) if ending.state.cause is not None else None
    return owner(ending.state.phase, cause, ending.finding.line.product)


def owner(phase: Phase, cause: Cause | None, product: Product | None) -> str:
    """Whose move it is on a line in this phase, "" where it works or has ended and nothing is wrong.

    The owner of its cause; the product's own one where the service itself is the trouble; an approver where an approval
    is waited for. What the reconciler would do itself, and does not here, is the licence admin's.
    """
    if phase is Phase.AWAITING_APPROVAL:
        return Owner.APPROVER.value
    if phase is Phase.REVIEW and cause is Cause.POLICY_REFUSED:
        return Owner.SERVICE_DESK.value  # nobody whom it was asked of has answered
    if cause is None:
        return "" if phase in _SETTLED else Owner.RECONCILER.value
    facts, is_idle = CAUSES[cause], phase in _IDLE
    if facts.is_workload and is_idle and product is not None and product.owner:
        return product.owner
    return (Owner.LICENCE_ADMIN if facts.owner is Owner.RECONCILER and is_idle else facts.owner).value


def ask_of(ending: Ending) -> str:
    """What that owner should do, "" for nothing: as the ticket stands, and not more than is needed."""
    if ending.state.cause is None:
        return ""
    was_closed = ending.finding.line.says is Says.FULFILLED
    if was_closed and ending.gated.proposal.blocked is Cause.POLICY_REFUSED:
        return DEARER
    waits = ending.state.phase is Phase.WAITING_FOR_SEAT  # whatever keeps it from one, a seat is all that it needs
    ask = CAUSES[Cause.NO_SEAT if waits else Cause(ending.state.cause)].ask
    return ask if was_closed else ask.replace("close the ticket again", "close the ticket")
