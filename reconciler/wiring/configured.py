"""What a cycle works by that the configuration and the catalogue say alone. Nothing is opened, nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from desired_state.catalogue import Catalogue
from desired_state.model import PlanId, ProductKey, SkuId
from desired_state.plan_rules import PlanRules
from reconciler.answers import Names
from reconciler.config import Settings, Tenant
from reconciler.config.tenants import Guards
from reconciler.digest import digest
from reconciler.loop.diff import Windows
from reconciler.loop.gate import Policy
from reconciler.loop.plan import Bounds
from reconciler.promotion.advice import Position, narrowed
from reconciler.seats.urgency import Urgency

_SECRETS = {"client_secret", "password", "api_key", "client_secret_file", "password_file", "api_key_file", "ca_file"}
_PACE = {"page_size", "requests_per_hour"}  # how tickets are read, not what they say


def zone(tenant: Tenant) -> tzinfo:
    """Where the tenant's days begin."""
    return zone_named(tenant.timezone)


def zone_named(name: str) -> tzinfo:
    """The time zone of that name; UTC needs no file of the machine."""
    return ZoneInfo(name) if name != "UTC" else UTC


def names(catalogue: Catalogue) -> Names:
    """What people call SKUs and service plans."""
    return Names(
        {sku: name for sku, (_, name) in catalogue.skus.items()},
        {plan: name for plan, (name, _) in catalogue.plans.items()},
    )


def sync_windows(tenant: Tenant) -> Windows:
    """How long a thing may take before it counts as failed."""
    return Windows(user_sync=tenant.user_sync_window, directory_sync=tenant.directory_sync, retry=tenant.retry_window)


def policy(settings: Settings, tenant: Tenant, since: datetime | None, directory: str) -> Policy:
    """What the configuration allows, for the gate. `since` is the first instant whose tickets may cause anything,
    `directory` the id of the directory."""
    overlays = settings.products
    return Policy(
        mode=tenant.mode,
        modes={ProductKey(key): o.mode for key, o in overlays.items() if o.mode is not None},
        act_on_tickets_since=since,
        act_max_age=tenant.act_max_age,
        held_tickets=tenant.guards.held_tickets,
        held_products={ProductKey(key): o.held for key, o in overlays.items() if o.held},
        agents=frozenset(tenant.servicenow.agents),
        directory=directory,
        share=tenant.enforce_share,
        shares={ProductKey(key): o.enforce_share for key, o in overlays.items() if o.enforce_share is not None},
    )


def positions(settings: Settings, tenant: Tenant, products: Iterable[str]) -> tuple[Position, dict[str, Position]]:
    """How far the tenant goes, and each of some products."""
    own = Position(tenant.mode, tenant.enforce_share, tenant.answers)
    names = ("mode", "enforce_share", "answers")
    tables = {key: {n: getattr(o, n) for n in names} for key, o in settings.products.items()}
    return own, {key: narrowed(own, tables.get(key, {})) for key in products}


def bounds(
    tenant: Tenant, catalogue: Catalogue, plan_rules: PlanRules, named: Names, known_plans: frozenset[PlanId]
) -> Bounds:
    """What a plan may use."""
    services = {plan: name for plan, (_, name) in catalogue.plans.items()}
    return Bounds(
        frozenset(tenant.guards.countries),
        named.skus,
        named.plans,
        sku_prices(catalogue),
        directory_sync=tenant.directory_sync,
        use_grace_seats=tenant.guards.use_grace_seats,
        service_names={**plan_rules.names, **services},
        rules=plan_rules,
        products=catalogue.products,
        known_plans=known_plans,
    )


def sku_prices(catalogue: Catalogue) -> dict[SkuId, Decimal]:
    """What a SKU costs: the least price of the products that it is the first choice for."""
    prices: dict[SkuId, Decimal] = {}
    for product in catalogue.products.values():
        if product.price is not None and product.candidate_skus:
            first = product.candidate_skus[0]
            prices[first] = min(product.price, prices.get(first, product.price))
    return prices


def meaning(settings: Settings, name: str, tenant: Tenant) -> str:
    """A digest of what decides how a ticket is read: change it, and every ticket is read anew."""
    return digest(
        {
            "items": [item.model_dump(mode="json") for item in settings.items_for(name)],
            "products": {key: o.model_dump(mode="json") for key, o in settings.products.items()},
            "words": tenant.servicenow.model_dump(mode="json", exclude=_SECRETS | _PACE),
            "timezone": tenant.timezone,
            **({"urgent": sorted(urgent)} if (urgent := tenant.guards.urgent_priorities) else {}),
        }
    )


def urgency(guards: Guards) -> Urgency:
    """Which tickets are served before older ones."""
    return Urgency(guards.priorities, frozenset(guards.urgent_priorities))
