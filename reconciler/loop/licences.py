"""Direct licence changes of one person: what is bought, and which plans are on. Pure.

The complete list of plans that stay off is sent with every change, because it replaces the old one (graph.md
section 6). Nothing is removed here that was not asked to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from desired_state.model import Given, GivenKind, Path, PlanId, Product, ProductKey, SkuId
from reconciler.causes import Cause
from reconciler.line import Drift, Finding, Observed, Proposal
from reconciler.loop.bounds import Bounds, Taken
from reconciler.model import Action, ActionKind, Grant, ObservedUser, SubscribedSku, Undo


def _product_key(finding: Finding) -> ProductKey:
    assert finding.line.product is not None
    return finding.line.product.key


def _licence(sku: SkuId, disabled: Iterable[PlanId], bounds: Bounds) -> dict[str, Any]:
    return {"sku": bounds.sku(sku), "sku_id": sku, "disabled_plans": sorted(bounds.plan(p) for p in disabled)}


def switch_on(finding: Finding, user: ObservedUser, drift: Drift, bounds: Bounds, taken: Taken) -> Action:
    """The complete list of plans that stay off is sent, because it replaces the old one (graph.md section 6).

    Where this plan changes the same licence for two lines, the second starts from what the first leaves.
    """
    assert drift.sku is not None
    wanted = drift.disabled_before - drift.disabled_after
    off = taken.disabled.get((user.id, drift.sku), drift.disabled_before)
    taken.disabled[(user.id, drift.sku)] = off - wanted
    before, after = sorted(off), sorted(off - wanted)
    return Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        _product_key(finding),
        (finding.key,),
        before={"licence": _licence(drift.sku, before, bounds)},
        after={"licence": _licence(drift.sku, after, bounds)},
        undo=Undo.REVERSIBLE,
        inverse={"add": [{"sku_id": drift.sku, "disabled_plans": before}], "remove": []},
        add=(Grant(drift.sku, off - wanted),),
        given=(Given(GivenKind.PLANS, user.read_at, sku=drift.sku, plans=tuple(sorted(off & wanted))),),
    )


def assign(
    finding: Finding, user: ObservedUser, product: Product, observed: Observed, bounds: Bounds, taken: Taken
) -> Action | Proposal:
    def blocked(cause: Cause, sentence: str, short_of: tuple[SkuId, ...] = ()) -> Proposal:
        return Proposal(finding, blocked=cause, sentence=sentence, short_of=short_of)

    assert product.path is Path.DIRECT and user.skus is not None
    lacking = _lacking(product, finding, observed)
    if lacking:
        names = ", ".join(bounds.plan(p) for p in lacking)
        return blocked(Cause.DEPENDENCY_MISSING, f"{product.name} builds on {names}, which the account does not have.")
    usable = allowed(product, observed, bounds)
    if not usable:
        none = f"The tenant owns no licence that contains {product.name}."
        return blocked(Cause.NO_SEAT, none, product.candidate_skus[:1])
    chosen = next((s for s in usable if taken.seats.has(user.id, s)), None)
    if chosen is None:
        names = " or ".join(bounds.sku(s) for s in usable)
        return blocked(Cause.NO_SEAT, f"No licence of {names} is free.", usable)
    in_grace = {"seat": "in grace"} if taken.seats.take(user.id, chosen) else {}
    return Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        product.key,
        (finding.key,),
        before={"licence": None},
        after={"licence": _licence(chosen, (), bounds), **in_grace},
        undo=Undo.REVERSIBLE,
        inverse={"add": [], "remove": [chosen]},
        add=(Grant(chosen),),
        given=(Given(GivenKind.LICENSE, observed.at, sku=chosen),),
    )


def allowed(product: Product, observed: Observed, bounds: Bounds) -> tuple[SkuId, ...]:
    """The tenant's SKUs that may be given for the product, preferred first."""
    owned = [observed.skus[s] for s in product.candidate_skus if s in observed.skus]
    usable = [s.sku for s in owned if s.applies_to == "User" and _proves(product, s)]
    return (*usable[:1], *(s for s in usable[1:] if bounds.may_replace(s, product)))


def _proves(product: Product, sku: SubscribedSku) -> bool:
    """The tenant's own list says what a SKU contains; a catalogue may be out of date."""
    inside = [plan in sku.plans for plan in product.proof_plans]
    return any(inside) if product.proof_mode == "any" else all(inside)


def _lacking(product: Product, finding: Finding, observed: Observed) -> tuple[PlanId, ...]:
    """Plans that must be there already and are not enabled; () when nothing is missing."""
    if not product.prerequisite_plans or finding.user is None:
        return ()
    details = observed.details.get(finding.user.id, ())
    assert isinstance(details, tuple)  # an unread one is never ACT
    on = {p for d in details for p, state in d.plans.items() if state.value != "Disabled"}
    missing = tuple(p for p in product.prerequisite_plans if p not in on)
    if product.prerequisite_mode == "any" and len(missing) < len(product.prerequisite_plans):
        return ()
    return missing
