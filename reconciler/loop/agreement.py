"""Whether the directory's three accounts of one person's licences agree, as far as a product is concerned. Pure.

assignedLicenses (what is in force), licenseAssignmentStates (how it came) and licenseDetails (what became of each plan)
are kept by different services and lag behind each other. Where they disagree nothing is known (I4): no access is
proven by it, nothing is assigned, switched on or taken back because of it, and the next cycle reads them again.
Source: graph.md sections 3, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable

from desired_state.model import PlanId, Product, SkuId
from reconciler.line import Access, Observed
from reconciler.loop.proof import prove
from reconciler.model import Assignment, ObservedUser, PlanState, SkuDetail


def disagreement(product: Product, user: ObservedUser, details: Iterable[SkuDetail], observed: Observed) -> str:
    """A sentence on the first disagreement that matters for the product, "" for none.

    A list that was not shown disagrees with nothing: it is unknown already. A licence that could not prove the product
    may lag as it likes. One whose service plans nobody tells could: while it lags, the product is not known to be
    missing.
    """
    if user.assignments is None or user.skus is None:
        return ""
    rows = [a for a in user.assignments if a.is_in_force]
    told = {d.sku: d for d in details}
    matters = _that_matter(product, told.values(), observed)
    lagging = {a.sku for a in rows} ^ user.skus
    untold = lagging - told.keys() - observed.skus.keys()
    if lagging & matters or (untold and prove(product, told.values(), user.enabled_plans).access is not Access.PROVEN):
        return "The directory's two lists of this account's licences disagree; they are read again later."
    if (user.skus & matters) != (told.keys() & matters):
        return "The account's licences and the list of their service plans disagree; they are read again later."
    for sku in sorted(user.skus & matters):
        held, others = [a for a in rows if a.sku == sku], [a for a in rows if a.sku != sku]
        elsewhere = frozenset(
            p for a in others if a.sku in told for p in told[a.sku].plans if p not in a.disabled_plans
        )
        if any(_is_told_otherwise(plan, held, told[sku], elsewhere) for plan in product.proof_plans):
            return "How the licence was assigned and the state of its service disagree; they are read again later."
    return ""


def _that_matter(product: Product, details: Iterable[SkuDetail], observed: Observed) -> frozenset[SkuId]:
    """SKUs that could prove the product: its own, those that cover it, and any that holds one of its proof plans."""
    proof = frozenset(product.proof_plans)
    owned = {sku.sku for sku in observed.skus.values() if proof & frozenset(sku.plans)}
    held = {d.sku for d in details if proof & frozenset(d.plans)}
    return frozenset({*product.candidate_skus, *product.covering_skus, *owned, *held})


def _is_told_otherwise(
    plan: PlanId, rows: Iterable[Assignment], detail: SkuDetail, elsewhere: frozenset[PlanId]
) -> bool:
    """Whether a plan is off by one list and not by the other; it is on when any assignment in force leaves it on.

    Under a licence in which it is off, a plan that another licence brings (`elsewhere`) may read as the person has it
    or as this licence leaves it: no source says which, so both are agreement.
    """
    state = detail.plans.get(plan)
    if state is None:
        return False
    is_off = all(plan in row.disabled_plans for row in rows)
    if is_off and plan in elsewhere:
        return False
    return is_off != (state is PlanState.DISABLED)
