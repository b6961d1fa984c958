"""Names of SKUs and service plans that were imported from Microsoft's published list; they hold for all tenants.

Only names: an import never changes which SKU is assigned or which plan proves a product. What the list does not name
any more keeps the name that it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlmodel import Session, select

from desired_state.model import PlanId, SkuId
from desired_state.published import Published
from reconciler.store.rows.licences import NameRow

_SKU, _PLAN = "sku", "plan"


@dataclass(frozen=True, slots=True)
class Names:
    """Imported names by id: (part number, product name) and (plan name, display name)."""

    skus: Mapping[SkuId, tuple[str, str]] = field(default_factory=dict)
    plans: Mapping[PlanId, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renamed:
    """One name that an import changed; `before` is "" for an id that had none."""

    kind: str  # sku, plan
    id: str
    code: str
    before: str
    after: str


def load(session: Session) -> Names:
    rows = session.exec(select(NameRow)).all()
    return Names(
        {SkuId(r.id): (r.code, r.name) for r in rows if r.kind == _SKU},
        {PlanId(r.id): (r.code, r.name) for r in rows if r.kind == _PLAN},
    )


def keep(
    session: Session,
    published: Published,
    skus: Mapping[SkuId, tuple[str, str]],
    plans: Mapping[PlanId, tuple[str, str]],
) -> tuple[Renamed, ...]:
    """Keep the names that differ from those in use (`skus`, `plans`); the same list again changes nothing."""
    changed: list[Renamed] = []
    for kind, new, old in ((_SKU, published.skus, skus), (_PLAN, published.plans, plans)):
        known: dict[str, tuple[str, str]] = {str(id): named for id, named in old.items()}
        for id, (code, name) in new.items():
            before = known.get(str(id))
            if before is not None and before[1] == name:
                continue
            session.merge(NameRow(kind=kind, id=str(id), code=before[0] if before else code, name=name))
            changed.append(Renamed(kind, str(id), before[0] if before else code, before[1] if before else "", name))
    session.flush()
    return tuple(changed)
