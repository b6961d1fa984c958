"""What a plan may use, and what its earlier proposals use already. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from desired_state.model import LineKey, PlanId, Product, ProductKey, SkuId, UserId
from desired_state.plan_rules import PlanRules
from reconciler.loop.holding import Holding
from reconciler.seats.ledger import Purse


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan may use: countries that may be set (empty: any), rules between plans, and names for sentences.

    `products` are all of the site's, for those that one of them replaces. `known_plans` are the service plans that
    the built-in table names: what a SKU has beyond them is new from Microsoft (empty: nothing counts as new).
    """

    countries: frozenset[str] = frozenset()
    sku_names: Mapping[SkuId, str] = field(default_factory=dict)
    plan_names: Mapping[PlanId, str] = field(default_factory=dict)
    sku_prices: Mapping[SkuId, Decimal] = field(default_factory=dict)  # a month, where one is configured
    directory_sync: timedelta = timedelta(minutes=45)  # one cycle of the on-premises sync
    use_grace_seats: bool = False  # whether units in grace may be assigned
    service_names: Mapping[PlanId, str] = field(default_factory=dict)  # what people call a service plan
    rules: PlanRules = field(default_factory=PlanRules)
    products: Mapping[ProductKey, Product] = field(default_factory=dict)
    known_plans: frozenset[PlanId] = frozenset()

    def may_replace(self, sku: SkuId, product: Product) -> bool:
        """Whether a SKU may stand in for the product's first one: only if it is known not to cost more (I7)."""
        price = self.sku_prices.get(sku)
        return price is not None and product.price is not None and price <= product.price

    def sku(self, sku: SkuId) -> str:
        return self.sku_names.get(sku, sku)

    def plan(self, plan: PlanId) -> str:
        return self.plan_names.get(plan, plan)

    def service(self, plan: PlanId) -> str:
        """A service plan by the name that people know, for sentences."""
        return self.service_names.get(plan) or self.plan(plan)


@dataclass(slots=True)
class Taken:
    """What earlier proposals of this plan already use, and what they leave a person with."""

    seats: Purse
    changes: dict[tuple[UserId, ProductKey], LineKey] = field(default_factory=dict)
    locations: dict[UserId, LineKey] = field(default_factory=dict)
    holdings: dict[UserId, Holding] = field(default_factory=dict)
    last: dict[UserId, LineKey] = field(default_factory=dict)  # the line whose change of a person was planned last
    brought: dict[UserId, dict[SkuId, LineKey]] = field(default_factory=dict)  # the line that changes this licence
