"""Stage 3: drift into ordered actions with their inverses, and what stands in the way. Pure.

Same findings, same seats, same plan, same digest (I11). A seat is free only once observed free (I13): what this plan
gives back is spent by a later cycle. Nothing is ever removed here that was not asked to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from desired_state.model import LineKey, Path, PlanId, Product, ProductKey, Request, SkuId, UserId
from reconciler.causes import Cause
from reconciler.digest import digest, plain
from reconciler.line import (
    Drift,
    DriftKind,
    Finding,
    Observed,
    Plan,
    Proposal,
    Rest,
)
from reconciler.model import (
    Action,
    ActionKind,
    Grant,
    ObservedUser,
    SubscribedSku,
    Undo,
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan may use: countries that may be set (empty: any), and the SKUs' names for sentences."""

    countries: frozenset[str] = frozenset()
    sku_names: Mapping[SkuId, str] = field(default_factory=dict)
    plan_names: Mapping[PlanId, str] = field(default_factory=dict)
    sku_prices: Mapping[SkuId, Decimal] = field(default_factory=dict)  # a month, where one is configured

    def may_replace(self, sku: SkuId, product: Product) -> bool:
        """Whether a SKU may stand in for the product's first one: only if it is known not to cost more (I7)."""
        price = self.sku_prices.get(sku)
        return price is not None and product.price is not None and price <= product.price

    def sku(self, sku: SkuId) -> str:
        return self.sku_names.get(sku, sku)

    def plan(self, plan: PlanId) -> str:
        return self.plan_names.get(plan, plan)


@dataclass(slots=True)
class _Taken:
    """What earlier proposals of this plan already use."""

    seats: dict[SkuId, int]
    changes: dict[tuple[UserId, ProductKey], LineKey] = field(default_factory=dict)
    locations: dict[UserId, str] = field(default_factory=dict)
    disabled: dict[tuple[UserId, SkuId], frozenset[PlanId]] = field(default_factory=dict)


def plan(findings: Iterable[Finding], observed: Observed, bounds: Bounds, *, aside: Collection[LineKey] = ()) -> Plan:
    """Turn drift into the actions that would remove it, oldest request first.

    Every finding gets one proposal, in the order given, so that no line can fall out of the cycle. Lines `aside` are
    those that may not be sent: they are planned last, so that they take no seat from and share no change with a
    line that may.
    """
    every = tuple(findings)
    taken = _Taken({sku: s.seats_free for sku, s in observed.skus.items()})
    ordered = sorted(every, key=lambda f: f.key in aside)  # stable: oldest first within both
    made = {f.key: _named(_propose(f, observed, bounds, taken)) for f in ordered}
    proposals = tuple(made[f.key] for f in every)
    return Plan(proposals, digest([[p.digest, [plain(a) for a in p.actions]] for p in proposals if p.actions]))


def _propose(finding: Finding, observed: Observed, bounds: Bounds, taken: _Taken) -> Proposal:
    if finding.rest is not Rest.ACT or finding.drift is None:
        return Proposal(finding)
    request, product, user = finding.line.declared, finding.line.product, finding.user
    assert isinstance(request, Request) and product is not None and user is not None
    shared = taken.changes.get((user.id, product.key))
    if shared is not None:
        return Proposal(finding, with_=shared)
    dearer = _dearer(product, request.price_cap)
    if dearer:
        return Proposal(finding, blocked=Cause.POLICY_REFUSED, sentence=dearer)

    actions: list[Action] = []
    if finding.drift.needs_location and user.is_synced:
        synced = "The usage location is unset and the account is synced from on-premises, which may overwrite it."
        return Proposal(finding, blocked=Cause.USAGE_LOCATION_MISSING, sentence=synced)
    if finding.drift.needs_location and user.id not in taken.locations:
        country, sources, missing = _country(finding, user, bounds)
        if country is None:
            return Proposal(finding, blocked=Cause.USAGE_LOCATION_MISSING, sentence=missing)
        actions.append(_set_location(finding, user, country, sources))
    match finding.drift.kind:
        case DriftKind.PLAN_OFF:
            actions.append(_switch_on(finding, user, finding.drift, bounds, taken))
        case DriftKind.MISSING:
            assignment = _assign(finding, user, product, observed, bounds, taken)
            if isinstance(assignment, Proposal):
                return assignment
            actions.append(assignment)
    for action in actions:
        if action.country is not None:
            taken.locations[user.id] = action.country
    taken.changes[(user.id, product.key)] = finding.key
    return Proposal(finding, tuple(actions))


def _dearer(product: Product, cap: Decimal | None) -> str:
    """An approval covers a price; above it a person decides anew (I7). Unknown prices are not judged here."""
    if cap is None or cap <= 0 or product.price is None or product.price <= cap:
        return ""
    return f"{product.name} costs {product.price:.2f} a month and {cap:.2f} was approved."


