"""What another current line of a person would lose if something were taken back for this one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from desired_state.model import Given, GivenKind, GroupId, Product, SkuId
from reconciler.line import Observed, Other
from reconciler.loop.proof import prove
from reconciler.model import ObservedGroup, ObservedUser, PlanState, SkuDetail


def group_id(given: Given, observed: Observed) -> GroupId:
    """The object id of a group that may be remembered by its name."""
    assert given.group is not None
    group = observed.groups.get(given.group)
    return group.id if isinstance(group, ObservedGroup) else given.group


def keepers(
    given: Given,
    others: Iterable[Other],
    product: Product,
    user: ObservedUser,
    details: tuple[SkuDetail, ...],
    observed: Observed,
) -> tuple[Other, ...]:
    """The other lines that would lose something: the same product, or one that is proven or carried only by it."""
    left = without(given, user, details, observed)
    return tuple(o for o in others if o.product.key == product.key or loses(o.product, details, left))


def loses(product: Product, before: tuple[SkuDetail, ...], after: tuple[SkuDetail, ...]) -> bool:
    """Whether a product's proof, or what it builds on, is worse afterwards."""
    if prove(product, before).access is not prove(product, after).access:
        return True
    carried = [p for p in product.prerequisite_plans if _is_on(p, before)]
    gone = [p for p in carried if not _is_on(p, after)]
    return bool(gone) and (product.prerequisite_mode != "any" or len(gone) == len(carried))


def _is_on(plan: object, details: Iterable[SkuDetail]) -> bool:
    return any(state is not PlanState.DISABLED for d in details for p, state in d.plans.items() if p == plan)


def without(
    given: Given, user: ObservedUser, details: tuple[SkuDetail, ...], observed: Observed
) -> tuple[SkuDetail, ...]:
    """The plans that would be left. A licence that also comes another way stays as it is."""
    if given.kind is GivenKind.PLANS:
        off = dict.fromkeys(given.plans, PlanState.DISABLED)
        return tuple(replace(d, plans={**d.plans, **off}) if d.sku == given.sku else d for d in details)
    gone = lost(given, user, observed)
    return tuple(d for d in details if d.sku not in gone)


def lost(given: Given, user: ObservedUser, observed: Observed) -> frozenset[SkuId]:
    """SKUs that the person has only by this."""
    way = None if given.kind is GivenKind.LICENSE else group_id(given, observed)
    rows = [a for a in user.assignments or () if a.is_in_force or a.group == way]
    ours = {a.sku for a in rows if a.group == way and (way is not None or a.sku == given.sku)}
    return frozenset(ours - {a.sku for a in rows if a.group != way})
