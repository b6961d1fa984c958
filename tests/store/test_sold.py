"""What each SKU contains, and since when that is known: kept once, and per tenant."""

from __future__ import annotations

from desired_state.model import PlanId
from reconciler.store import sold
from reconciler.store.database import Database
from reconciler.store.sold import Sold
from tests.make import DAY, MONDAY, SWAY, VISIO, VISIO_WEB, YAMMER, a_sku

TENANT = "contoso"


def look(database: Database, *plans: PlanId, day: int = 0) -> bool:
    """A look at the SKU; whether it showed something new."""
    at = MONDAY + day * DAY
    with database.write() as session:
        known = sold.load(session, TENANT)
        found = sold.seen(known, [a_sku(plans=plans)], at)
        sold.save(session, TENANT, found, known, at)
    return bool(found)


def test_every_plan_is_kept_with_the_look_that_showed_it_first(database: Database):
    assert look(database, VISIO_WEB, SWAY)
    assert not look(database, VISIO_WEB, SWAY, day=1)
    assert look(database, VISIO_WEB, YAMMER, day=2)  # one is gone, and is remembered
    assert not look(database, VISIO_WEB, SWAY, YAMMER, day=3)

    with database.read() as session:
        assert sold.load(session, TENANT) == {
            VISIO: Sold(MONDAY, {VISIO_WEB: MONDAY, SWAY: MONDAY, YAMMER: MONDAY + 2 * DAY})
        }
        assert sold.load(session, "other") == {}