def _country(finding: Finding, user: ObservedUser, bounds: Bounds) -> tuple[str | None, tuple[str, ...], str]:
    """The country that two independent sources agree on, or the sentence for why there is none."""
    person = finding.line.person
    told = {
        "ServiceNow person": _iso(person.country if person is not None else None),
        "Entra country": _iso(user.country),
    }
    known = {source: country for source, country in told.items() if country}
    if len(known) < 2:
        have = " and ".join(f"{s} says {c}" for s, c in known.items()) or "no source names a country"
        return None, (), f"The usage location is unset and two sources are needed to set it: {have}."
    if len(set(known.values())) > 1:
        said = ", ".join(f"{s} says {c}" for s, c in known.items())
        return None, (), f"The usage location is unset and the sources disagree: {said}."
    country = next(iter(known.values()))
    if bounds.countries and country not in bounds.countries:
        return None, (), f"The usage location would be {country}, which is not in the list of allowed countries."
    return country, tuple(known), ""


def _iso(value: str | None) -> str:
    text = (value or "").strip().upper()
    return text if len(text) == 2 and text.isascii() and text.isalpha() else ""


def _set_location(finding: Finding, user: ObservedUser, country: str, sources: tuple[str, ...]) -> Action:
    return Action(
        ActionKind.SET_USAGE_LOCATION,
        user.id,
        _product_key(finding),
        (finding.key,),
        before={"usage_location": user.usage_location},
        after={"usage_location": country, "sources": list(sources)},
        undo=Undo.IRREVERSIBLE,  # Graph lists usageLocation as not nullable: it cannot be cleared again
        country=country,
        sources=sources,
    )


def _product_key(finding: Finding) -> ProductKey:
    assert finding.line.product is not None
    return finding.line.product.key


def _licence(sku: SkuId, disabled: Iterable[PlanId], bounds: Bounds) -> dict[str, Any]:
    return {"sku": bounds.sku(sku), "sku_id": sku, "disabled_plans": sorted(bounds.plan(p) for p in disabled)}


def _switch_on(finding: Finding, user: ObservedUser, drift: Drift, bounds: Bounds, taken: _Taken) -> Action:
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
    )


def _assign(
    finding: Finding, user: ObservedUser, product: Product, observed: Observed, bounds: Bounds, taken: _Taken
) -> Action | Proposal:
    def blocked(cause: Cause, sentence: str) -> Proposal:
        return Proposal(finding, blocked=cause, sentence=sentence)

    assert product.path is Path.DIRECT and user.skus is not None
    lacking = _lacking(product, finding, observed)
    if lacking:
        names = ", ".join(bounds.plan(p) for p in lacking)
        return blocked(Cause.DEPENDENCY_MISSING, f"{product.name} builds on {names}, which the account does not have.")
    owned = [observed.skus[s] for s in product.candidate_skus if s in observed.skus]
    usable = [s for s in owned if s.applies_to == "User" and _proves(product, s)]
    if not usable:
        return blocked(Cause.NO_SEAT, f"The tenant owns no licence that contains {product.name}.")
    allowed = [usable[0], *(s for s in usable[1:] if bounds.may_replace(s.sku, product))]
    chosen = next((s for s in allowed if taken.seats.get(s.sku, 0) > 0), None)
    if chosen is None:
        names = " or ".join(bounds.sku(s.sku) for s in allowed)
        return blocked(Cause.NO_SEAT, f"No licence of {names} is free.")
    taken.seats[chosen.sku] -= 1
    return Action(
        ActionKind.ASSIGN_LICENSE,
        user.id,
        product.key,
        (finding.key,),
        before={"licence": None},
        after={"licence": _licence(chosen.sku, (), bounds)},
        undo=Undo.REVERSIBLE,
        inverse={"add": [], "remove": [chosen.sku]},
        add=(Grant(chosen.sku),),
    )


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


def _named(proposal: Proposal) -> Proposal:
    """Give the proposal its request digest: who, what, from which state to which, for which line."""
    finding = proposal.finding
    declared = finding.line.declared
    subject = {
        "line": str(finding.key),
        "user": finding.user.id if finding.user is not None else finding.line.binding.user,
        "product": finding.line.product.key if finding.line.product is not None else None,
        "period": declared.period if isinstance(declared, Request) else None,
        "price": finding.line.product.price if finding.line.product is not None else None,
        "actions": [
            {"kind": a.kind, "before": a.before, "after": a.after, "remove": list(a.remove)} for a in proposal.actions
        ],
    }
    return replace(proposal, digest=digest(subject))
