"""What a request's digest is over: everything that a person who approves one line is shown, and nothing that our own
work moves. Pure; `plan` names every proposal by it (approvals.md, A1).

The digest stays the same from cycle to cycle while nothing that matters moves: a wait for a seat, our notes in the
ticket, a failed attempt and the first of two steps leave it alone. It changes with what would be sent, with what is
there before, with the form's answers, the period, the price, the rules and the product's definition.

Of the ticket's approval and state it counts what they say together. From "asked for" to "approved" a ticket moves
because somebody agreed, often together with its state, and one request is not another for that; whoever rejects,
cancels or closes it makes it another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from desired_state.model import GivenKind, GroupId, Product, Request, Says, SkuId, Ticket
from reconciler.digest import digest, plain
from reconciler.line import Finding, LineState
from reconciler.loop.bounds import Bounds
from reconciler.model import Action, ActionKind, ObservedUser

VERSION = 1
_OPEN = (Says.WAITING, Says.APPROVED)


@dataclass(frozen=True, slots=True)
class Naming:
    """What all requests of a tenant are named by: whose they are, and by which rules they are judged."""

    tenant: str = ""
    tenant_id: str = ""
    rules: str = ""  # hash of their text
    known: dict[str, str] = field(default_factory=dict)  # digests of tickets and products that were worked out already

    def once(self, key: str, value: Any) -> str:
        """The digest of a value that many lines share, worked out once."""
        if key not in self.known:
            self.known[key] = digest(value)
        return self.known[key]


def subject(finding: Finding, actions: Iterable[Action], bounds: Bounds, naming: Naming) -> Mapping[str, Any]:
    """The document, as JSON values. `actions` are all that would be sent for the line, whichever line carries them."""
    line = finding.line
    told: dict[str, Any] = {
        "version": VERSION,
        "tenant": naming.tenant,
        "tenant_id": naming.tenant_id,
        "line": str(line.key),
        "user": line.account,
        "product": line.product.key if line.product is not None else None,
        "period": plain(line.declared.period) if isinstance(line.declared, Request) else None,
        "price_cap": plain(line.declared.price_cap) if isinstance(line.declared, Request) else None,
        "ticket": {
            "sys_id": line.ticket.sys_id,
            "hash": naming.once(f"ticket {line.ticket.sys_id} {line.says}", _ticket(line.ticket, line.says)),
        },
        "rules": naming.rules,
        "catalogue": naming.once(f"product {line.product.key}", _product(line.product)) if line.product else None,
    }
    every = tuple(actions)
    if not every or finding.user is None:
        return told | {"operations": []}
    done = _done(line.state, finding.user) if finding.drift is None or not finding.drift.take_back else _Done()
    operations = [*done.operations(every), *(_operation(a) for a in every if not done.covers(a))]
    before = _before(finding, finding.user, every, done)
    told |= {
        "operations": operations,
        "before": before,
        "before_digest": digest(before),
        "after": _after(every, done),
        "cost_delta": plain(cost_delta(finding.user, line.product, every, bounds)),
    }
    return told


# --- what we did already ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Done:
    """First steps of the same request that are there already: they stay part of it, and of what was before them."""

    country: str = ""
    groups: tuple[GroupId, ...] = ()

    def operations(self, actions: Iterable[Action]) -> list[dict[str, Any]]:
        again = {(a.kind, a.group) for a in actions}
        told: list[dict[str, Any]] = []
        if self.country and (ActionKind.SET_USAGE_LOCATION, None) not in again:
            told.append({"kind": ActionKind.SET_USAGE_LOCATION.value, "country": self.country})
        return told + [
            {"kind": ActionKind.ADD_GROUP_MEMBER.value, "group_id": group}
            for group in self.groups
            if (ActionKind.ADD_GROUP_MEMBER, group) not in again
        ]

    def covers(self, action: Action) -> bool:
        """Asking a group again to give what it gives is no change of its own where we put the person into it."""
        return action.kind is ActionKind.REPROCESS and action.group in self.groups


def _done(state: LineState | None, user: ObservedUser) -> _Done:
    if state is None or state.granted_at is not None:
        return _Done()
    countries = [g.country for g in state.given if g.kind is GivenKind.LOCATION and g.country == user.usage_location]
    groups = dict.fromkeys(g.group for g in state.given if g.kind is GivenKind.MEMBER and g.group is not None)
    return _Done(countries[-1] if countries else "", tuple(groups))


# --- the parts ----------------------------------------------------------------------------------------------------


def _operation(action: Action) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": action.kind.value}
    if action.country is not None:
        told["country"] = action.country
    if action.add:
        told["add"] = [{"sku_id": g.sku, "disabled_plans": sorted(g.disabled_plans)} for g in action.add]
    if action.remove:
        told["remove"] = sorted(action.remove)
    if action.group is not None:
        told["group_id"] = action.group
    warnings = action.after.get("warnings")
    return told | ({"warnings": list(warnings)} if warnings else {})


def _before(finding: Finding, user: ObservedUser, actions: tuple[Action, ...], done: _Done) -> dict[str, Any]:
    """What the person has of all that the change is about, and who they are to the rules."""
    line, product = finding.line, finding.line.product
    person = line.person
    about = {g.sku for a in actions for g in a.add} | {sku for a in actions for sku in a.remove}
    if product is not None:
        about |= {*product.candidate_skus, *product.covering_skus, *product.replaced_skus}
    groups = sorted({a.group for a in actions if a.group is not None} | set(done.groups))
    return {
        "account": {"is_enabled": user.is_enabled, "type": user.user_type},
        "usage_location": "" if done.country else user.usage_location,
        "person": {
            "department": (person.department if person is not None else None) or user.department,
            "cost_center": person.cost_center if person is not None else None,
            "employee_type": user.employee_type,
            "country": user.country,
            "title": person.title if person is not None else None,
        },
        "licences": _licences(user, about, done),
        "groups": [{"id": group, "is_member": _was_member(group, actions, done)} for group in groups],
    }


def _licences(user: ObservedUser, about: Iterable[SkuId], done: _Done) -> list[dict[str, Any]] | None:
    """The assignments of these SKUs, without those that come through a group that we put the person into."""
    if user.assignments is None:
        return None
    wanted = set(about)
    rows = [a for a in user.assignments if a.sku in wanted and a.group not in done.groups]
    told = (
        {"sku_id": a.sku, "group_id": a.group, "disabled_plans": sorted(a.disabled_plans), "state": a.state}
        for a in rows
    )
    return sorted(told, key=lambda row: (row["sku_id"], row["group_id"] or ""))


def _was_member(group: GroupId, actions: Iterable[Action], done: _Done) -> bool:
    if group in done.groups:
        return False
    return not any(a.kind is ActionKind.ADD_GROUP_MEMBER and a.group == group for a in actions)


def _after(actions: Iterable[Action], done: _Done) -> dict[str, Any]:
    every = tuple(actions)
    countries = [a.country for a in every if a.country is not None]
    joined = [a.group for a in every if a.kind is ActionKind.ADD_GROUP_MEMBER]
    left = [a.group for a in every if a.kind is ActionKind.REMOVE_GROUP_MEMBER]
    return {
        "usage_location": countries[-1] if countries else done.country or None,
        "licences": [{"sku_id": g.sku, "disabled_plans": sorted(g.disabled_plans)} for a in every for g in a.add],
        "removed": sorted(sku for a in every for sku in a.remove),
        "groups": sorted({g for g in (*joined, *done.groups) if g is not None}),
        "left": sorted(g for g in left if g is not None),
    }


def cost_delta(
    user: ObservedUser, product: Product | None, actions: Iterable[Action], bounds: Bounds
) -> Decimal | None:
    """What the change costs more each month, less than nothing when it saves; None when a price is not configured."""
    total = Decimal(0)
    for action in actions:
        for cost in _costs(action, user, product, bounds):
            if cost is None:
                return None
            total += cost
    return total


def _costs(action: Action, user: ObservedUser, product: Product | None, bounds: Bounds) -> Iterable[Decimal | None]:
    held = {a.sku for a in user.assignments or () if a.group is None}
    price = product.price if product is not None else None
    for sku in (g.sku for g in action.add if g.sku not in held):
        yield bounds.sku_prices.get(sku, price)
    for sku in action.remove:
        cost = bounds.sku_prices.get(sku)
        yield -cost if cost is not None else None
    if action.kind is ActionKind.ADD_GROUP_MEMBER:
        yield price
    if action.kind is ActionKind.REMOVE_GROUP_MEMBER:
        yield -price if price is not None else None


def _ticket(ticket: Ticket, says: Says) -> dict[str, Any]:
    """What the ticket asks for and says of itself; never when it was written last, nor by whom: our notes do that."""
    own = {"state": ticket.state, "approval": ticket.approval, "request_approval": ticket.request_approval}
    return {
        "says": "wanted" if says in _OPEN else says.value,
        **({} if says in _OPEN else own),
        "item": ticket.item,
        "requested_for": ticket.requested_for.sys_id if ticket.requested_for is not None else None,
        "opened_by": ticket.opened_by.sys_id if ticket.opened_by is not None else None,
        "price": plain(ticket.price),
        "variables": plain(ticket.variables),
        "rows": plain(ticket.rows),
    }


def _product(product: Product) -> dict[str, Any]:
    """What a product is, as far as it decides what is done; names, windows and reminders are not part of it."""
    return {
        "key": product.key,
        "skus": list(product.candidate_skus),
        "proof_plans": list(product.proof_plans),
        "proof_mode": product.proof_mode,
        "prerequisite_plans": list(product.prerequisite_plans),
        "prerequisite_mode": product.prerequisite_mode,
        "path": product.path.value,
        "group": product.group,
        "enabling_group": product.enabling_group,
        "tier": product.tier.value,
        "price": plain(product.price),
        "replaces": list(product.replaces),
        "new_plans": product.new_plans,
        "waived_plans": list(product.waived_plans),
        "retired": list(product.retired),
    }
