"""What each licence contains, kept with the look that showed it first, so that a plan that came later is known as that.

A plan counts as later than a grant when a look of ours after the grant was still without it. For what was granted
before anybody looked, that is said of plans that came after the first look, and nothing is said of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from desired_state.model import GivenKind, PlanId, SkuId
from reconciler.line import Line
from reconciler.loop.observe import Seen
from reconciler.loop.takeback import returnable
from reconciler.store import journal, sold
from reconciler.store.database import Database
from reconciler.store.sold import Sold


def with_later(seen: Seen, database: Database, tenant: str, *, cycle: str, at: datetime, is_dry: bool) -> Seen:
    """The lines with the plans that came to their licences after we gave those; what is new is kept, unless dry."""
    known = seen.sold
    found = sold.seen(known, seen.observed.skus.values(), at)
    if found and not is_dry:
        _keep(seen, database, tenant, known, found, cycle=cycle, at=at)
    every = {**known, **found}
    return replace(seen, lines=tuple(_with_later(line, every) for line in seen.lines))


def _keep(
    seen: Seen,
    database: Database,
    tenant: str,
    known: Mapping[SkuId, Sold],
    found: Mapping[SkuId, Sold],
    *,
    cycle: str,
    at: datetime,
) -> None:
    with database.write() as session:
        sold.save(session, tenant, found, known, at)
        for sku in sorted(found.keys() & known.keys()):
            new = sorted(found[sku].plans.keys() - known[sku].plans.keys())
            shown = seen.observed.skus[sku]
            plans = [{"id": plan, "name": shown.plans[plan]} for plan in new]
            body = {"sku": sku, "part_number": shown.part_number, "plans": plans}
            journal.append(session, tenant, kind="plans_added", subject=sku, body=body, at=at, cycle=cycle)


def _with_later(line: Line, known: Mapping[SkuId, Sold]) -> Line:
    if line.product is None or line.product.new_plans != "off":
        return line
    later: dict[SkuId, frozenset[PlanId]] = {}
    for given in returnable(line):
        sold_since = known.get(given.sku) if given.kind is GivenKind.LICENSE and given.sku is not None else None
        if sold_since is not None and given.sku is not None:
            later[given.sku] = sold_since.after(given.at)
    found = tuple((sku, plans) for sku, plans in sorted(later.items()) if plans)
    return replace(line, came_later=found) if found else line
