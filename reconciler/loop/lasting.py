"""What of a change cannot be undone, or only for a while: said before it is done. Pure."""

from __future__ import annotations

from desired_state.model import GivenKind, Product
from reconciler.model import Action

_ARRIVALS = (GivenKind.LICENSE, GivenKind.MEMBER)


def lasting(action: Action, product: Product) -> tuple[str, ...]:
    """Sentences for people, () when the action can be undone whole.

    Sources: graph.md section 6 (usageLocation is not nullable) and section 5 (how long data is kept).
    """
    said = []
    if action.country is not None:
        said.append(f"The usage location {action.country} stays: it can be changed later, and never unset.")
    gives = any(g.kind in _ARRIVALS for g in action.given)
    if gives and product.keeps_data:
        said.append(
            f"{product.name} creates a mailbox or files: taking it back later deletes them after about 30 days, "
            "7 in small plans."
        )
    if gives and "voice" in product.probe:
        said.append("A phone number that is assigned to the person meanwhile does not come back by itself.")
    return tuple(said)
