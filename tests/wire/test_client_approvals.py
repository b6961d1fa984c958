"""Who approves, as both systems show it: managers, owners, rows, history, delegates, and what is closed to us."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from desired_state.model import UserId
from reconciler.errors import NotFound
from reconciler.model import ObservedUser
from tests.simulation.make_day import Day, a_day

E5 = "RITM0010012"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with a_day(tmp_path_factory.mktemp("approving")) as opened:
        yield opened


def sys_id(day: Day, name: str) -> str:
    return day.world.instance.records("sys_user", name=name)[0]["sys_id"]


def test_a_manager_is_an_account_and_nobody_is_not_found(day):
    lena, elena = (
        UserId(day.world.directory.user(f"{name}@contoso.example").user_id) for name in ("lena.fischer", "elena.rossi")
    )

    found = day.app.graph.managers([lena, elena])

    manager = found[lena]
    assert isinstance(manager, ObservedUser)
    assert (manager.upn, manager.is_enabled, manager.user_type) == ("laura.mcbride@contoso.example", True, "Member")
    assert isinstance(found[elena], NotFound)


def test_the_owner_of_a_cost_centre_is_found_through_the_person(day):
    owner = day.app.servicenow.cost_center_owner(sys_id(day, "Ivan Petrov"))

    assert owner == sys_id(day, "Thomas Brandt")


def test_rows_history_and_delegates_say_who_was_asked_and_who_did_it(day):
    ticket, instance, now = day.ticket(E5), day.world.instance, day.world.clock.now()
    laura, claire = sys_id(day, "Laura McBride"), sys_id(day, "Claire Dubois")
    instance.add_delegate(laura, claire, starts=now, ends=now + timedelta(days=1))
    instance.add_delegate(claire, laura, starts=now, ends=now + timedelta(days=1), approvals=False)
    instance.decide(ticket["sys_id"], laura, "approved", by="claire.dubois", impersonator="oliver.grant")

    row = next(a for a in day.app.servicenow.asked([ticket["sys_id"]]) if a.approver == laura)
    changes = day.app.servicenow.approval_changes([row.sys_id])
    deputies = day.app.servicenow.delegates([laura, claire])
    acted = day.app.servicenow.impersonations(["claire.dubois"], now - timedelta(days=1))

    assert (row.state, row.approver_user, row.touched_by) == ("approved", "laura.mcbride", "claire.dubois")
    assert ticket["sys_id"] in row.subjects
    assert changes is not None
    assert [(c.to, c.by) for c in changes[row.sys_id]][-1] == ("approved", "claire.dubois")
    assert [(d.user, d.delegate) for d in deputies] == [(laura, claire)]
    assert acted is not None
    assert [(i.by, i.name) for i in acted] == [("oliver.grant", "claire.dubois")]


def test_a_history_that_is_closed_to_us_is_not_an_empty_one(day):
    row = next(a for a in day.app.servicenow.asked([day.ticket(E5)["sys_id"]]) if a.state == "approved")
    day.world.instance.switches.audit_is_readable = False

    assert day.app.servicenow.approval_changes([row.sys_id]) is None
    assert day.app.servicenow.impersonations(["claire.dubois"], day.world.clock.now() - timedelta(days=1)) is None
