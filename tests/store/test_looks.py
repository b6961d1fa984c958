"""When a tenant is looked at next: put off where it cannot be served, never for longer than a clock can be wrong."""

from __future__ import annotations

from reconciler.store import leases, looks
from reconciler.store.database import Database
from reconciler.store.leases import Lease
from reconciler.store.looks import FAR_S, LONGEST_S
from tests.make_store import TENANT

NOON = 1_800_000_000.0


def due(database: Database, at: float) -> list[str]:
    with database.read() as session:
        return [look.tenant for look in looks.due(session, [TENANT], now_s=at)]


def claimed(database: Database, at: float) -> Lease:
    with database.write() as session:
        lease = leases.claim(session, TENANT, "worker", ttl_s=60, now_s=at)
    assert isinstance(lease, Lease)
    return lease


def test_who_was_put_off_is_due_after_that_and_a_cycle_is_wanted(database):
    with database.write() as session:
        leases.ask(session, TENANT)
        assert looks.put_off(session, TENANT, for_s=30, now_s=NOON)

    assert due(database, NOON + 29) == []
    assert due(database, NOON + 30) == [TENANT]
    assert claimed(database, NOON + 30).epoch == 2  # not the one after what was left: something was not done


def test_who_has_a_tenant_is_not_disturbed_by_one_that_could_not_serve_it(database):
    lease = claimed(database, NOON)

    with database.write() as session:
        assert not looks.put_off(session, TENANT, for_s=30, now_s=NOON + 1)
        leases.guard(session, lease, now_s=NOON + 1)


def test_a_look_that_a_clock_which_was_set_back_put_far_away_is_due(database):
    with database.write() as session:
        leases.know(session, TENANT)
        looks.put_off(session, TENANT, for_s=LONGEST_S, now_s=NOON)

    assert due(database, NOON) == []
    assert due(database, NOON - FAR_S + LONGEST_S) == []
    assert due(database, NOON - FAR_S) == [TENANT]


def test_a_tenant_that_nobody_gave_back_was_cut_off_and_one_that_was_is_not(database):
    lease = claimed(database, NOON)
    with database.write() as session:
        leases.know(session, "other")
    with database.read() as session:
        assert {x.tenant: x.is_cut for x in looks.due(session, [TENANT, "other"], now_s=NOON + 61)} == {
            TENANT: True,
            "other": False,
        }

    with database.write() as session:
        leases.release(session, lease)
    with database.read() as session:
        assert [x.is_cut for x in looks.due(session, [TENANT], now_s=NOON + 61)] == [False]
