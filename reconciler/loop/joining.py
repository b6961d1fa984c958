"""Changes of one person through a group: joining it, and having it processed again. Pure.

A group gives all of its licences or none, so joining needs a free seat of each that the person does not hold, and
who is in a group that is not processed yet has spent those seats already (I13).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from desired_state.model import Given, GivenKind, Product, ProductKey, SkuId
from desired_state.plan_rules import Enforcement
from reconciler.causes import Cause
from reconciler.line import DriftKind, Finding, Observed, Proposal
from reconciler.loop.bounds import Bounds, Taken
from reconciler.loop.clashes import clash, lacking
from reconciler.loop.holding import Holding, holding
from reconciler.loop.licences import take_away
from reconciler.loop.proof import is_proven_by
from reconciler.model import Action, ActionKind, Grant, ObservedGroup, ObservedUser, Undo


def through_group(
    finding: Finding, user: ObservedUser, product: Product, observed: Observed, bounds: Bounds, taken: Taken
) -> tuple[Action, ...] | Proposal:
    """The actions that bring a person to a product through a group, or what is in the way."""
    drift = finding.drift
    assert drift is not None and drift.group is not None
    group = observed.groups[drift.group]
    assert isinstance(group, ObservedGroup)
    held = taken.holdings.get(user.id) or holding(user, observed)
    gives = group.licenses or ()
    replaced = drift.replace
    if drift.kind is DriftKind.NOT_MEMBER:
        replaced = tuple(old for old in replaced if _gives_way(old, gives, product, held, bounds))
    after = held.joined(group.id, gives, replaced)
    needs = lacking(product.prerequisite_plans, product.prerequisite_mode, product.name, after, (), bounds)
    against = needs or clash(held, after, bounds)
    if against is not None:
        return Proposal(finding, blocked=against.cause, sentence=against.sentence)
    lacked = [g.sku for g in gives if g.sku not in (user.skus or ())]
    full = [sku for sku in lacked if not taken.seats.has(user.id, sku)]
    if full:
        return _no_seat(finding, product, group, full, lacked, bounds)
    for sku in lacked:
        taken.seats.take(user.id, sku)
    taken.holdings[user.id] = after
    freed = tuple(take_away(sku, finding, user, product.key, observed, bounds) for sku in replaced)
    if drift.kind is DriftKind.NOT_MEMBER:
        # The predecessor goes last: should joining fail, nothing is lost, and the group is processed minutes later.
        return (_join(finding, user, product.key, group, observed, bounds), *freed)
    return (*freed, _reprocess(finding, user, product.key, group))


def _gives_way(old: SkuId, gives: Iterable[Grant], product: Product, held: Holding, bounds: Bounds) -> bool:
    """Whether the group takes the place of a direct licence that the product declares to replace: the two exclude
    each other, or the group brings what the old one was for. What Microsoft itself calls exclusive needs no asking."""
    new = frozenset(p for g in gives for p in held.contents.get(g.sku, ()) if p not in g.disabled_plans)
    if any(pair.enforcement is Enforcement.HARD for pair in bounds.rules.between(new, held.on(old))):
        return True
    others = (bounds.products.get(key) for key in product.replaces)
    return any(o is not None and old in o.candidate_skus and is_proven_by(o, new) for o in others)


def _no_seat(
    finding: Finding, product: Product, group: ObservedGroup, full: list[SkuId], lacked: list[SkuId], bounds: Bounds
) -> Proposal:
    names = " and ".join(bounds.sku(s) for s in full)
    sentence = f"No seat of {names} is free, which {group.name} gives."
    waiting = [bounds.sku(s) for s in lacked if s not in full]
    if waiting:
        sentence = (
            f"{group.name} gives all of its licences or none, and no seat of {names} is free, so "
            f"{' and '.join(waiting)} waits with it. A group for each licence would avoid that."
        )
    is_own = set(full) <= set(product.candidate_skus)
    cause = Cause.NO_SEAT if is_own else Cause.GROUP_ERROR
    return Proposal(finding, blocked=cause, sentence=sentence, short_of=tuple(full))


def _join(
    finding: Finding,
    user: ObservedUser,
    product: ProductKey,
    group: ObservedGroup,
    observed: Observed,
    bounds: Bounds,
) -> Action:
    gives = [bounds.sku(g.sku) for g in group.licenses or ()]
    return Action(
        ActionKind.ADD_GROUP_MEMBER,
        user.id,
        product,
        (finding.key,),
        before={"member": False, **_group(group)},
        after={"member": True, **_group(group), "gives": gives},
        undo=Undo.REVERSIBLE,
        inverse={"remove_group_member": group.id},
        group=group.id,
        given=(Given(GivenKind.MEMBER, observed.at, group=group.id),),
    )


def _reprocess(finding: Finding, user: ObservedUser, product: ProductKey, group: ObservedGroup) -> Action:
    """What it gives is the group's, so nothing is left to undo: leaving the group is another action's inverse."""
    rows = [a for a in user.assignments or () if a.group == group.id]
    states = [{"sku_id": a.sku, "state": a.state, "error": a.error} for a in rows]
    return Action(
        ActionKind.REPROCESS,
        user.id,
        product,
        (finding.key,),
        before={**_group(group), "states": states},
        after={**_group(group), "reprocessed": True},
        undo=Undo.REVERSIBLE,
        inverse={"add": [], "remove": []},
        group=group.id,
    )


def _group(group: ObservedGroup) -> dict[str, Any]:
    return {"group": group.name, "group_id": group.id}
