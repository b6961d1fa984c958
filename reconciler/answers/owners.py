"""Whose move it is. Pure."""

from __future__ import annotations

from reconciler.causes import CAUSES, Cause, Owner
from reconciler.lifecycle import Phase
from reconciler.line import Ending

_IDLE = (Phase.HELD, Phase.REVIEW, Phase.DRIFTED, Phase.EXPIRING)


def owner_of(ending: Ending) -> str:
    """The owner of a line's cause; the product's own one where the service itself is the trouble.

    What the reconciler would do itself, and does not here, is the licence admin's.
    """
    facts = CAUSES[Cause(ending.state.cause or Cause.UNKNOWN)]
    if ending.state.phase is Phase.REVIEW and ending.state.cause == Cause.POLICY_REFUSED:
        return Owner.SERVICE_DESK.value  # nobody whom it was asked of has answered
    product = ending.finding.line.product
    is_idle = ending.state.phase in _IDLE
    if facts.is_workload and is_idle and product is not None and product.owner:
        return product.owner
    return (Owner.LICENCE_ADMIN if facts.owner is Owner.RECONCILER and is_idle else facts.owner).value
