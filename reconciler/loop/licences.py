"""Direct licence changes of one person: what is bought, what it replaces, and which plans are on. Pure.

The complete list of plans that stay off is sent with every change, because it replaces the old one (graph.md
section 6). A licence is removed only in exchange: when the product declares that it replaces the other one (I3), in
the same call, and shown before and after. A licence that comes from a group gets no direct copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from desired_state.model import Given, GivenKind, LineKey, Path, PlanId, Product, ProductKey, SkuId
from desired_state.plan_rules import Enforcement
from reconciler.causes import Cause
from reconciler.line import Drift, Finding, Observed, Proposal
from reconciler.loop.bounds import Bounds, Taken
from reconciler.loop.clashes import Clash, clash, lacking, warnings
from reconciler.loop.holding import Holding, carried_over, holding, switched_on
from reconciler.loop.proof import is_proven_by, to_switch_on
from reconciler.model import Action, ActionKind, Grant, ObservedUser, PlanState, SubscribedSku, Undo


@dataclass(frozen=True, slots=True)
class _Change:
    """One assignLicense call that would do, what it leaves, and what stands in its way."""

    grant: Grant
    remove: tuple[SkuId, ...]
    after: Holding
    clash: Clash | None


def assign(
    finding: Finding, user: ObservedUser, product: Product, observed: Observed, bounds: Bounds, taken: Taken
) -> Proposal:
    """The call that gives a person the product; or what stands in the way, or the line that brings it already."""

    def blocked(cause: Cause, sentence: str, short_of: tuple[SkuId, ...] = ()) -> Proposal:
        return Proposal(finding, blocked=cause, sentence=sentence, short_of=short_of)

    assert product.path is Path.DIRECT and user.skus is not None
    held = taken.holdings.get(user.id) or holding(user, observed)
    bringing = _brought_by(product, user, held, taken)
    if bringing is not None:
        return Proposal(finding, with_=bringing)
    declared = finding.drift.replace if finding.drift is not None else ()
    if declared and any(sku in product.candidate_skus and sku not in declared for sku, _ in held.rows):
        surplus = [s for s in declared if held.off(s) is not None]  # what was asked for is there already
        taken.holdings[user.id] = held.changed(remove=surplus)
        return Proposal(finding, tuple(take_away(s, finding, user, product.key, observed, bounds) for s in surplus))
    usable = tuple(sku for sku in allowed(product, observed, bounds) if sku not in declared)
    if not usable:
        none = f"The tenant owns no licence that contains {product.name}."
        return blocked(Cause.NO_SEAT, none, product.candidate_skus[:1])
    own = [sku for sku in usable if not held.is_inherited(sku)]
    if not own:
        names = " and ".join(bounds.sku(s) for s in usable)
        why = f"{names} comes from a group already, and no second, direct copy is made."
        return blocked(Cause.PROVISIONING_PENDING, why)
    changes = [_change(sku, product, user, held, observed, bounds, declared) for sku in own]
    possible = [c for c in changes if c.clash is None]
    if not possible:
        why_not = changes[0].clash
        assert why_not is not None
        return blocked(why_not.cause, why_not.sentence)
    chosen = next((c for c in possible if taken.seats.has(user.id, c.grant.sku)), None)
    if chosen is None:
        short_of = tuple(c.grant.sku for c in possible)
        names = " or ".join(bounds.sku(s) for s in short_of)
        return blocked(Cause.NO_SEAT, f"No licence of {names} is free.", short_of)
    builds = _builds(chosen.grant, chosen.remove, product, user, observed, bounds, taken)
    earlier = taken.last.get(user.id) if builds else None
    return Proposal(finding, (_bought(finding, user, product, held, chosen, observed, bounds, taken),), after=earlier)


def switch_on(
    finding: Finding, user: ObservedUser, drift: Drift, observed: Observed, bounds: Bounds, taken: Taken
) -> Proposal:
    """The call that switches plans of a direct licence on and leaves the others as they are.

    Where this plan changes the same licence for two lines, the second starts from what the first leaves.
    """
    product = finding.line.product
    assert drift.sku is not None and product is not None
    held = taken.holdings.get(user.id) or holding(user, observed)
    off = held.off(drift.sku)
    if off is None:  # an earlier line exchanges the licence: its successor is looked at when it is there
        return Proposal(finding, with_=taken.last.get(user.id))
    wanted = drift.disabled_before - drift.disabled_after
    grant = Grant(drift.sku, switched_on(off, wanted))
    if grant.disabled_plans == off:
        return Proposal(finding, with_=taken.brought.get(user.id, {}).get(drift.sku))
    after = held.changed(add=(grant,))
    against = clash(held, after, bounds)
    if against is not None:
        return Proposal(finding, blocked=against.cause, sentence=against.sentence)
    turned_on = tuple(sorted(off & wanted))
    earlier = taken.last.get(user.id) if _builds(grant, (), None, user, observed, bounds, taken) else None
    _remember(finding, user, after, drift.sku, taken)
    action = Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        product.key,
        (finding.key,),
        before={"licence": licence(drift.sku, off, bounds)},
        after={"licence": licence(drift.sku, grant.disabled_plans, bounds)}
        | _warned(warnings(held, after, user.usage_location or "", bounds)),
        undo=Undo.REVERSIBLE,
        inverse={"add": [{"sku_id": drift.sku, "disabled_plans": sorted(off)}], "remove": []},
        add=(grant,),
        given=(Given(GivenKind.PLANS, observed.at, sku=drift.sku, plans=turned_on),),
    )
    return Proposal(finding, (action,), after=earlier)


def allowed(product: Product, observed: Observed, bounds: Bounds) -> tuple[SkuId, ...]:
    """The tenant's SKUs that may be given for the product, preferred first; a retired one is not given any more."""
    owned = [observed.skus[s] for s in product.candidate_skus if s in observed.skus and s not in product.retired]
    usable = [s.sku for s in owned if s.applies_to == "User" and _proves(product, s)]
    return (*usable[:1], *(s for s in usable[1:] if bounds.may_replace(s, product)))


