"""A first load of more tickets than one list of ids holds, through whole cycles: each ticket once, whatever happens."""

from __future__ import annotations

from collections import Counter

import pytest

from desired_state import ledger
from reconciler.sandbox.faults import FaultRule
from reconciler.store import journal
from tests.simulation.make_day import TENANT
from tests.simulation.make_pilot import a_pilot

pytestmark = pytest.mark.long

PEOPLE = 120
FORMS = "GET /api/now/table/sc_item_option_mtom"


@pytest.mark.parametrize("fault", ["", "reply_timeout", "200_cancel_partial", "row_moves_while_paging", "throttled"])
def test_each_of_many_tickets_is_declared_once(tmp_path, fault):
    with a_pilot(tmp_path, "observe", people=PEOPLE, closed=True) as day:
        if fault:
            route = FORMS if fault != "row_moves_while_paging" else "GET /api/now/table/sc_req_item"
            day.world.faults.add(FaultRule(fault, route=route, times=2))
        day.cycle()
        day.world.faults.clear()
        for _ in range(2):
            day.wait(7)
            day.cycle()
        with day.app.database.read() as session:
            standings = ledger.standings(session, TENANT)
            seen = Counter(r["subject"] for r in journal.export(session, TENANT) if r["kind"] == "ticket.seen")

    assert day.troubles == []
    assert len({key.ticket for key in standings}) == PEOPLE
    assert len(seen) == PEOPLE
    assert set(seen.values()) == {1}
    assert len(day.reports[-1].endings) == PEOPLE
