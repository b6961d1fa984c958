"""The guards of a tenant, from its configuration."""

from __future__ import annotations

from reconciler.allowance import Allowance
from reconciler.config import Tenant
from reconciler.config.tenants import Guards, ProductBudget
from reconciler.config.values import WEEKDAYS
from reconciler.line import Lane
from reconciler.loop.guards import Limits
from reconciler.loop.guards.budgets import ProductLimits
from reconciler.loop.guards.freezes import Window
from reconciler.loop.guards.scope import Scope
from reconciler.wiring.configured import zone_named


def scope(guards: Guards) -> Scope:
    """Who is in scope."""
    return Scope(
        allow_domains=frozenset(guards.allow_domains),
        allow_users=frozenset(guards.allow_users),
        allow_groups=frozenset(guards.allow_groups),
        deny_domains=frozenset(guards.deny_domains),
        deny_users=frozenset(guards.deny_users),
        deny_groups=frozenset(guards.deny_groups),
        break_glass=frozenset(guards.break_glass),
        shared_accounts=frozenset(guards.shared_accounts),
        deny_role_holders=guards.deny_role_holders,
        needs_purpose=guards.mailbox_purpose == "required",
    )


def limits(guards: Guards) -> Limits:
    """How much may change; shares are taken of the people in scope once they are counted."""
    return Limits(
        per_cycle={
            Lane.GRANTS: guards.grants_per_cycle,
            Lane.REMOVALS: guards.removals_per_cycle,
            Lane.USAGE_LOCATIONS: guards.usage_locations_per_cycle,
            Lane.ANSWERS: Allowance(guards.answers_per_cycle),
        },
        per_day={
            Lane.GRANTS: guards.grants_per_day,
            Lane.REMOVALS: guards.removals_per_day,
            Lane.USAGE_LOCATIONS: guards.usage_locations_per_day,
            Lane.ANSWERS: Allowance(guards.answers_per_day),
        },
        answers_per_group=guards.answers_per_group,
        answers_per_ticket=guards.answers_per_ticket_per_day,
        cost_per_cycle=guards.cost_per_cycle,
        cost_per_day=guards.cost_per_day,
        products={key: _product(budget) for key, budget in guards.products.items()},
    )


def _product(budget: ProductBudget) -> ProductLimits:
    per_cycle = {Lane.GRANTS: budget.grants_per_cycle, Lane.REMOVALS: budget.removals_per_cycle}
    per_day = {Lane.GRANTS: budget.grants_per_day, Lane.REMOVALS: budget.removals_per_day}
    return ProductLimits(
        {lane: allowed for lane, allowed in per_cycle.items() if allowed is not None},
        {lane: allowed for lane, allowed in per_day.items() if allowed is not None},
        budget.cost_per_cycle,
        budget.cost_per_day,
    )


def windows(tenant: Tenant) -> tuple[Window, ...]:
    """The weekly windows in which writes stop, or outside of which they do."""
    return tuple(
        Window(
            freeze.name,
            frozenset(WEEKDAYS.index(day) for day in freeze.days),
            freeze.at,
            freeze.lasts,
            zone_named(freeze.timezone or tenant.timezone),
            frozenset(Lane(lane) for lane in freeze.lanes),
            freeze.kind == "allow",
            freeze.reason,
        )
        for freeze in tenant.guards.freezes
    )