def take_away(
    sku: SkuId, finding: Finding, user: ObservedUser, product: ProductKey, observed: Observed, bounds: Bounds
) -> Action:
    """Remove the direct licence of a product that this one declares to replace (I3)."""
    off = next(a.disabled_plans for a in user.assignments or () if a.sku == sku and a.group is None)
    names = sorted(bounds.plan(p) for p in off)
    return Action(
        ActionKind.REMOVE_LICENSE,
        user.id,
        product,
        (finding.key,),
        before={"licence": {"sku": bounds.sku(sku), "sku_id": sku, "disabled_plans": names}},
        after={"licence": None, "replaced_by": product},
        undo=Undo.REVERSIBLE,
        inverse={"add": [{"sku_id": sku, "disabled_plans": sorted(off)}], "remove": []},
        remove=(sku,),
        given=(Given(GivenKind.REPLACED, observed.at, sku=sku, plans=tuple(sorted(off))),),
    )


def licence(sku: SkuId, disabled: Iterable[PlanId], bounds: Bounds) -> dict[str, Any]:
    """One licence as people are shown it in a before and after."""
    return {"sku": bounds.sku(sku), "sku_id": sku, "disabled_plans": sorted(bounds.plan(p) for p in disabled)}


def _change(
    sku: SkuId,
    product: Product,
    user: ObservedUser,
    held: Holding,
    observed: Observed,
    bounds: Bounds,
    declared: tuple[SkuId, ...],
) -> _Change:
    also = (old for old in declared if held.off(old) is not None)
    replaced = tuple(dict.fromkeys((*_replaced(sku, product, held, bounds), *also)))
    off = carried_over(sku, replaced, held)
    if product.new_plans == "off" and bounds.known_plans:
        off |= frozenset(held.contents[sku]) - bounds.known_plans
    grant = Grant(sku, switched_on(off, to_switch_on(product, off, held.contents[sku])))
    after = held.changed(add=(grant,), remove=replaced)
    working = _working(user, observed) - (held.plans.keys() - after.plans.keys())
    needs = lacking(product.prerequisite_plans, product.prerequisite_mode, product.name, after, working, bounds)
    return _Change(grant, replaced, after, needs or clash(held, after, bounds))


