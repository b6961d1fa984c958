"""What each SKU of a tenant contains, and since when that is known: one row a SKU, written only when a plan is new.

A plan that is missing from a later list is not forgotten: should it come back, it is not new. What the first look at a
SKU showed may have been there for ever, so nothing of that ever counts as having come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session

from desired_state.model import PlanId, SkuId
from desired_state.rows import is_row, table_of
from reconciler.model import SubscribedSku
from reconciler.store.rows.licences import SoldRow

_DECODE = msgspec.json.Decoder(dict[PlanId, datetime]).decode
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_TABLE = table_of(SoldRow)
_OF_TENANT = select(_TABLE.c.sku, _TABLE.c.since, _TABLE.c.body).where(_TABLE.c.tenant == bindparam("tenant"))
_ADD, _CHANGE = insert(_TABLE), update(_TABLE).where(is_row(_TABLE))


@dataclass(frozen=True, slots=True)
class Sold:
    """The plans of one SKU, each with the look that showed it first; `since` is the first look at the SKU (UTC)."""

    since: datetime
    plans: Mapping[PlanId, datetime] = field(default_factory=dict)

    def after(self, at: datetime) -> frozenset[PlanId]:
        """The plans that certainly came after an instant: a look between it and their first one was without them."""
        known = max(at, self.since)
        return frozenset(plan for plan, seen_at in self.plans.items() if seen_at > known)


def load(session: Session, tenant: str) -> dict[SkuId, Sold]:
    """What is known of every SKU that was ever looked at."""
    rows = session.connection().execute(_OF_TENANT, {"tenant": tenant})
    return {SkuId(row.sku): Sold(row.since, _DECODE(row.body)) for row in rows}


def seen(known: Mapping[SkuId, Sold], skus: Iterable[SubscribedSku], at: datetime) -> dict[SkuId, Sold]:
    """What is known of the SKUs that a look at `at` shows something new of. Pure.

    A SKU whose list of plans is empty was not shown: that says nothing.
    """
    found: dict[SkuId, Sold] = {}
    for sku in skus:
        before = known.get(sku.sku, Sold(at))
        new = sku.plans.keys() - before.plans.keys()
        if new:
            found[sku.sku] = Sold(before.since, {**before.plans, **dict.fromkeys(new, at)})
    return found


def save(session: Session, tenant: str, found: Mapping[SkuId, Sold], known: Mapping[SkuId, Sold], at: datetime) -> None:
    """Keep what `seen` found beside what was `known`."""
    connection = session.connection()
    for sku, sold in found.items():
        values = {"body": _ENCODE(dict(sold.plans)).decode(), "changed_at": at}
        if sku in known:
            connection.execute(_CHANGE, {"of_tenant": tenant, "of_sku": sku, **values})
        else:
            connection.execute(_ADD, {"tenant": tenant, "sku": sku, "since": sold.since, **values})
