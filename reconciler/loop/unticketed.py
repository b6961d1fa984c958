"""Licences that no ticket asked for, and those that somebody has twice: reported with their cost, never touched.

Decides on values alone. Looked for over every user of the tenant, so nothing is kept of a user but what is to be
told. Who does not show their licences is counted as unknown: that somebody holds nothing is never read from nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from desired_state.catalogue import Catalogue
from desired_state.ledger import Standing
from desired_state.model import PlanId, Product, Says, SkuId, UserId
from reconciler.loop.aftermath import duplicated
from reconciler.model import ObservedUser, SubscribedSku


@dataclass(frozen=True, slots=True)
class Held:
    """One SKU that one user holds, directly, by a group, or both."""

    user: UserId
    upn: str
    sku: SkuId
    is_direct: bool
    is_inherited: bool
    is_disabled: bool  # the account's sign-in is off


@dataclass(frozen=True, slots=True)
class Unticketed:
    """What a whole listing of users showed. `users` were looked at; `unknown` of them did not show their licences."""

    users: int
    unknown: int
    held: tuple[Held, ...]
    duplicates: tuple[Held, ...]


def promised(
    standings: Iterable[Standing], catalogue: Catalogue, skus: Iterable[SubscribedSku]
) -> dict[UserId, frozenset[SkuId]]:
    """The SKUs of each user that a line of a ticket stands behind: approved or fulfilled, and not ended.

    A SKU stands for a product when it is one of its own, covers it, or holds a plan that proves it.
    """
    owned = tuple(skus)
    known: dict[str, frozenset[SkuId]] = {}
    found: dict[UserId, frozenset[SkuId]] = {}
    for standing in standings:
        entitlement = standing.entitlement
        if entitlement is None or not standing.is_current:
            continue
        product = catalogue.product(entitlement.request.product)
        if product is None or entitlement.request.says not in (Says.APPROVED, Says.FULFILLED):
            continue
        if product.key not in known:
            known[product.key] = _standing_for(product, owned)
        given = frozenset(g.sku for g in standing.given if g.sku is not None)
        found[entitlement.user] = found.get(entitlement.user, frozenset()) | known[product.key] | given
    return found


def _standing_for(product: Product, owned: Iterable[SubscribedSku]) -> frozenset[SkuId]:
    named = frozenset({*product.candidate_skus, *product.covering_skus})
    if product.proof_mode == "all+sku":
        return named
    proof: Collection[PlanId] = product.proof_plans
    return named | {sku.sku for sku in owned if any(plan in sku.plans for plan in proof)}


def unticketed(users: Iterable[ObservedUser], behind: Mapping[UserId, frozenset[SkuId]]) -> Unticketed:
    """Every licence in force that nothing in `behind` stands for, and every one that is held twice."""
    looked, unknown = 0, 0
    held: list[Held] = []
    twice: list[Held] = []
    for user in users:
        looked += 1
        if user.assignments is None:
            unknown += 1
            continue
        stands, both = behind.get(user.id, frozenset()), duplicated(user)
        for sku in sorted({a.sku for a in user.assignments if a.is_in_force}):
            if sku in stands and sku not in both:
                continue
            ways = [a.group for a in user.assignments if a.sku == sku and a.is_in_force]
            one = Held(user.id, user.upn, sku, None in ways, any(g is not None for g in ways), user.is_enabled is False)
            if sku not in stands:
                held.append(one)
            if sku in both:
                twice.append(one)
    return Unticketed(looked, unknown, tuple(held), tuple(twice))


def as_json(found: Unticketed, names: Mapping[SkuId, str], prices: Mapping[SkuId, Decimal]) -> dict[str, Any]:
    """Counts and monthly cost by SKU, the dearest first, and the people. Cost is null where no price is configured."""
    by_sku: dict[SkuId, list[Held]] = {}
    for one in found.held:
        by_sku.setdefault(one.sku, []).append(one)
    costs = {sku: prices[sku] * len(rows) for sku, rows in by_sku.items() if sku in prices}
    ordered = sorted(by_sku, key=lambda sku: (-costs.get(sku, Decimal(-1)), -len(by_sku[sku]), sku))
    return {
        "users": found.users,
        "unknown": found.unknown,
        "licences": len(found.held),
        "cost_monthly": _money(sum(costs.values(), Decimal(0))) if costs else None,
        "without_price": sum(len(rows) for sku, rows in by_sku.items() if sku not in prices),
        "skus": [
            {
                "sku": names.get(sku, sku),
                "sku_id": sku,
                "users": len(by_sku[sku]),
                "direct": sum(1 for one in by_sku[sku] if one.is_direct),
                "inherited": sum(1 for one in by_sku[sku] if one.is_inherited),
                "disabled_accounts": sum(1 for one in by_sku[sku] if one.is_disabled),
                "cost_monthly": _money(costs.get(sku)),
            }
            for sku in ordered
        ],
        "people": [_person(one, names) for one in found.held],
        "duplicates": [_person(one, names) for one in found.duplicates],
    }


def _person(one: Held, names: Mapping[SkuId, str]) -> dict[str, Any]:
    return {
        "user": one.user,
        "upn": one.upn,
        "sku": names.get(one.sku, one.sku),
        "sku_id": one.sku,
        "direct": one.is_direct,
        "inherited": one.is_inherited,
        "disabled_account": one.is_disabled,
    }


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"