def _replaced(sku: SkuId, product: Product, held: Holding, bounds: Bounds) -> tuple[SkuId, ...]:
    """Direct licences that this one takes the place of: of products that the product declares to replace, where the
    two exclude each other or the new one brings what the old one was for."""
    new = frozenset(held.contents[sku])
    found: dict[SkuId, None] = {}
    for key in product.replaces:
        other = bounds.products.get(key)
        for old in other.candidate_skus if other is not None else ():
            if other is None or old == sku or held.off(old) is None:
                continue
            pairs = bounds.rules.between(new, held.on(old))
            if any(p.enforcement is Enforcement.HARD for p in pairs) or is_proven_by(other, new):
                found[old] = None
    return tuple(found)


def _bought(
    finding: Finding,
    user: ObservedUser,
    product: Product,
    held: Holding,
    chosen: _Change,
    observed: Observed,
    bounds: Bounds,
    taken: Taken,
) -> Action:
    sku, disabled = chosen.grant.sku, chosen.grant.disabled_plans
    before: dict[str, Any] = {"licence": None}
    after: dict[str, Any] = {"licence": licence(sku, disabled, bounds)}
    if chosen.remove:
        before = {"licences": [licence(old, held.off(old) or (), bounds) for old in chosen.remove]}
        after = {"licences": [licence(sku, disabled, bounds)]}
    if taken.seats.take(user.id, sku):
        after["seat"] = "in grace"
    instead_of = tuple((old, tuple(sorted(held.off(old) or ()))) for old in chosen.remove)
    _remember(finding, user, chosen.after, sku, taken)
    return Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        product.key,
        (finding.key,),
        before=before,
        after=after | _warned(warnings(held, chosen.after, user.usage_location or "", bounds)),
        undo=Undo.REVERSIBLE,
        inverse={
            "add": [{"sku_id": old, "disabled_plans": sorted(held.off(old) or ())} for old in chosen.remove],
            "remove": [sku],
        },
        add=(chosen.grant,),
        remove=chosen.remove,
        given=(Given(GivenKind.LICENSE, observed.at, sku=sku, instead_of=instead_of),),
    )


def _builds(
    grant: Grant,
    remove: tuple[SkuId, ...],
    product: Product | None,
    user: ObservedUser,
    observed: Observed,
    bounds: Bounds,
    taken: Taken,
) -> bool:
    """Whether the call is right only once the earlier changes of this plan for the person are done."""
    if user.id not in taken.holdings:
        return False
    now = holding(user, observed)
    after = now.changed(add=(grant,), remove=remove)
    is_same = grant.sku in taken.brought.get(user.id, {})
    needs = product.prerequisite_plans if product is not None else ()
    mode = product.prerequisite_mode if product is not None else "any"
    unmet = lacking(needs, mode, "", after, _working(user, observed), bounds)
    return is_same or unmet is not None or clash(now, after, bounds) is not None


def _remember(finding: Finding, user: ObservedUser, after: Holding, sku: SkuId, taken: Taken) -> None:
    taken.holdings[user.id] = after
    taken.brought.setdefault(user.id, {})[sku] = finding.key


def _brought_by(product: Product, user: ObservedUser, held: Holding, taken: Taken) -> LineKey | None:
    """The line of this plan whose licence brings the product too, None when there is none."""
    for sku, key in taken.brought.get(user.id, {}).items():
        skus = product.candidate_skus if product.proof_mode == "all+sku" else (sku,)
        if sku in skus and is_proven_by(product, held.on(sku)):
            return key
    return None


def _working(user: ObservedUser, observed: Observed) -> frozenset[PlanId]:
    """Plans that the directory shows as enabled for the person, whatever brings them."""
    details = observed.details.get(user.id, ())
    assert isinstance(details, tuple)  # an unread one is never ACT
    return frozenset(p for d in details for p, state in d.plans.items() if state is not PlanState.DISABLED)


def _proves(product: Product, sku: SubscribedSku) -> bool:
    """The tenant's own list says what a SKU contains; a catalogue may be out of date."""
    return is_proven_by(product, sku.plans)


def _warned(sentences: tuple[str, ...]) -> dict[str, Any]:
    return {"warnings": list(sentences)} if sentences else {}
