"""Where each product stands between observe and enforce, what people made of it so far, and which step that carries.

Reads the store and changes nothing: the lines of config.toml that make a step are for a person to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from desired_state.catalogue import Catalogue
from desired_state.model import ProductKey
from desired_state.text import one_line
from reconciler.promotion.advice import Advice, Position, advise, lines
from reconciler.promotion.agreement import Agreement
from reconciler.promotion.values import Axis, Outcome, Shadow, Watching
from reconciler.store import shadows
from reconciler.store.database import Database

SHOWN_MAX = 500  # lines of one product
_TELLING = (Outcome.DIFFERED, Outcome.CANNOT_TELL, Outcome.NOBODY_ACTED, Outcome.AGREED, Outcome.WAITING)


@dataclass(frozen=True, slots=True)
class Ladder:
    """All products of a tenant. `own` is the tenant's position, `at` when it was read."""

    tenant: str
    at: datetime
    watching: Watching
    own: Position
    positions: Mapping[str, Position]
    advice: tuple[Advice, ...]
    shadows: tuple[Shadow, ...]

    def of(self, product: str) -> tuple[Advice, ...]:
        return tuple(a for a in self.advice if a.product == product)

    def config(self, advice: Advice) -> tuple[str, ...]:
        """The lines of config.toml that make the next step, () where there is none."""
        if advice.next is None:
            return ()
        return lines(self.tenant, self.own, self.positions, advice.product, advice.next)

    def lines_of(self, product: str) -> tuple[Shadow, ...]:
        """What became of the product's lines: those that differ first, the newest of each kind before older ones."""
        order = {outcome: place for place, outcome in enumerate(_TELLING)}
        mine = [s for s in self.shadows if s.product == product]
        return tuple(sorted(mine, key=lambda s: order.get(s.outcome, len(order))))[:SHOWN_MAX]


def ladder(
    database: Database, tenant: str, own: Position, positions: Mapping[str, Position], watching: Watching, at: datetime
) -> Ladder:
    """Read what the window has. `positions` are those of every product that the tenant offers."""
    with database.read() as session:
        seen = tuple(shadows.since(session, tenant, at - watching.window))
    advice = tuple(
        advise(product, axis, position, seen, watching)
        for product, position in sorted(positions.items())
        for axis in Axis
    )
    return Ladder(tenant, at, watching, own, dict(positions), advice, seen)


def as_json(found: Ladder, catalogue: Catalogue) -> dict[str, Any]:
    """Nobody is named."""
    return {
        "tenant": found.tenant,
        "at": found.at.isoformat(),
        "since": (found.at - found.watching.window).isoformat(),
        "decided_min": found.watching.decided_min,
        "agreement_min": found.watching.agreement_min,
        "products": [product_json(found, key, catalogue) for key in sorted(found.positions)],
    }


def product_json(found: Ladder, product: str, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "product": product,
        "product_name": one_line(catalogue.product_name(ProductKey(product)), 200),
        "axes": [_advice_json(found, advice) for advice in found.of(product)],
    }


def _advice_json(found: Ladder, advice: Advice) -> dict[str, Any]:
    return {
        "axis": advice.axis.value,
        "now": advice.now.on(advice.axis),
        "next": advice.next.on(advice.axis) if advice.next is not None else None,
        "is_ready": advice.is_ready,
        "agreement": agreement_json(advice.agreement),
        "sentence": advice.agreement.sentence(),
        "missing": list(advice.missing),
        "step_back": advice.back or None,
        "config": list(found.config(advice)),
    }


def agreement_json(found: Agreement) -> dict[str, Any]:
    """Lines by outcome; accounts that were decided; shares of these from 0 to 1, null of nothing, with the bound
    one-sided at 95 %."""
    counts = {outcome.value: found.count(outcome) for outcome in Outcome}
    return {
        **counts,
        "decided": found.decided,
        "accounts": found.accounts,
        "accounts_agreed": found.accounts_agreed,
        "ratio": found.ratio,
        "lower_bound": found.bound,
        "removals_differed": found.removals_differed,
    }
