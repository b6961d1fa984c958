"""What the ticket's own approval covers, and what goes beyond it. Pure; invariant I7.

Approving a ticket in ServiceNow covers what the ticket asks: a person, a product, a period, a price, and the removals
that the product declares. Inside of that, one approval suffices for any plan where a rule's stage says so; whatever is
beyond needs a person's approval of the digest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was asked for. `price_cap` is what the form showed a month, None where it showed nothing."""

    person: str  # object id
    product: str
    period: Mapping[str, Any]  # as JSON
    price_cap: Decimal | None
    removals: frozenset[str] = frozenset()  # SKUs that the product declares to replace


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done for a line, as far as an envelope can be left by it."""

    people: Collection[str]
    products: Collection[str]
    period: Mapping[str, Any]
    price: Decimal | None  # more a month than now; None: not known
    removals: Collection[str] = ()


def beyond(envelope: Envelope, plan: Planned) -> str:
    """Why the ticket's approval does not cover the plan, for people; "" where it does."""
    if any(person.lower() != envelope.person.lower() for person in plan.people):
        return "it would change another person than the ticket is for"
    if any(product != envelope.product for product in plan.products):
        return "it would give another product than the ticket asks for"
    if dict(plan.period) != dict(envelope.period):
        return "it would run for another period than the ticket asks for"
    more = sorted({sku.lower() for sku in plan.removals} - {sku.lower() for sku in envelope.removals})
    if more:
        return f"it would remove what the product does not declare to replace ({', '.join(more)})"
    if plan.price is None:
        return "what it costs is not known"
    if plan.price > 0 and (envelope.price_cap is None or plan.price > envelope.price_cap):
        shown = "no price" if envelope.price_cap is None else f"{envelope.price_cap:.2f}"
        return f"it costs {plan.price:.2f} a month, and the ticket showed {shown}"
    return ""


def money(text: object) -> Decimal | None:
    """An amount from its text, None for what is none."""
    try:
        amount = Decimal(str(text).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
