"""What proves a product: its proof plans at tier V2, the assignment itself below, a workload probe above. Pure.

Look-alike plans and the SKU's name never count; a retired plan is never proof and never a reason to undo anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from desired_state.model import PlanId, Product, Tier
from reconciler.line import Access, Observed, Proof, Unread
from reconciler.model import ObservedUser, PlanState, Probed, SkuDetail

_ORDER = (Access.PROVEN, Access.PENDING, Access.OUT_OF_SERVICE, Access.ERROR, Access.DISABLED, Access.ABSENT)
_ACCESS = {PlanState.SUCCESS: Access.PROVEN, PlanState.ERROR: Access.ERROR, PlanState.DISABLED: Access.DISABLED}
# The words of a plan that may stay as it is for ever; one that is new to us is none of them (graph.md section 5).
_FOR_EVER = (PlanState.PENDING_INPUT, PlanState.PENDING_ACTIVATION, PlanState.PENDING_PROVISIONING)


def prove(product: Product, details: Iterable[SkuDetail], enabled: frozenset[PlanId] | None = None) -> Proof:
    """What the product's proof plans say, at tier V2: provisioned and enabled for this user.

    Look-alike plans, retired plans and the SKU's name never count. With `any` the best plan speaks, with `all` the
    worst; with `all+sku` only the product's own SKUs are asked, because its plans cannot tell it from a lower product.
    A waived plan that is pending is as good as there: its site says that it may stay so for ever. `enabled` are the
    plans that assignedPlans shows as Enabled or Warning, None when it was not shown: a plan that is provisioned and not
    among them gives nobody access, as when the subscription is suspended.
    """
    held = asked(product, details)
    counted = [plan for plan in product.proof_plans if plan not in product.retired]
    per_plan = [_best(plan, product, held, enabled, is_waived=plan in product.waived_plans) for plan in counted]
    choose = min if product.proof_mode == "any" else max
    return choose(per_plan, key=lambda p: _ORDER.index(p.access), default=Proof(Access.ABSENT))


def _best(
    plan: PlanId, product: Product, details: Iterable[SkuDetail], enabled: frozenset[PlanId] | None, *, is_waived: bool
) -> Proof:
    """The licence where the plan stands best; of equals one of the product's own, for the proof names it to people."""

    def access(state: PlanState) -> Access:
        if state is PlanState.SUCCESS and enabled is not None and plan not in enabled:
            return Access.OUT_OF_SERVICE
        return Access.PROVEN if is_waived and state in _FOR_EVER else _ACCESS.get(state, Access.PENDING)

    states = [Proof(access(d.plans[plan]), plan, d.sku) for d in details if plan in d.plans]
    own = product.candidate_skus
    ranked = sorted(states, key=lambda p: (_ORDER.index(p.access), p.sku not in own, p.sku or ""))
    return next(iter(ranked), Proof(Access.ABSENT, plan))


def to_switch_on(product: Product, off: Collection[PlanId], plans: Collection[PlanId]) -> frozenset[PlanId]:
    """The plans among `off` that the product needs of a licence with these plans: with `any` one is enough.

    A bundle may carry a product's higher edition as well, which nobody asked for.
    """
    inside = [plan for plan in product.proof_plans if plan in plans and plan not in product.retired]
    if product.proof_mode != "any":
        return frozenset(inside) & frozenset(off)
    return frozenset() if any(plan not in off for plan in inside) else frozenset(inside[:1])


def switched_off(product: Product, details: Iterable[SkuDetail]) -> frozenset[PlanId]:
    """The proof plans that the person has, and that are off wherever they come from."""
    held = asked(product, details)
    counted = (plan for plan in product.proof_plans if plan not in product.retired)
    return frozenset(p for p in counted if _best(p, product, held, None, is_waived=False).access is Access.DISABLED)


def asked(product: Product, details: Iterable[SkuDetail]) -> list[SkuDetail]:
    """The licences that may prove the product."""
    return [d for d in details if product.proof_mode != "all+sku" or d.sku in product.candidate_skus]


def is_proven_by(product: Product, plans: Collection[PlanId]) -> bool:
    """Whether these plans, once they are provisioned, prove the product; retired plans prove nothing."""
    inside = [plan in plans for plan in product.proof_plans if plan not in product.retired]
    return any(inside) if product.proof_mode == "any" else bool(inside) and all(inside)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the proof goes: the strongest tier that was seen, None for nothing, and what the probe says about V3."""

    tier: Tier | None
    probed: Probed | Unread | None = None

    def is_enough(self, wanted: Tier) -> bool:
        return self.tier is not None and self.tier >= wanted


def reach(product: Product, user: ObservedUser, proof: Proof, observed: Observed) -> Reach:
    """The strongest tier that is seen. V4, the person's own word, is never seen here."""
    if proof.access is Access.PROVEN:
        probed = observed.probed.get((user.id, product.key))
        works = isinstance(probed, Probed) and probed.works is True
        return Reach(Tier.V3 if works else Tier.V2, probed)
    rows = [a for a in user.assignments or () if a.sku in product.candidate_skus and a.is_in_force]
    if any(a.state == "Active" and not a.error for a in rows):
        return Reach(Tier.V1)
    return Reach(Tier.V0 if rows else None)
